package storetest

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

type incidentKey struct {
	instance wire.InstanceID
	number   uint64
}

func (f *Reference) keep(incidents []store.Incident) {
	for _, in := range incidents {
		k := incidentKey{in.Instance, in.Number}
		if old, ok := f.incidents[k]; !ok || in.Known >= old.Known {
			f.incidents[k] = in
		}
	}
}

// spread gives each hour that an incident touches, and what falls into it.
func spread(in store.Incident, from, to time.Time, each func(hour int64, events float64)) {
	first, last := in.Start/3600*3600, max(in.Start, in.End-1)/3600*3600
	for h := max(first, from.Unix()); h <= last && h < to.Unix(); h += 3600 {
		part := float64(in.Events)
		if in.End > in.Start {
			part *= float64(min(in.End, h+3600)-max(in.Start, h)) / float64(in.End-in.Start)
		}
		each(h, part)
	}
}

type sightingKey struct {
	store.Trait
	hour int64
}

// sum makes sightings of what each instance gave to each key.
func sum(shares map[sightingKey]map[wire.InstanceID]float64) []store.Sighting {
	var all []store.Sighting
	for k, by := range shares {
		g := store.Sighting{Trait: k.Trait, Hour: k.hour, Instances: uint64(len(by))}
		var events, top float64
		for id, n := range by {
			events += n
			top = max(top, n)
			g.Sample = append(g.Sample, binary.BigEndian.Uint64(id[:]))
		}
		g.Events, g.Top = uint64(math.Round(events)), uint64(math.Round(top))
		slices.Sort(g.Sample)
		g.Sample = g.Sample[:min(len(g.Sample), store.SampleSize)]
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b store.Sighting) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Scan, b.Scan), cmp.Compare(a.Fingerprint, b.Fingerprint),
			cmp.Compare(a.Network, b.Network), cmp.Compare(a.Hour, b.Hour))
	})
	return all
}

// Sightings implements store.Store.
func (f *Reference) Sightings(ctx context.Context, q store.Sighted) ([]store.Sighting, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	shares := map[sightingKey]map[wire.InstanceID]float64{}
	for _, in := range f.incidents {
		spread(in, q.From, q.To, func(hour int64, events float64) {
			add := func(t store.Trait, n float64) {
				k := sightingKey{t, hour}
				if shares[k] == nil {
					shares[k] = map[wire.InstanceID]float64{}
				}
				shares[k][in.Instance] += n
			}
			t := store.Trait{Kind: in.Kind, Scan: in.Scan}
			add(t, events)
			if in.Fingerprint != wire.Other {
				add(store.Trait{Kind: in.Kind, Scan: in.Scan, Fingerprint: in.Fingerprint}, events)
			}
			for _, n := range in.Networks {
				if n.Network != 0 {
					add(store.Trait{Kind: in.Kind, Scan: in.Scan, Network: n.Network}, events*float64(n.Percent)/100)
				}
			}
		})
	}
	most := map[store.Trait]int{}
	for k, by := range shares {
		most[k.Trait] = max(most[k.Trait], len(by))
	}
	maps.DeleteFunc(shares, func(k sightingKey, _ map[wire.InstanceID]float64) bool {
		return (k.Fingerprint != 0 || k.Network != 0) && uint64(most[k.Trait]) < q.Least
	})
	all := sum(shares)
	for i, g := range all {
		if g.Fingerprint == 0 && g.Network == 0 || 2*g.Instances < q.Least {
			all[i].Sample = nil
		}
	}
	return all, ctx.Err()
}

// Spread implements store.Store.
func (f *Reference) Spread(ctx context.Context, traits []store.Trait, from, to time.Time) ([]store.Sighting, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	shares := map[sightingKey]map[wire.InstanceID]float64{}
	for _, t := range traits {
		if t.Kind != traits[0].Kind || t.Scan != traits[0].Scan {
			return nil, errors.New("the traits are of more than one kind")
		}
	}
	for _, in := range f.incidents {
		percent, hit := uint32(0), false
		for _, n := range in.Networks {
			if slices.ContainsFunc(traits, func(t store.Trait) bool { return n.Network != 0 && t.Network == n.Network }) {
				percent, hit = percent+n.Percent, true
			}
		}
		if slices.ContainsFunc(traits, func(t store.Trait) bool { return in.Fingerprint != 0 && t.Fingerprint == in.Fingerprint }) {
			percent, hit = 100, true
		}
		if !hit || in.Kind != traits[0].Kind || in.Scan != traits[0].Scan {
			continue
		}
		spread(in, from, to, func(hour int64, events float64) {
			k := sightingKey{store.Trait{Kind: in.Kind, Scan: in.Scan}, hour}
			if shares[k] == nil {
				shares[k] = map[wire.InstanceID]float64{}
			}
			shares[k][in.Instance] += events * float64(percent) / 100
		})
	}
	all := sum(shares)
	for i := range all {
		all[i].Sample = nil
	}
	return all, ctx.Err()
}

// DropIncidents implements store.Store.
func (f *Reference) DropIncidents(ctx context.Context, t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() == nil {
		maps.DeleteFunc(f.incidents, func(_ incidentKey, in store.Incident) bool { return time.Unix(in.End, 0).Before(t) })
	}
	return ctx.Err()
}

// hour is the start of the n-th hour after epoch.
func hour(n int) int64 { return epoch.Unix() + int64(n)*3600 }

// sightings leaves of samples only how many there are, since engines choose their hash.
func sightings(t *testing.T, s store.Store, least uint64) []store.Sighting {
	t.Helper()
	all, err := s.Sightings(t.Context(), store.Sighted{From: epoch, To: epoch.Add(1000 * time.Hour), Least: least})
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if !slices.IsSorted(all[i].Sample) {
			t.Errorf("the sample of %+v is not sorted", all[i].Trait)
		}
		all[i].Sample = make([]uint64, len(all[i].Sample))
	}
	return all
}

func (c *committer) incidents(in ...store.Incident) {
	c.t.Helper()
	b := c.next(nil, nil)
	b.Incidents = in
	if err := c.s.Commit(c.t.Context(), b); err != nil {
		c.t.Fatal(err)
	}
}

func testIncidents(t *testing.T, s store.Store) {
	c := committer{t: t, s: s, log: "a"}
	in := store.Incident{
		Instance: wire.InstanceID{1}, Number: 1, Known: hour(3), Start: hour(0) + 1800, End: hour(2) + 1800, Kind: 3, Scan: 2, Fingerprint: 7,
		Events: 4000, Networks: []store.IncidentNetwork{{Network: 64496, Country: "NL", Percent: 50}, {Network: 0, Country: "DE", Percent: 25}},
	}
	other := in
	other.Instance, other.Fingerprint, other.Networks = wire.InstanceID{2}, wire.Other, []store.IncidentNetwork{{Network: 64496, Country: "BE", Percent: 10}}
	other.Start, other.End = hour(1)+5, hour(1)+5 // of no length
	c.incidents(in, other)

	trait := func(fingerprint wire.Value, network uint32) store.Trait {
		return store.Trait{Kind: 3, Scan: 2, Fingerprint: fingerprint, Network: network}
	}
	none, one, two := []uint64{}, make([]uint64, 1), make([]uint64, 2)
	whole := []store.Sighting{
		{Trait: trait(0, 0), Hour: hour(0), Instances: 1, Events: 1000, Top: 1000, Sample: none},
		{Trait: trait(0, 0), Hour: hour(1), Instances: 2, Events: 6000, Top: 4000, Sample: none},
		{Trait: trait(0, 0), Hour: hour(2), Instances: 1, Events: 1000, Top: 1000, Sample: none},
	}
	network := []store.Sighting{
		{Trait: trait(0, 64496), Hour: hour(0), Instances: 1, Events: 500, Top: 500, Sample: one},
		{Trait: trait(0, 64496), Hour: hour(1), Instances: 2, Events: 1400, Top: 1000, Sample: two},
		{Trait: trait(0, 64496), Hour: hour(2), Instances: 1, Events: 500, Top: 500, Sample: one},
	}
	fingerprint := []store.Sighting{
		{Trait: trait(7, 0), Hour: hour(0), Instances: 1, Events: 1000, Top: 1000, Sample: one},
		{Trait: trait(7, 0), Hour: hour(1), Instances: 1, Events: 2000, Top: 2000, Sample: one},
		{Trait: trait(7, 0), Hour: hour(2), Instances: 1, Events: 1000, Top: 1000, Sample: one},
	}
	equal(t, "all sightings", slices.Concat(whole, network, fingerprint), sightings(t, s, 0))
	equal(t, "those of two instances", slices.Concat(whole, network), sightings(t, s, 2))
	equal(t, "those of three instances", whole, sightings(t, s, 3))

	got, err := s.Spread(t.Context(), []store.Trait{trait(7, 0), trait(0, 64496)}, epoch.Add(time.Hour), epoch.Add(2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the spread", []store.Sighting{{Trait: trait(0, 0), Hour: hour(1), Instances: 2, Events: 2400, Top: 2000}}, got)
	if _, err := s.Spread(t.Context(), []store.Trait{{Kind: 1, Network: 1}, {Kind: 2, Network: 1}}, epoch, epoch); err == nil {
		t.Error("traits of two kinds were taken")
	}

	for range 2 {
		if err := s.Forget(t.Context(), in.Instance); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "what is left of one", 2, len(sightings(t, s, 0)))
	if err := s.DropIncidents(t.Context(), time.Unix(other.End, 0)); err != nil {
		t.Fatal(err)
	}
	equal(t, "what ended not before", 2, len(sightings(t, s, 0)))
	if err := s.DropIncidents(t.Context(), time.Unix(other.End+1, 0)); err != nil {
		t.Fatal(err)
	}
	equal(t, "nothing", 0, len(sightings(t, s, 0)))
}

func testIncidentsReplaced(t *testing.T, s store.Store) {
	c := committer{t: t, s: s, log: "a"}
	in := store.Incident{Instance: wire.InstanceID{1}, Number: 1, Known: hour(1), Start: hour(0), End: hour(1), Open: true, Kind: 1, Events: 100}
	later, older := in, in
	later.Known, later.End, later.Events, later.Kind, later.Fingerprint = hour(1)+600, hour(1), 300, 2, 5
	later.Networks = []store.IncidentNetwork{{Network: 1, Percent: 100}}
	older.Known, older.Events = hour(1)-60, 1
	for _, step := range []struct {
		in     store.Incident
		events uint64
		traits int
	}{{in, 100, 1}, {later, 300, 3}, {older, 300, 3}, {later, 300, 3}} {
		c.incidents(step.in)
		got := sightings(t, s, 0)
		equal(t, "sightings", step.traits, len(got))
		for _, g := range got {
			equal(t, "events", step.events, g.Events)
		}
	}
	later.Number, later.Instance = 2, wire.InstanceID{1}
	c.incidents(later)
	equal(t, "events of both", uint64(600), sightings(t, s, 0)[0].Events)
}

// randomIncidents last whole hours and have events that divide without a rest.
func randomIncidents(r *rand.Rand) []store.Incident {
	var all []store.Incident
	for i := range 1 + r.IntN(200) {
		in := store.Incident{
			Instance: wire.InstanceID{byte(r.IntN(100)), 15: 1}, Number: uint64(i), Known: hour(1000) + int64(r.IntN(10)),
			Start: hour(r.IntN(900)), Kind: wire.Value(r.IntN(3)), Scan: wire.Value(r.IntN(2)), Fingerprint: wire.Value(r.IntN(4)),
		}
		hours := 1 + r.IntN(5)
		in.End, in.Events = in.Start+int64(hours)*3600, uint64(hours*100*r.IntN(1000))
		for n := range r.IntN(4) {
			in.Networks = append(in.Networks, store.IncidentNetwork{Network: uint32(4*n + r.IntN(4)), Country: "NZ", Percent: uint32(r.IntN(25))})
		}
		all = append(all, in)
	}
	return all
}

func testRandomIncidents(t *testing.T, s store.Store) {
	r := rand.New(rand.NewPCG(11, 13))
	want := NewReference()
	a, b := committer{t: t, s: s, log: "a"}, committer{t: t, s: want, log: "a"}
	for round := range 8 {
		in := randomIncidents(r)
		a.incidents(in...)
		b.incidents(in...)
		equal(t, "sightings", sightings(t, want, uint64(round)), sightings(t, s, uint64(round)))
		traits := []store.Trait{{Kind: 1, Fingerprint: 2}, {Kind: 1, Network: 3}, {Kind: 1, Network: 5}}
		x, errX := want.Spread(t.Context(), traits, epoch, epoch.Add(500*time.Hour))
		y, errY := s.Spread(t.Context(), traits, epoch, epoch.Add(500*time.Hour))
		if err := errors.Join(errX, errY); err != nil {
			t.Fatal(err)
		}
		equal(t, "spread", x, y)
	}
}
