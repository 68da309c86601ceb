package dashboard

import (
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A span is a stretch of time in whole periods of a grain.
type span struct {
	name     string // of the range it was made from, "" if asked for by from and to
	grain    store.Grain
	from, to time.Time
}

// A named range is a choice of the pages' switch.
type namedRange struct {
	Name, Title, Short string
	length             time.Duration
}

var ranges = []namedRange{
	{"1h", "last hour", "1 hour", time.Hour},
	{"24h", "last 24 hours", "24 hours", 24 * time.Hour},
	{"7d", "last 7 days", "7 days", 7 * 24 * time.Hour},
	{"30d", "last 30 days", "30 days", 30 * 24 * time.Hour},
	{"90d", "last 90 days", "90 days", 90 * 24 * time.Hour},
	{"all", "all time", "All", 0},
}

func rangeNames() []string {
	var names []string
	for _, r := range ranges {
		names = append(names, r.Name)
	}
	return names
}

func rangeByName(name string) (namedRange, bool) {
	for _, r := range ranges {
		if r.Name == name {
			return r, true
		}
	}
	return namedRange{}, false
}

// beginning is before anything was ever counted: where the range "all" starts.
var beginning = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// maxPoints bounds the periods in an answer by time: an hour of windows of one
// second, the shortest that tests use, and 41 years of days.
const (
	maxPoints  = 3700
	finePoints = 800 // what is more than enough to draw
)

// length is that of a grain's period.
func length(g store.Grain, t wire.Timing) time.Duration {
	switch g {
	case store.Hour:
		return time.Hour
	case store.Day:
		return 24 * time.Hour
	}
	return t.Window
}

// start is the start of the period of g that at lies in.
func start(g store.Grain, t wire.Timing, at time.Time) time.Time {
	if g == store.Window {
		return t.WindowStart(at)
	}
	return g.Start(at)
}

// fits is the finest grain that a length of time is not too many periods of.
func fits(d time.Duration, t wire.Timing) store.Grain {
	for _, g := range store.Grains {
		if d <= time.Hour || d/length(g, t) <= finePoints {
			return g
		}
	}
	return store.Day
}

// span is the range up to and with the period that now lies in, so that what
// was just counted is seen.
func (r namedRange) span(t wire.Timing, now time.Time) span {
	d := r.length
	if d == 0 {
		d = max(now.Sub(beginning), 24*time.Hour)
	}
	return r.at(fits(d, t), t, now)
}

func (r namedRange) at(g store.Grain, t wire.Timing, now time.Time) span {
	to := start(g, t, now).Add(length(g, t))
	from := to.Add(-max(r.length, length(g, t)))
	if r.length == 0 {
		from = start(g, t, beginning)
	}
	return span{name: r.Name, grain: g, from: from.UTC(), to: to.UTC()}
}

// before is the equally long span just before s.
func (s span) before() span {
	return span{grain: s.grain, from: s.from.Add(-s.to.Sub(s.from)), to: s.from}
}

func (s span) points(t wire.Timing) int { return int(s.to.Sub(s.from) / length(s.grain, t)) }

// windows is how many windows of time the span holds.
func (s span) windows(t wire.Timing) uint64 {
	return uint64(max(s.to.Sub(s.from)/t.Window, 1))
}

// complete is until when periods can be taken for complete: instances have
// had the time to close their window and report.
func complete(t wire.Timing, now time.Time) time.Time {
	return now.Add(-t.Window - t.ReportEvery).UTC()
}
