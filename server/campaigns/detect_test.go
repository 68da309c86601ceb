package campaigns

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/store/storetest"
	"github.com/caddy-evergreen/evergreen/wire"
)

var trait = store.Trait{Kind: 1, Network: 64496}

// sightings of a trait by the hour, among as many instances with incidents of the kind.
func sightings(x []uint64, n uint64) []store.Sighting {
	var kind, network []store.Sighting
	for h, x := range x {
		kind = append(kind, store.Sighting{Trait: store.Trait{Kind: 1}, Hour: int64(h) * hour, Instances: n})
		if x > 0 {
			s := store.Sighting{Trait: trait, Hour: int64(h) * hour, Instances: x}
			for i := range min(x, store.SampleSize) {
				s.Sample = append(s.Sample, i)
			}
			network = append(network, s)
		}
	}
	return append(kind, network...)
}

// after is a day of usual hours, and then others.
func after(usual uint64, then ...uint64) []uint64 {
	var x []uint64
	for range history {
		x = append(x, usual)
	}
	return append(x, then...)
}

func TestDetect(t *testing.T) {
	type found struct {
		begin, end int64 // hours after the day
		ongoing    bool
		peak       uint64
	}
	for _, c := range []struct {
		name string
		x    []uint64
		n    uint64
		want []found
	}{
		{"nothing", after(0, 0, 0), 100, nil},
		{"too few", after(0, 4, 4, 4), 100, nil},
		{"enough", after(0, 5), 100, []found{{0, 1, true, 5}}},
		{"no day before", []uint64{100, 100, 100}, 100, nil},
		{"goes on with half", after(0, 10, 3, 3, 20), 100, []found{{0, 4, true, 20}}},
		{"a pause", after(0, 10, 0, 0, 10, 0), 100, []found{{0, 4, true, 10}}},
		{"ended", after(0, 10, 20, 1, 0, 2, 0), 100, []found{{0, 2, false, 20}}},
		{"the hour under way is no end", after(0, 10, 0, 0, 0), 100, []found{{0, 1, true, 10}}},
		{"twice", after(0, 10, 0, 0, 0, 0, 10, 0, 0, 0, 0), 100, []found{{0, 1, false, 10}, {5, 6, false, 10}}},
		{"everywhere all the time", after(40, 45, 55, 38, 61, 50), 100, []found(nil)},
		{"more than everywhere", after(40, 45, 180, 170, 40, 30, 30, 30), 200, []found{{1, 3, false, 180}}},
		// 2 × 1 + 6 × √1 + 4 are 12.
		{"by chance", after(1, 11), 100, nil},
		{"not by chance", after(1, 12), 100, []found{{0, 1, true, 12}}},
	} {
		var got []found
		for _, e := range detect(sightings(c.x, c.n), 5, 0, int64(len(c.x))*hour) {
			got = append(got, found{e.begin/hour - history, e.end/hour - history, e.ongoing, e.peak})
		}
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(found{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

// TestQuietDaysCount: reports without incidents are something to compare with.
func TestQuietDaysCount(t *testing.T) {
	s := sightings(after(0, 9), 100)
	s = s[len(s)-2:]
	if n := len(detect(s, 5, 0, (history+1)*hour)); n != 1 {
		t.Errorf("%d episodes instead of one", n)
	}
	if n := len(detect(s, 5, hour, (history+1)*hour)); n != 0 {
		t.Errorf("%d episodes after less than a day", n)
	}
}

func sample(from, to uint64) (s []uint64) {
	for i := from; i < to && len(s) < store.SampleSize; i++ {
		s = append(s, i)
	}
	return s
}

func TestMerge(t *testing.T) {
	at := func(network uint32, begin, end int64, sample []uint64) episode {
		e := episode{trait: store.Trait{Kind: 1, Network: network}, begin: begin * hour, end: end * hour, peak: uint64(len(sample)), hours: map[int64]store.Sighting{}}
		for h := e.begin; h < e.end; h += hour {
			e.hours[h] = store.Sighting{Instances: uint64(len(sample)), Sample: sample}
		}
		return e
	}
	other := at(9, 0, 3, sample(0, 20))
	other.trait.Kind = 2
	for _, c := range []struct {
		name string
		in   []episode
		want [][]uint32
	}{
		{"the same instances", []episode{at(2, 0, 3, sample(0, 20)), at(1, 1, 4, sample(5, 25))}, [][]uint32{{2, 1}}},
		{"few of them", []episode{at(2, 0, 3, sample(0, 20)), at(1, 1, 4, sample(15, 35))}, [][]uint32{{2}, {1}}},
		{"a part", []episode{at(2, 0, 3, sample(0, 60)), at(1, 0, 3, sample(3, 8))}, [][]uint32{{1, 2}}},
		{"one after the other", []episode{at(2, 0, 3, sample(0, 20)), at(1, 3, 4, sample(0, 20))}, [][]uint32{{2}, {1}}},
		{"a chain", []episode{at(1, 0, 9, sample(0, 20)), at(2, 0, 9, sample(10, 30)), at(3, 0, 9, sample(20, 40))}, [][]uint32{{1, 2, 3}}},
		{"another kind", []episode{at(1, 0, 3, sample(0, 20)), other}, [][]uint32{{1}, {9}}},
		{"cut samples", []episode{at(1, 0, 3, sample(0, 1000)), at(2, 0, 3, sample(32, 1000))}, [][]uint32{{1, 2}}},
	} {
		var got [][]uint32
		ids := map[string]bool{}
		for _, g := range merge(c.in) {
			var networks []uint32
			for _, t := range g.traits {
				networks = append(networks, t.Network)
			}
			got = append(got, networks)
			ids[g.id] = true
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
		if len(ids) != len(got) {
			t.Errorf("%s: campaigns share an id", c.name)
		}
	}
}

// TestChance: over many weeks of incidents that instances report independently
// of each other, from networks of which few are frequent, none is a campaign.
func TestChance(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 15, 0, 0, time.UTC)
	for seed := range uint64(5) {
		s := storetest.NewReference()
		r := rand.New(rand.NewPCG(seed, 1))
		networks := rand.NewZipf(r, 1.2, 4, 20_000)
		var b store.Batch
		b.To = 1
		for i := range 200 {
			for n := range 120 { // one every four hours
				start := now.Add(-time.Duration(1+r.IntN(20*24*3600)) * time.Second).Unix()
				in := store.Incident{
					Instance: wire.InstanceID{byte(i), 1}, Number: uint64(n), Known: now.Unix(), Start: start, End: start + int64(r.IntN(1800)),
					Kind: wire.Value(1 + r.IntN(2)), Events: 100,
				}
				for range 5 {
					in.Networks = append(in.Networks, store.IncidentNetwork{Network: uint32(1 + networks.Uint64()), Percent: 10})
				}
				b.Incidents = append(b.Incidents, in)
			}
		}
		if err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		found, err := New(Config{Source: s, Now: func() time.Time { return now }}).Campaigns(t.Context(), now.Add(-30*24*time.Hour), now)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) > 0 {
			t.Errorf("seed %d: %d campaigns, such as %+v", seed, len(found), found[0])
		}
	}
}

// counting is a source that counts how often it is asked.
type counting struct {
	store.Store
	sightings, spreads int
}

func (c *counting) Sightings(ctx context.Context, q store.Sighted) ([]store.Sighting, error) {
	c.sightings++
	return c.Store.Sightings(ctx, q)
}

func (c *counting) Spread(ctx context.Context, traits []store.Trait, from, to time.Time) ([]store.Sighting, error) {
	c.spreads++
	return c.Store.Spread(ctx, traits, from, to)
}

// TestKept: an answer is given again for a minute, and the growth of a campaign
// that no report can change any more until an instance is deleted.
func TestKept(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 15, 0, 0, time.UTC)
	old := now.Truncate(time.Hour).Add(-12 * 24 * time.Hour).Unix()
	s := &counting{Store: storetest.NewReference()}
	b := store.Batch{To: 1, Incidents: []store.Incident{{Instance: wire.InstanceID{99}, Number: 1, Start: old - 30*hour, End: old - 30*hour, Kind: 1, Events: 1}}}
	for i := range 7 {
		b.Incidents = append(b.Incidents, store.Incident{
			Instance: wire.InstanceID{byte(i)}, Number: 1, Known: old + 60, Start: old, End: old + 60, Kind: 1, Fingerprint: 3, Events: 10,
		})
	}
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	c := New(Config{Source: s, Now: func() time.Time { return now }})
	ask := func(sightings, spreads int, instances uint64) {
		t.Helper()
		found, err := c.Campaigns(t.Context(), now.Add(-30*24*time.Hour), now)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != 1 || found[0].Instances != instances || found[0].Ongoing || len(found[0].Fingerprints) != 1 {
			t.Errorf("found are %+v", found)
		}
		if s.sightings != sightings || s.spreads != spreads {
			t.Errorf("%d and %d questions instead of %d and %d", s.sightings, s.spreads, sightings, spreads)
		}
	}
	ask(1, 1, 7)
	ask(1, 1, 7)
	now = now.Add(time.Minute)
	ask(2, 1, 7)
	if err := s.Forget(t.Context(), wire.InstanceID{3}); err != nil {
		t.Fatal(err)
	}
	if err := c.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask(3, 2, 6)
	if found, err := c.Campaigns(t.Context(), now.Add(-24*time.Hour), now); err != nil || len(found) > 0 {
		t.Errorf("of the last day: %+v, %v", found, err)
	}
}
