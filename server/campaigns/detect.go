package campaigns

import (
	"math"

	"github.com/caddy-evergreen/evergreen/server/store"
)

const (
	hour     = 3600
	baseline = 168 // hours that a trait is compared with
	history  = 24  // hours of reports without which nothing begins
	patience = 3   // hours after which a campaign that isn't seen has ended
)

// An episode is a stretch of time in which one trait was at unusually many instances.
type episode struct {
	trait      store.Trait
	begin, end int64
	ongoing    bool
	peak       uint64
	hours      map[int64]store.Sighting // all of the trait's
}

type whole struct{ of store.Trait }

// detect finds the episodes of all traits. first is the first hour with
// reports, now the end of the hour that is under way; sightings are in the
// order that the store answers in.
func detect(sightings []store.Sighting, least uint64, first, now int64) []episode {
	totals := map[whole]map[int64]uint64{} // instances with an incident of the kind
	for _, s := range sightings {
		first = min(first, s.Hour)
		if s.Fingerprint == 0 && s.Network == 0 {
			k := whole{s.Trait}
			if totals[k] == nil {
				totals[k] = map[int64]uint64{}
			}
			totals[k][s.Hour] = s.Instances
		}
	}
	var found []episode
	for len(sightings) > 0 {
		n := 1
		for n < len(sightings) && sightings[n].Trait == sightings[0].Trait {
			n++
		}
		if t := sightings[0].Trait; t.Fingerprint != 0 || t.Network != 0 {
			d := detector{totals: totals[whole{store.Trait{Kind: t.Kind, Scan: t.Scan}}], least: least, first: first, now: now}
			found = append(found, d.run(sightings[:n])...)
		}
		sightings = sightings[n:]
	}
	return found
}

// A detector goes through the hours of one trait.
type detector struct {
	totals     map[int64]uint64
	least      uint64
	first, now int64

	// The usual hours before: a ring of what the trait and its kind had.
	ring        [baseline]struct{ x, n uint64 }
	next        int
	active      bool
	sumX, sumN  uint64
	begin, last int64
	peak        uint64
	episodes    []episode
	trait       store.Trait
	hours       map[int64]store.Sighting
}

func (d *detector) run(sightings []store.Sighting) []episode {
	d.trait = sightings[0].Trait
	d.hours = make(map[int64]store.Sighting, len(sightings))
	for _, s := range sightings {
		d.hours[s.Hour] = s
	}
	for h := d.first; h < d.now; h += hour {
		d.step(h, d.hours[h].Instances, d.totals[h])
	}
	if d.active {
		d.close(true)
	}
	return d.episodes
}

// step takes in an hour in which x instances had the trait, of n that had an
// incident of its kind.
func (d *detector) step(h int64, x, n uint64) {
	e := 0.0
	if d.sumN > 0 {
		e = float64(n) * float64(d.sumX) / float64(d.sumN)
	}
	if !d.active {
		if !d.begins(h, float64(x), e) {
			d.remember(x, n)
			return
		}
		d.active, d.begin, d.peak = true, h, 0
		d.last = h
	}
	if 2*x >= d.least && float64(x) >= 1.5*e+2*math.Sqrt(e) {
		d.last = h
		d.peak = max(d.peak, x)
	} else if h-d.last >= patience*hour && h+hour < d.now {
		d.close(false)
	}
}

func (d *detector) begins(h int64, x, e float64) bool {
	return h-d.first >= history*hour && x >= float64(d.least) && (e == 0 || x >= 2*e+6*math.Sqrt(e)+4)
}

// remember makes an hour one of the usual ones.
func (d *detector) remember(x, n uint64) {
	old := &d.ring[d.next]
	d.sumX, d.sumN = d.sumX-old.x+x, d.sumN-old.n+n
	old.x, old.n = x, n
	d.next = (d.next + 1) % baseline
}

func (d *detector) close(ongoing bool) {
	d.episodes = append(d.episodes, episode{
		trait: d.trait, begin: d.begin, end: d.last + hour, ongoing: ongoing, peak: d.peak, hours: d.hours,
	})
	d.active = false
}
