// Package storetest is the contract of package store as a test, which every
// engine passes, with a naive store in memory as its yardstick and a generator
// of as many rollup rows as a benchmark wants.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Run checks an engine. open makes an empty store that is closed when its test
// ends; reopen closes s and opens the same data again.
func Run(t *testing.T, open func(t *testing.T) store.Store, reopen func(t *testing.T, s store.Store) store.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"positions", testPositions},
		{"refused batches", testRefused},
		{"merging", testMerging},
		{"large numbers", testLarge},
		{"strings", testStrings},
		{"query", testQuery},
		{"query of nothing", testQueryNothing},
		{"query order and limit", testQueryOrder},
		{"instances", testInstances},
		{"forget", testForget},
		{"incidents", testIncidents},
		{"incidents replaced", testIncidentsReplaced},
		{"random incidents", testRandomIncidents},
		{"drop before", testDropBefore},
		{"export", testExport},
		{"compact", testCompact},
		{"cancelled commit", testCancelledCommit},
		{"cancelled calls", testCancelled},
		{"concurrency", testConcurrency},
		{"one batch by many", testRace},
		{"random", testRandom},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
	t.Run("reopen", func(t *testing.T) { testReopen(t, open(t), reopen) })
}

// epoch is a midnight that the tests' times count from.
var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// at is the start of the n-th window after epoch.
func at(n int) int64 { return epoch.Unix() + int64(n)*300 }

// all is a range of time with all rows of the tests in it.
var allFrom, allTo = epoch.Add(-1000 * time.Hour), epoch.Add(100000 * time.Hour)

// committer cuts batches of one log one after the other.
type committer struct {
	t   *testing.T
	s   store.Store
	log string
	at  store.Position
}

func (c *committer) commit(rows ...store.Row) {
	c.t.Helper()
	c.commitAll(rows, nil)
}

func (c *committer) commitAll(rows []store.Row, ins []store.Instance) {
	c.t.Helper()
	if err := c.s.Commit(c.t.Context(), c.next(rows, ins)); err != nil {
		c.t.Fatal(err)
	}
}

// next is a batch, which is taken to be committed.
func (c *committer) next(rows []store.Row, ins []store.Instance) store.Batch {
	b := store.Batch{Log: c.log, From: c.at, To: c.at + 10, Rows: rows, Instances: ins}
	c.at = b.To
	return b
}

// row is a plain one of grain Window.
func row(n int, m wire.MetricID, f wire.Facet, value string, count uint64, dims ...wire.Value) store.Row {
	r := store.Row{
		Key:   store.Key{Start: at(n), Metric: m, Facet: f, Value: value},
		Count: count, Sum: 2 * count, Reports: 1, Top: count,
	}
	copy(r.Dims[:], dims)
	return r
}

// compareKeys orders as Key's fields are ordered.
func compareKeys(a, b store.Key) int {
	for _, c := range []int{
		int(a.Grain) - int(b.Grain), int(a.Start - b.Start), int(a.Metric) - int(b.Metric),
		int(a.Facet) - int(b.Facet), strings.Compare(a.Value, b.Value),
		slices.Compare(a.Dims[:], b.Dims[:]), strings.Compare(a.Label, b.Label),
	} {
		if c != 0 {
			return c
		}
	}
	return 0
}

func query(t *testing.T, s store.Store, q store.Query) []store.Row {
	t.Helper()
	rows, err := s.Query(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func position(t *testing.T, s store.Store, log string) store.Position {
	t.Helper()
	p, err := s.Position(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func export(t *testing.T, s store.Store, g store.Grain, from, to time.Time) []store.Row {
	t.Helper()
	var rows []store.Row
	for r, err := range s.Export(t.Context(), g, from, to) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	return rows
}

// exportAll is all that is in the rollups.
func exportAll(t *testing.T, s store.Store) []store.Row {
	t.Helper()
	var rows []store.Row
	for _, g := range store.Grains {
		rows = append(rows, export(t, s, g, allFrom, allTo)...)
	}
	return rows
}

// instances reads instances in the order of their ids.
func instances(t *testing.T, s store.Store, ids ...wire.InstanceID) []store.Instance {
	t.Helper()
	ins, err := s.Instances(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(ins, func(a, b store.Instance) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return ins
}

func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, d)
	}
}

func testPositions(t *testing.T, s store.Store) {
	ctx := t.Context()
	q := store.Query{Metric: 1, From: allFrom, To: allTo}
	equal(t, "position of an unknown log", store.Position(0), position(t, s, "a"))

	first := store.Batch{Log: "a", To: 7, Rows: []store.Row{row(0, 1, wire.All, "", 5)}}
	if err := s.Commit(ctx, first); err != nil {
		t.Fatal(err)
	}
	equal(t, "position", store.Position(7), position(t, s, "a"))
	equal(t, "position of another log", store.Position(0), position(t, s, "b"))

	id := wire.InstanceID{1}
	for name, b := range map[string]store.Batch{
		"retried":      first,
		"with a gap":   {Log: "a", From: 8, To: 9, Rows: first.Rows, Instances: []store.Instance{{ID: id}}},
		"overlapping":  {Log: "a", From: 6, To: 9, Rows: first.Rows, Instances: []store.Instance{{ID: id}}},
		"of a new log": {Log: "b", From: 7, To: 9, Rows: first.Rows, Instances: []store.Instance{{ID: id}}},
	} {
		if err := s.Commit(ctx, b); !errors.Is(err, store.ErrPosition) {
			t.Errorf("a batch %s: %v instead of ErrPosition", name, err)
		}
	}
	equal(t, "position", store.Position(7), position(t, s, "a"))
	equal(t, "position of another log", store.Position(0), position(t, s, "b"))
	equal(t, "count", uint64(5), query(t, s, q)[0].Count)
	equal(t, "instances", 0, len(instances(t, s, id)))

	// A log's name is any string, a position any number.
	for _, log := range []string{"", "b", "A", "a'; DROP TABLE positions --", "a\x00", "ä/\xff"} {
		for _, b := range []store.Batch{
			{Log: log, To: 1, Rows: first.Rows},
			{Log: log, From: 1, To: 1<<63 + 1},
			{Log: log, From: 1<<63 + 1, To: 1<<64 - 1},
		} {
			if err := s.Commit(ctx, b); err != nil {
				t.Fatalf("log %q from %d: %v", log, b.From, err)
			}
			equal(t, "position of log "+log, b.To, position(t, s, log))
		}
	}
	equal(t, "position", store.Position(7), position(t, s, "a"))
	equal(t, "count", uint64(35), query(t, s, q)[0].Count)
}

// testRefused commits what the contract does not allow.
func testRefused(t *testing.T, s store.Store) {
	good := row(0, 1, wire.All, "", 5)
	bad := func(change func(*store.Row)) store.Batch {
		r := good
		change(&r)
		return store.Batch{Log: "a", To: 1, Rows: []store.Row{good, r}}
	}
	for name, b := range map[string]store.Batch{
		"of no records":          {Log: "a", Rows: []store.Row{good}},
		"that goes backwards":    {Log: "a", From: 5, To: 4},
		"with too few buckets":   bad(func(r *store.Row) { r.Buckets = make([]uint64, wire.Buckets-1) }),
		"with three registers":   bad(func(r *store.Row) { r.Registers = make([]byte, 3) }),
		"with no registers":      bad(func(r *store.Row) { r.Registers = []byte{} }),
		"with an unknown grain":  bad(func(r *store.Row) { r.Grain = 9 }),
		"with a million buckets": bad(func(r *store.Row) { r.Buckets = make([]uint64, 1<<20) }),
	} {
		if err := s.Commit(t.Context(), b); err == nil {
			t.Errorf("a batch %s was committed", name)
		}
	}
	equal(t, "position", store.Position(0), position(t, s, "a"))
	equal(t, "rows", 0, len(exportAll(t, s)))
}

func testReopen(t *testing.T, s store.Store, reopen func(*testing.T, store.Store) store.Store) {
	want := NewReference()
	g := newGenerator(7)
	incidents := rand.New(rand.NewPCG(7, 7))
	for range 5 {
		b := g.batch()
		b.Incidents = randomIncidents(incidents)
		for _, s := range []store.Store{s, want} {
			if err := s.Commit(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		s = reopen(t, s)
		for _, log := range g.logs {
			equal(t, "position", position(t, want, log), position(t, s, log))
		}
		equal(t, "rows", exportAll(t, want), exportAll(t, s))
		equal(t, "instances", instances(t, want, g.ids...), instances(t, s, g.ids...))
		equal(t, "sightings", sightings(t, want, 0), sightings(t, s, 0))
	}
	b := g.batch()
	for _, s := range []store.Store{s, want} {
		if err := s.Commit(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "rows", exportAll(t, want), exportAll(t, s))
}
