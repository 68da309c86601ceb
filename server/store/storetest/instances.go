package storetest

import (
	"math"
	"testing"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

func testInstances(t *testing.T, s store.Store) {
	c := committer{t: t, s: s, log: "a"}
	ids := []wire.InstanceID{{}, {0: 1}, {15: 1}, {0: 127}, {0: 128}, {0: 255, 7: 255, 8: 255, 15: 255}, {7: 128}, {8: 128}}
	var ins []store.Instance
	for i, id := range ids {
		ins = append(ins, store.Instance{
			ID: id, High: uint64(i), Seen: 1<<63 | uint64(i),
			Counted: [...]int64{at(i), at(i + 1), at(i + 2)}, First: -1, Last: math.MaxInt64,
		})
	}
	ins[1].High, ins[1].Seen = math.MaxUint64, math.MaxUint64
	ins[2].High, ins[2].Seen = 1<<63, 1
	equal(t, "unknown instances", 0, len(instances(t, s, ids...)))
	equal(t, "no instances", 0, len(instances(t, s)))
	c.commitAll(nil, ins)
	for i := range ins {
		equal(t, "an instance", []store.Instance{ins[i]}, instances(t, s, ids[i], wire.InstanceID{9: 9}))
	}
	equal(t, "number of instances", len(ids), len(instances(t, s, append(ids, ids...)...)))

	// A new state replaces the old one; the others stay.
	ins[4].High++
	ins[4].Seen = 0
	ins[4].Counted[store.Day]++
	ins[4].Last = 0
	c.commitAll(nil, []store.Instance{ins[4], {ID: wire.InstanceID{77}, High: 1}})
	for i := range ins {
		equal(t, "an instance", []store.Instance{ins[i]}, instances(t, s, ids[i]))
	}

	// Many at once, some of them known.
	const many = 20000
	states := make([]store.Instance, many)
	asked := make([]wire.InstanceID, many)
	for round := range 2 {
		for i := range states {
			id := wire.InstanceID{0: 200, 3: byte(i >> 8), 11: byte(i)}
			asked[i] = id
			states[i] = store.Instance{ID: id, High: uint64(i + round), Seen: uint64(round)}
		}
		part := states[round*many/2:]
		c.commitAll(nil, part)
	}
	var high uint64
	got := instances(t, s, asked...)
	equal(t, "number of instances", many, len(got))
	for _, in := range got {
		high += in.High
	}
	equal(t, "sum of their numbers", uint64(many*(many-1)/2+many/2), high)
}

func testForget(t *testing.T, s store.Store) {
	c := committer{t: t, s: s, log: "a"}
	a, b := store.Instance{ID: wire.InstanceID{200, 1}, High: 5}, store.Instance{ID: wire.InstanceID{200, 2}, High: 6}
	c.commitAll([]store.Row{row(0, 1, wire.All, "", 5)}, []store.Instance{a, b})
	for range 3 { // also what is not there
		if err := s.Forget(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
		equal(t, "what is left", []store.Instance{b}, instances(t, s, a.ID, b.ID))
	}
	equal(t, "the sum", uint64(5), query(t, s, store.Query{Metric: 1, From: allFrom, To: allTo})[0].Count)
	equal(t, "position", c.at, position(t, s, "a"))

	// It may come back, as a stranger.
	a.High = 1
	c.commitAll(nil, []store.Instance{a})
	equal(t, "both", []store.Instance{a, b}, instances(t, s, a.ID, b.ID))
}
