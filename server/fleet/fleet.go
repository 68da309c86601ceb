package fleet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Config is what a fleet follows from.
type Config struct {
	Seed      uint64
	Instances int       // that report at To, 1 to MaxInstances
	From, To  time.Time // whole hours; To may lie inside of one, at a window's start
	// Windows is for how long before To sums by window are made; 0 means 48
	// hours.
	Windows time.Duration
	// Hours is the same for sums by hour; 0 means all the time, of which there
	// are days in any case.
	Hours  time.Duration
	Timing wire.Timing // zero means wire.DefaultTiming
}

// The bounds of a Config.
const (
	MaxInstances = 10_000_000
	MaxLength    = 5 * 366 * 24 * time.Hour
)

// A Fleet is made up by New and never changes.
type Fleet struct {
	cfg      Config
	begin    int64 // Unix hours of From and of the hour that To lies in or ends
	end      int64
	releases []release
	events   []Event
	facts    *facts
	shapes   []*shape
	pop      []instance // by birth
}

// An EventKind is what happened.
type EventKind string

const (
	Released   EventKind = "release"    // Of: a version of Caddy
	Regression EventKind = "regression" // Of: the version that answers more errors
	Botnet     EventKind = "botnet"     // Of: what its requests look for
	Outage     EventKind = "outage"     // Of: the country that is cut off
	Gap        EventKind = "gap"        // nothing was collected
)

// An Event is something that the numbers show.
type Event struct {
	Kind     EventKind
	Of       string
	From, To time.Time
}

// New makes up a fleet. It takes about 30 µs an instance.
func New(cfg Config) (*Fleet, error) {
	if cfg.Timing.Window == 0 {
		cfg.Timing = wire.DefaultTiming
	}
	if cfg.Windows == 0 {
		cfg.Windows = 48 * time.Hour
	}
	cfg.From, cfg.To = cfg.From.UTC(), cfg.To.UTC()
	if cfg.Hours == 0 {
		cfg.Hours = cfg.To.Sub(cfg.From)
	}
	switch {
	case cfg.Instances < 1 || cfg.Instances > MaxInstances:
		return nil, fmt.Errorf("a fleet of %d instances can't be made: choose 1 to %d", cfg.Instances, MaxInstances)
	case !cfg.From.Equal(cfg.From.Truncate(time.Hour)) || !cfg.To.Equal(cfg.Timing.WindowStart(cfg.To)):
		return nil, errors.New("a fleet begins at a whole hour and ends with a window")
	case cfg.To.Sub(cfg.From) < time.Hour || cfg.To.Sub(cfg.From) > MaxLength:
		return nil, fmt.Errorf("a fleet's history of %s can't be made: choose an hour to five years", cfg.To.Sub(cfg.From))
	case cfg.From.Unix() < 0 || cfg.Windows < 0 || cfg.Hours < 0:
		return nil, errors.New("a fleet's history begins after 1970, and its windows and hours have a length")
	}
	f := &Fleet{cfg: cfg, begin: cfg.From.Unix() / 3600, end: (cfg.To.Unix() + 3599) / 3600}
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x666c656574)) // "fleet"
	f.releases = f.makeReleases(rng)
	f.events = f.makeEvents(rng)
	var err error
	if f.shapes, err = makeShapes(); err != nil {
		return nil, err
	}
	f.facts = newFacts(f.releases)
	f.pop = f.populate()
	return f, nil
}

// Events lists what happens, by time.
func (f *Fleet) Events() []Event { return slices.Clone(f.events) }

// Instances is how many different instances there are in all the time.
func (f *Fleet) Instances() int { return len(f.pop) }

// A release is a version of Caddy and when it came out.
type release struct {
	version, golang string
	at              int64 // Unix hours
}

// versions are those that the fleet knows, the newest last.
var versions = []string{"v2.8.4", "v2.9.1", "v2.10.0", "v2.10.2", "v2.11.2", "v2.11.3", "v2.11.4", "v2.11.6", "v2.11.8", "v2.11.9"}

// makeReleases lets the newest version come out nine days before the end, and
// the others some weeks apart.
func (f *Fleet) makeReleases(rng *rand.Rand) []release {
	at := f.end - 9*24 - rng.Int64N(48)
	var rs []release
	for i := len(versions) - 1; i >= 0; i-- {
		rs = append(rs, release{versions[i], fmt.Sprintf("go1.%d.%d", 23+i/4, 1+i%4*2), at})
		at -= 17*24 + rng.Int64N(15*24)
	}
	slices.Reverse(rs)
	return rs
}

func hour(h int64) time.Time { return time.Unix(h*3600, 0).UTC() }

// makeEvents makes up what happens. Times between begin and end are chosen so
// that a history of any length has some of each.
func (f *Fleet) makeEvents(rng *rand.Rand) []Event {
	var es []Event
	for i, r := range f.releases {
		if r.at < f.begin {
			continue
		}
		es = append(es, Event{Released, r.version, hour(r.at), hour(r.at)})
		if i == len(f.releases)-2 {
			es = append(es, Event{Regression, r.version, hour(r.at), hour(r.at + 40)})
		}
	}
	length := f.end - f.begin
	add := func(k EventKind, of string, hours int64) {
		if length <= hours+2 {
			return
		}
		from := f.begin + 1 + rng.Int64N(length-hours-1)
		es = append(es, Event{k, of, hour(from), hour(from + hours)})
	}
	looks := []string{"wordpress", "env_files", "git", "router", "php", "vpn"}
	for i := range 1 + length/(15*24) {
		add(Botnet, looks[(int64(rng.IntN(len(looks)))+i)%int64(len(looks))], 18+rng.Int64N(60))
	}
	for range length / (30 * 24) {
		add(Outage, countries[3+rng.IntN(12)].name, 3+rng.Int64N(8))
	}
	if length > 20*24 {
		add(Gap, "", 2)
	}
	slices.SortStableFunc(es, func(a, b Event) int { return a.From.Compare(b.From) })
	return es
}

// in tells whether an event goes on in an hour.
func (e *Event) in(h int64) bool { return e.From.Unix() <= h*3600 && h*3600 < e.To.Unix() }

// gap tells whether an hour is one in which nothing was collected.
func (f *Fleet) gap(h int64) bool {
	return slices.ContainsFunc(f.events, func(e Event) bool { return e.Kind == Gap && e.in(h) })
}
