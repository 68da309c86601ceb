package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A generator makes batches and queries from a seed, over a key space so small
// that rows often meet.
type generator struct {
	r         *rand.Rand
	logs      []string
	positions map[string]store.Position
	ids       []wire.InstanceID
}

func newGenerator(seed uint64) *generator {
	g := &generator{
		r:         rand.New(rand.NewPCG(seed, 1)),
		logs:      []string{"a", "b", ""},
		positions: map[string]store.Position{},
	}
	for i := range 20 {
		g.ids = append(g.ids, wire.InstanceID{byte(i * 13), 15: byte(i)})
	}
	return g
}

func pick[T any](g *generator, of ...T) T { return of[g.r.IntN(len(of))] }

func (g *generator) value(f wire.Facet) string {
	if f == wire.All {
		return ""
	}
	return pick(g, "", "AT", "DE", "a\x00b", "日本", "'", "a somewhat longer value")
}

func (g *generator) label() string { return pick(g, "", "", "x", "example.com/module@v1.2.3") }

func (g *generator) count() uint64 {
	return pick(g, 0, 1, uint64(g.r.IntN(1000)), g.r.Uint64()>>g.r.IntN(64))
}

func (g *generator) batch() store.Batch {
	log := pick(g, g.logs...)
	b := store.Batch{Log: log, From: g.positions[log]}
	b.To = b.From + 1 + store.Position(g.r.IntN(9))
	g.positions[log] = b.To
	seen := map[store.Key]bool{}
	for range g.r.IntN(60) {
		k := store.Key{
			Grain: pick(g, store.Grains[:]...), Start: at(pick(g, 0, 1, 2, 11, 12, 288, 3000, -1)),
			Metric: wire.MetricID(g.r.IntN(4)), Facet: wire.Facet(g.r.IntN(3)), Label: g.label(),
		}
		k.Value = g.value(k.Facet)
		for d := range g.r.IntN(4) {
			k.Dims[d] = wire.Value(g.r.IntN(3))
		}
		if seen[k] {
			continue
		}
		seen[k] = true
		r := store.Row{Key: k, Count: g.count(), Sum: g.count(), Top: g.count(), Reports: g.r.Uint32() >> g.r.IntN(32)}
		if g.r.IntN(3) == 0 {
			r.Buckets = buckets()
			for range g.r.IntN(10) {
				r.Buckets[g.r.IntN(wire.Buckets)] = g.count()
			}
		}
		if g.r.IntN(3) == 0 {
			r.Registers = make([]byte, 64)
			for range g.r.IntN(100) {
				r.Registers[g.r.IntN(len(r.Registers))] = byte(g.r.Uint32())
			}
		}
		b.Rows = append(b.Rows, r)
	}
	slices.SortFunc(b.Rows, func(a, b store.Row) int { return compareKeys(a.Key, b.Key) })
	for _, i := range g.r.Perm(len(g.ids))[:g.r.IntN(len(g.ids))] {
		b.Instances = append(b.Instances, store.Instance{
			ID: g.ids[i], High: g.r.Uint64(), Seen: g.r.Uint64(),
			Counted: [...]int64{g.r.Int64(), -g.r.Int64(), 0}, First: g.r.Int64(), Last: g.r.Int64(),
		})
	}
	return b
}

func (g *generator) query() store.Query {
	q := store.Query{
		Metric: wire.MetricID(g.r.IntN(4)), Grain: pick(g, store.Grains[:]...), Facet: wire.Facet(g.r.IntN(3)),
		From: allFrom, To: allTo,
		ByTime: g.r.IntN(2) == 0, ByValue: g.r.IntN(2) == 0, ByLabel: g.r.IntN(2) == 0,
		Limit: pick(g, 0, 0, 1, 3, 1000), CountsOnly: g.r.IntN(4) == 0,
	}
	if g.r.IntN(3) == 0 {
		q.From = time.Unix(at(g.r.IntN(14)), int64(g.r.IntN(2)))
		q.To = time.Unix(at(g.r.IntN(3100)), int64(g.r.IntN(2)))
	}
	if g.r.IntN(4) == 0 {
		q.Values = []string{g.value(q.Facet), g.value(q.Facet)}
	}
	if g.r.IntN(4) == 0 {
		q.Labels = []string{g.label()}
	}
	if g.r.IntN(4) == 0 {
		q.Where = map[int][]wire.Value{g.r.IntN(wire.MaxDims): {wire.Value(g.r.IntN(3)), wire.Value(g.r.IntN(3))}}
	}
	for range g.r.IntN(3) {
		q.ByDims = append(q.ByDims, g.r.IntN(wire.MaxDims))
	}
	return q
}

// testRandom does the same to s and to a Reference and compares all they say.
func testRandom(t *testing.T, s store.Store) {
	ctx := t.Context()
	for seed := range uint64(2) {
		want := NewReference()
		for _, g := range store.Grains {
			if err := s.DropBefore(ctx, g, allTo); err != nil {
				t.Fatal(err)
			}
		}
		g := newGenerator(100 + seed)
		g.logs = []string{fmt.Sprint("x", seed), fmt.Sprint("y", seed)}
		for i := range g.ids {
			g.ids[i][8] = byte(seed)
		}
		for step := range 120 {
			both := func(f func(store.Store) error) {
				for _, s := range []store.Store{s, want} {
					if err := f(s); err != nil {
						t.Fatalf("seed %d, step %d: %v", seed, step, err)
					}
				}
			}
			switch g.r.IntN(12) {
			default:
				b := g.batch()
				both(func(s store.Store) error { return s.Commit(ctx, b) })
			case 0:
				before := time.Unix(at(g.r.IntN(3100)), int64(g.r.IntN(2)))
				both(func(s store.Store) error { return s.Compact(ctx, before) })
			case 1:
				grain, before := pick(g, store.Grains[:]...), time.Unix(at(g.r.IntN(20)), 0)
				both(func(s store.Store) error { return s.DropBefore(ctx, grain, before) })
			case 2:
				id := pick(g, g.ids...)
				both(func(s store.Store) error { return s.Forget(ctx, id) })
			}
			q := g.query()
			if w, got := query(t, want, q), query(t, s, q); true {
				equal(t, fmt.Sprintf("seed %d, step %d: %+v", seed, step, q), w, got)
			}
			equal(t, "instances", instances(t, want, g.ids...), instances(t, s, g.ids...))
			if t.Failed() {
				return
			}
		}
		equal(t, "rows", exportAll(t, want), exportAll(t, s))
	}
}
