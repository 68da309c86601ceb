package fleet

import (
	"math"
	"slices"

	"github.com/caddy-evergreen/evergreen/server/hll"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A moment is the state of the fleet in an hour.
type moment struct {
	hour   int64
	gap    bool
	before float64               // days before the end
	bases  [updating + 1]float64 // in the hour
	values [facetsKept][]group   // by facet, then by the value's index
	facts  []uint32              // instances by fact, for each of factValues
	surge  map[string]float64    // by what a botnet looks for, how many times as much
	worse  [facetsKept][]float64 // by version, how many times as many errors; nil if none
}

// A group is the instances with one value of a facet, or all.
type group struct {
	instances uint32
	shares    [updating + 1]float64 // of each base
	top       float64               // greatest share of an instance in the group's traffic
	registers []byte
}

// factValues are how many values of facets facts are counted by: all,
// countries and versions.
var factValues = 1 + len(countries) + len(versions)

// factIndex is where a value's counts are.
func factIndex(f wire.Facet, value int) int {
	switch f {
	case wire.Country:
		return 1 + value
	case wire.Version:
		return 1 + len(countries) + value
	}
	return 0
}

// A stepper goes through the hours.
type stepper struct {
	f       *Fleet
	changes []change
	next    int
	counts  []int32 // by fact and factIndex
}

// A change is what becomes of an instance in an hour.
type change struct {
	hour     int64
	instance int32
	born     bool
	died     bool
	from, to uint8 // versions
}

func (f *Fleet) stepper() *stepper {
	s := &stepper{f: f, counts: make([]int32, len(f.facts.all)*factValues)}
	for i := range f.pop {
		in := &f.pop[i]
		s.changes = append(s.changes, change{hour: in.born, instance: int32(i), born: true, to: in.version(in.born)})
		for j := 1; j < len(in.upgrades); j++ {
			if u := in.upgrades[j]; in.alive(u.at) {
				s.changes = append(s.changes, change{hour: u.at, instance: int32(i), from: in.upgrades[j-1].version, to: u.version})
			}
		}
		if in.died < math.MaxInt64 {
			s.changes = append(s.changes, change{hour: in.died, instance: int32(i), died: true, from: in.version(in.died - 1)})
		}
	}
	slices.SortStableFunc(s.changes, func(a, b change) int { return int(a.hour - b.hour) })
	return s
}

// count counts an instance's facts at a version, or no longer.
func (s *stepper) count(in *instance, version uint8, by int32) {
	for _, list := range [][]uint16{in.facts, s.f.facts.byVersion[version]} {
		for _, n := range list {
			row := s.counts[int(n)*factValues:][:factValues]
			row[0] += by
			row[factIndex(wire.Country, int(in.country))] += by
			row[factIndex(wire.Version, int(version))] += by
		}
	}
}

// step goes to an hour, which is later than the one before.
func (s *stepper) step(h int64) *moment {
	f := s.f
	m := &moment{hour: h, gap: f.gap(h), before: float64(f.end-h) / 24}
	m.values[wire.All] = make([]group, 1)
	m.values[wire.Country] = make([]group, len(countries))
	m.values[wire.Version] = make([]group, len(versions))
	m.values[wire.Platform] = make([]group, len(platforms))
	m.values[wire.Deployment] = make([]group, len(deployments))
	for ; s.next < len(s.changes) && s.changes[s.next].hour <= h; s.next++ {
		c := s.changes[s.next]
		in := &f.pop[c.instance]
		if !c.born {
			s.count(in, c.from, -1)
		}
		if !c.died {
			s.count(in, c.to, 1)
		}
		if !c.born && !c.died && c.hour == h && in.policy == automatic {
			m.each(in, c.to, func(g *group) { g.shares[updating]++ })
		}
	}
	m.facts = make([]uint32, len(s.counts))
	for i, n := range s.counts {
		m.facts[i] = uint32(max(n, 0))
	}
	rhythms := make([]float64, len(countries))
	for c := range countries {
		rhythms[c] = f.rhythm(c, h)
	}
	for i := range f.pop {
		in := &f.pop[i]
		if !in.alive(h) || !in.reports(h) {
			continue
		}
		traffic := in.weight * rhythms[in.country]
		m.each(in, in.version(h), func(g *group) {
			g.instances++
			g.shares[requests] += traffic
			g.top = max(g.top, in.weight)
			if g.registers == nil {
				g.registers = make([]byte, hll.Registers)
			}
			hll.Add(g.registers, in.hash)
		})
	}
	m.finish()
	f.happenings(m)
	return m
}

// reports tells whether an instance can be reached in an hour: few can't.
func (in *instance) reports(h int64) bool { return mix(in.seed, uint64(h))%96 != 0 }

// each calls do for the groups that an instance is in.
func (m *moment) each(in *instance, version uint8, do func(*group)) {
	do(&m.values[wire.All][0])
	do(&m.values[wire.Country][in.country])
	do(&m.values[wire.Version][version])
	do(&m.values[wire.Platform][in.platform])
	do(&m.values[wire.Deployment][in.deployment])
}

// finish makes shares of sums.
func (m *moment) finish() {
	all := m.values[wire.All][0]
	m.bases[requests] = all.shares[requests] * 3600
	m.bases[connections] = m.bases[requests] * 0.21
	m.bases[held] = float64(all.instances) // for each window
	m.bases[attacks] = float64(all.instances) * 22
	m.bases[updating] = all.shares[updating]
	for f := range m.values {
		for i := range m.values[f] {
			g := &m.values[f][i]
			if sum := g.shares[requests]; sum > 0 {
				g.top = min(1, g.top/sum)
			}
			part := func(x, of float64) float64 {
				if of == 0 {
					return 0
				}
				return x / of
			}
			g.shares[requests] = part(g.shares[requests], all.shares[requests])
			g.shares[connections] = g.shares[requests]
			g.shares[held] = part(float64(g.instances), float64(all.instances))
			g.shares[attacks] = g.shares[held]
			g.shares[updating] = part(g.shares[updating], all.shares[updating])
		}
	}
}

// rhythm is how busy a country's instances are in an hour: in the evening most,
// at four in the morning least, on weekends a little less; cut off, not at all.
func (f *Fleet) rhythm(c int, h int64) float64 {
	local := float64(h) + countries[c].zone
	day := math.Mod(local, 24)
	r := 1 + 0.42*math.Cos(2*math.Pi*(day-16.5)/24) + 0.1*math.Cos(4*math.Pi*(day-11)/24)
	// 1 January 1970 was a Thursday.
	if wd := int64(math.Floor(local/24)+4) % 7; wd == 0 || wd == 6 {
		r *= 0.88
	}
	for i := range f.events {
		if e := &f.events[i]; e.Kind == Outage && e.Of == countries[c].name && e.in(h) {
			r *= 0.04
		}
	}
	return r
}

// happenings adds what events do to a moment.
func (f *Fleet) happenings(m *moment) {
	for i := range f.events {
		e := &f.events[i]
		if !e.in(m.hour) {
			continue
		}
		switch e.Kind {
		case Botnet:
			if m.surge == nil {
				m.surge = map[string]float64{}
			}
			// It grows quickly and fades away.
			at := float64(m.hour*3600-e.From.Unix()) / e.To.Sub(e.From).Seconds()
			m.surge[e.Of] += 14 * math.Sin(math.Pi*math.Sqrt(at+0.02))
			m.bases[attacks] *= 1.6
		case Regression:
			if m.worse[wire.Version] == nil {
				m.worse[wire.Version] = slices.Repeat([]float64{1}, len(versions))
			}
			m.worse[wire.Version][slices.Index(versions, e.Of)] = 7
		}
	}
}
