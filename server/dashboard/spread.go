package dashboard

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/wire"
)

// spread is how many instances run each of the newest versions, or a newer one.
var spread = &derivation{
	path: "/spread", metric: wire.InstancesVersion, byTime: true, words: []string{"release"}, compute: computeSpread,
}

// maxSpread is how many releases a chart of their spread tells apart.
const maxSpread = 6

// computeSpread adds versions up from the newest down. What the answer by
// version can't tell apart, since too few run it, is in all only: shares may be
// greater than they say, never less.
func computeSpread(ctx context.Context, d *Dashboard, src source, a question) (*Answer, error) {
	q := question{span: a.span, metric: a.metric, byTime: true, byLabel: true, limit: maxLimit}
	by, err := d.compute(ctx, src, true, q)
	if err != nil {
		return nil, err
	}
	ans := d.express(a, nil, 0)
	ans.Suppressed = by.Suppressed
	running := map[int64]map[string]uint64{}
	all := map[int64]uint64{}
	most := map[string]uint64{}
	var times []int64
	for _, r := range by.Rows {
		at := r.Time.Unix()
		if running[at] == nil {
			running[at] = map[string]uint64{}
			times = append(times, at)
		}
		all[at] += r.Count
		if v := r.Group["label"]; semver.IsValid(v) && semver.Prerelease(v) == "" {
			running[at][v] += r.Count
			most[v] = max(most[v], r.Count)
		}
	}
	versions := newestFirst(most)
	shown := versions[:min(len(versions), maxSpread)]
	for _, at := range times {
		t := time.Unix(at, 0).UTC()
		put := func(release string, n uint64) {
			ans.Rows = append(ans.Rows, Row{Time: &t, Group: map[string]string{"release": release}, Count: n})
		}
		put("all", all[at])
		var n uint64
		for _, v := range versions {
			n += running[at][v]
			if slices.Contains(shown, v) && n > 0 {
				put(v, n)
			}
		}
		ans.Total += all[at]
	}
	return ans, nil
}

func newestFirst[T any](versions map[string]T) []string {
	var vs []string
	for v := range versions {
		vs = append(vs, v)
	}
	slices.SortFunc(vs, func(x, y string) int { return cmp.Or(semver.Compare(y, x), cmp.Compare(x, y)) })
	return vs
}

// A Rollout is how far a release is offered.
type Rollout struct {
	Path, Version string
	Share         float64 // of all instances, 0 to 1
	State         string  // "running", "paused", "stopped"
	Created       time.Time
	Changed       time.Time
}

// A spreadView is the releases on the page of updates.
type spreadView struct {
	Lines    []spreadLine
	None     string
	Rollouts []rolloutLine // of other modules than Caddy
}

// A spreadLine is a release of Caddy.
type spreadLine struct {
	Version, Href     string
	Severity          string
	Grave             bool
	Date              string
	Rollout           string
	Now               string // share of instances that run it or something newer
	Bar               string // the same, in percent
	Tenth, Half, Nine string // when a tenth, half and nine tenths of instances ran it or something newer
	Warning           string
}

// A rolloutLine is a rollout of something else.
type rolloutLine struct{ Module, Version, Share, State, Since string }

const (
	maxSpreadLines   = 12
	maxRolloutLines  = 20
	spreadRange      = "90d"
	maxReleasesAsked = 200
)

// spreadPage tells of the newest releases of Caddy how far they have come.
func (d *Dashboard) spreadPage(ctx context.Context) (*spreadView, error) {
	v := &spreadView{None: "No release of Caddy is known here, and no instance told its version in the last 90 days."}
	r, _ := rangeByName(spreadRange)
	a := question{span: r.span(d.cfg.Timing, d.cfg.Now()), metric: wire.MetricByID(wire.InstancesVersion), byTime: true, byLabel: true, limit: maxLimit}
	by, err := d.answer(ctx, d.cfg.Store, "", a)
	if err != nil {
		return nil, err
	}
	lines := map[string]*spreadLine{}
	released := map[string]time.Time{}
	if d.cfg.Updates != nil {
		found, _ := d.cfg.Updates().Recent(wire.CaddyPath, "", wire.ChannelStable, maxReleasesAsked)
		for _, f := range found {
			l := &spreadLine{Version: f.Version, Severity: capital(string(f.Severity)), Grave: f.Severity == wire.SeverityCritical, Date: f.Time.UTC().Format(time.DateOnly), Warning: f.Yanked}
			if len(f.Links) > 0 {
				l.Href = f.Links[0]
			}
			lines[f.Version], released[f.Version] = l, f.Time
		}
	}
	type period struct {
		at  time.Time
		of  map[string]uint64
		all uint64
	}
	var periods []period
	for _, r := range by.Rows {
		if n := len(periods); n == 0 || !periods[n-1].at.Equal(*r.Time) {
			periods = append(periods, period{at: *r.Time, of: map[string]uint64{}})
		}
		p := &periods[len(periods)-1]
		p.all += r.Count
		if l := r.Group["label"]; semver.IsValid(l) && semver.Prerelease(l) == "" {
			p.of[l] += r.Count
			if lines[l] == nil {
				lines[l] = &spreadLine{Version: l, Severity: "–", Date: "–"}
			}
		}
	}
	whole := slices.DeleteFunc(slices.Clone(periods), func(p period) bool { return !p.at.Before(by.Complete) })
	if len(whole) > 0 {
		periods = whole
	}
	d.rollouts(ctx, v, lines)
	names := newestFirst(lines)
	for _, name := range names[:min(len(names), maxSpreadLines)] {
		l := lines[name]
		l.Now, l.Tenth, l.Half, l.Nine = "–", "–", "–", "–"
		share := func(p period) float64 {
			var n uint64
			for v, c := range p.of {
				if semver.Compare(v, name) >= 0 {
					n += c
				}
			}
			return float64(n) / float64(max(p.all, 1))
		}
		began, has := released[name]
		for _, p := range periods {
			s := share(p)
			for _, m := range []struct {
				part float64
				cell *string
			}{{0.1, &l.Tenth}, {0.5, &l.Half}, {0.9, &l.Nine}} {
				// What was so before the first day that is known began at no day that could be told.
				if *m.cell == "–" && s >= m.part && has && p.at.After(periods[0].at) {
					*m.cell = days(p.at.Sub(began.UTC().Truncate(24 * time.Hour)))
				} else if *m.cell == "–" && s >= m.part {
					*m.cell = "before"
				}
			}
		}
		for _, m := range []*string{&l.Tenth, &l.Half, &l.Nine} {
			if *m == "before" {
				*m = "–"
			}
		}
		if len(periods) > 0 {
			s := share(periods[len(periods)-1])
			l.Now, l.Bar = percent(s), strconv.FormatFloat(100*s, 'f', 1, 64)
		}
		v.Lines = append(v.Lines, *l)
	}
	return v, nil
}

// days writes how long something took, in days that began.
func days(d time.Duration) string {
	n := int(max(d, 0)/(24*time.Hour)) + 1
	if n == 1 {
		return "1 day"
	}
	return strconv.Itoa(n) + " days"
}

// rollouts notes how far releases of Caddy are offered, and lists the others.
func (d *Dashboard) rollouts(ctx context.Context, v *spreadView, lines map[string]*spreadLine) {
	if d.cfg.Rollouts == nil {
		return
	}
	all, err := d.cfg.Rollouts(ctx)
	if err != nil {
		// The rest of the page does not need them.
		d.cfg.Logger.Error("rollouts are left out of the page of updates", "error", err)
	}
	for _, o := range all { // the newest first
		if l := lines[o.Version]; o.Path == wire.CaddyPath && l != nil {
			if l.Rollout == "" {
				l.Rollout = percent(o.Share) + ", " + o.State
			}
			continue
		}
		if len(v.Rollouts) < maxRolloutLines {
			v.Rollouts = append(v.Rollouts, rolloutLine{o.Path, o.Version, percent(o.Share), capital(o.State), o.Created.UTC().Format(time.DateOnly)})
		}
	}
}
