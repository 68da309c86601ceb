package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

func testDropBefore(t *testing.T, s store.Store) {
	c := committer{t: t, s: s, log: "a"}
	in := store.Instance{ID: wire.InstanceID{1}}
	var rows []store.Row
	for _, g := range store.Grains {
		for n := range 5 {
			r := row(n, 1, wire.All, "", 1)
			r.Grain = g
			rows = append(rows, r)
		}
	}
	c.commitAll(rows, []store.Instance{in})
	count := func() (n [len(store.Grains)]int) {
		for _, g := range store.Grains {
			n[g] = len(export(t, s, g, allFrom, allTo))
		}
		return n
	}
	for _, d := range []struct {
		g    store.Grain
		t    time.Time
		want [len(store.Grains)]int
	}{
		{store.Window, time.Unix(at(0), 0), [...]int{5, 5, 5}},
		{store.Window, time.Unix(at(2), 0), [...]int{3, 5, 5}},
		{store.Window, time.Unix(at(2), 1), [...]int{2, 5, 5}},
		{store.Day, time.Unix(at(4), 0), [...]int{2, 5, 1}},
		{store.Hour, allTo, [...]int{2, 0, 1}},
	} {
		if err := s.DropBefore(t.Context(), d.g, d.t); err != nil {
			t.Fatal(err)
		}
		equal(t, fmt.Sprintf("rows left after %s before %s", d.g, d.t), d.want, count())
	}
	equal(t, "position", c.at, position(t, s, "a"))
	equal(t, "instances", []store.Instance{in}, instances(t, s, in.ID))
	c.commit(rows[0])
	equal(t, "rows after a late one", [...]int{3, 0, 1}, count())
}

func testExport(t *testing.T, s store.Store) {
	want := NewReference()
	g := newGenerator(3)
	for range 8 {
		b := g.batch()
		for _, s := range []store.Store{s, want} {
			if err := s.Commit(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
	}
	// One metric and time with more rows than anybody reads at once.
	var wide []store.Row
	for i := range 40000 {
		wide = append(wide, row(2, 1, wire.Network, fmt.Sprintf("AS%05d", i), 1))
	}
	for _, s := range []store.Store{s, want} {
		if err := s.Commit(t.Context(), store.Batch{Log: "wide", To: 1, Rows: wide}); err != nil {
			t.Fatal(err)
		}
	}
	for _, gr := range store.Grains {
		for _, r := range [][2]time.Time{
			{allFrom, allTo}, {time.Time{}, time.Unix(1<<40, 0)}, {epoch, epoch}, {allTo, allFrom},
			{time.Unix(at(1), 0), time.Unix(at(3), 0)}, {time.Unix(at(1), 1), time.Unix(at(3), 1)},
		} {
			equal(t, fmt.Sprintf("%s rows in %v", gr, r), export(t, want, gr, r[0], r[1]), export(t, s, gr, r[0], r[1]))
		}
	}
	// Whoever reads may stop, and may use the store meanwhile.
	n := 0
	for r, err := range s.Export(t.Context(), store.Window, allFrom, allTo) {
		if err != nil {
			t.Fatal(err)
		}
		query(t, s, store.Query{Metric: r.Metric, From: allFrom, To: allTo})
		if n++; n == 3 {
			break
		}
	}
	// The error is the last that comes.
	ctx, cancel := context.WithCancel(t.Context())
	n = 0
	var last error
	for _, err := range s.Export(ctx, store.Window, allFrom, allTo) {
		if last != nil {
			t.Fatal("rows after an error")
		}
		if last = err; n == 1 {
			cancel()
		}
		n++
	}
	cancel()
	if last == nil {
		t.Error("a cancelled export ended without an error")
	}
}

// testCompact asks the same before and after.
func testCompact(t *testing.T, s store.Store) {
	want := NewReference()
	g := newGenerator(11)
	both := func(f func(store.Store) error) {
		t.Helper()
		for _, s := range []store.Store{s, want} {
			if err := f(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(when string) {
		t.Helper()
		equal(t, "rows "+when, exportAll(t, want), exportAll(t, s))
		for range 10 {
			q := g.query()
			equal(t, fmt.Sprintf("%+v %s", q, when), query(t, want, q), query(t, s, q))
		}
	}
	for round := range 2 {
		for range 10 {
			b := g.batch()
			both(func(s store.Store) error { return s.Commit(t.Context(), b) })
		}
		for _, before := range []time.Time{allFrom, time.Unix(at(30), 0), time.Unix(at(30), 0), epoch.Add(26 * time.Hour), allTo, allTo} {
			both(func(s store.Store) error { return s.Compact(t.Context(), before) })
			check(fmt.Sprintf("in round %d after compaction before %s", round, before))
		}
	}
}
