package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// sample is a small cube: two metrics, two facets, three windows, two
// dimensions; each row's count is a power of two of its own, so that a sum
// tells which rows it is of.
func sample() []store.Row {
	return []store.Row{
		row(0, 1, wire.All, "", 1<<0, 1, 1),
		row(0, 1, wire.All, "", 1<<1, 1, 2),
		row(0, 1, wire.All, "", 1<<2, 2, 1),
		row(0, 1, wire.Country, "AT", 1<<3, 1, 1),
		row(0, 1, wire.Country, "DE", 1<<4, 1, 1),
		row(1, 1, wire.All, "", 1<<5, 1, 1),
		row(1, 1, wire.All, "", 1<<6, 2, 2),
		row(1, 1, wire.Country, "", 1<<7, 2, 2),
		row(1, 1, wire.Country, "AT", 1<<8, 1, 2),
		row(2, 1, wire.All, "", 1<<9, 0, 0, 1, 2, 3),
		row(2, 2, wire.All, "", 1<<10, 1, 1),
		row(2, 2, wire.Country, "AT", 1<<11, 1, 1),
	}
}

func testQuery(t *testing.T, s store.Store) {
	c := committer{t: t, s: s, log: "a"}
	rows := sample()
	hour := row(0, 1, wire.All, "", 1<<12, 1, 1)
	hour.Grain = store.Hour
	labelled := func(label string, count uint64) store.Row {
		r := row(0, 3, wire.All, "", count, 1)
		r.Label = label
		return r
	}
	rows = append(rows, labelled("x", 1<<13), labelled("y", 1<<14), labelled("", 1<<15), hour)
	c.commit(rows...)

	from, to := time.Unix(at(0), 0), time.Unix(at(3), 0)
	for name, c := range map[string]struct {
		q    store.Query
		want []string // "start value dims label: count"
	}{
		"all of a metric": {store.Query{Metric: 1},
			[]string{" [0 0 0 0 0] : 615"}},
		"another metric": {store.Query{Metric: 2},
			[]string{" [0 0 0 0 0] : 1024"}},
		"another grain": {store.Query{Metric: 1, Grain: store.Hour},
			[]string{" [0 0 0 0 0] : 4096"}},
		"a facet": {store.Query{Metric: 1, Facet: wire.Country},
			[]string{" [0 0 0 0 0] : 408"}},
		"by time": {store.Query{Metric: 1, ByTime: true},
			[]string{"0  [0 0 0 0 0] : 7", "1  [0 0 0 0 0] : 96", "2  [0 0 0 0 0] : 512"}},
		"by value": {store.Query{Metric: 1, Facet: wire.Country, ByValue: true},
			[]string{"AT [0 0 0 0 0] : 264", " [0 0 0 0 0] : 128", "DE [0 0 0 0 0] : 16"}},
		"by value of no facet": {store.Query{Metric: 1, ByValue: true},
			[]string{" [0 0 0 0 0] : 615"}},
		"by time and value": {store.Query{Metric: 1, Facet: wire.Country, ByTime: true, ByValue: true},
			[]string{"0 DE [0 0 0 0 0] : 16", "0 AT [0 0 0 0 0] : 8", "1 AT [0 0 0 0 0] : 256", "1  [0 0 0 0 0] : 128"}},
		"values": {store.Query{Metric: 1, Facet: wire.Country, Values: []string{"AT", "XX"}},
			[]string{" [0 0 0 0 0] : 264"}},
		"the empty value": {store.Query{Metric: 1, Facet: wire.Country, Values: []string{""}},
			[]string{" [0 0 0 0 0] : 128"}},
		"no values": {store.Query{Metric: 1, Facet: wire.Country, Values: []string{}},
			nil},
		"a dimension": {store.Query{Metric: 1, Where: map[int][]wire.Value{0: {1}}},
			[]string{" [0 0 0 0 0] : 35"}},
		"the dimension's value other": {store.Query{Metric: 1, Where: map[int][]wire.Value{0: {0}}},
			[]string{" [0 0 0 0 0] : 512"}},
		"two dimensions": {store.Query{Metric: 1, Where: map[int][]wire.Value{0: {1, 2}, 1: {1}}},
			[]string{" [0 0 0 0 0] : 37"}},
		"the last dimension": {store.Query{Metric: 1, Where: map[int][]wire.Value{4: {3}}, ByDims: []int{4}},
			[]string{" [0 0 0 0 3] : 512"}},
		"a dimension's no value": {store.Query{Metric: 1, Where: map[int][]wire.Value{0: {}}},
			nil},
		"by a dimension": {store.Query{Metric: 1, ByDims: []int{1}},
			[]string{" [0 0 0 0 0] : 512", " [0 2 0 0 0] : 66", " [0 1 0 0 0] : 37"}},
		"by dimensions in any order": {store.Query{Metric: 1, ByDims: []int{1, 0, 1}, Where: map[int][]wire.Value{0: {1, 2}}},
			[]string{" [2 2 0 0 0] : 64", " [1 1 0 0 0] : 33", " [2 1 0 0 0] : 4", " [1 2 0 0 0] : 2"}},
		"by label": {store.Query{Metric: 3, ByLabel: true},
			[]string{" [0 0 0 0 0] : 32768", " [0 0 0 0 0] y: 16384", " [0 0 0 0 0] x: 8192"}},
		"labels": {store.Query{Metric: 3, Labels: []string{"x", ""}},
			[]string{" [0 0 0 0 0] : 40960"}},
		"no labels": {store.Query{Metric: 3, Labels: []string{}},
			nil},
		"everything": {store.Query{
			Metric: 1, Facet: wire.Country, Values: []string{"AT"}, Where: map[int][]wire.Value{1: {2}},
			Labels: []string{""}, ByTime: true, ByValue: true, ByLabel: true, ByDims: []int{0, 1, 2, 3, 4}, Limit: 5,
		}, []string{"1 AT [1 2 0 0 0] : 256"}},
		"from a window's start": {store.Query{Metric: 1, From: time.Unix(at(1), 0)},
			[]string{" [0 0 0 0 0] : 608"}},
		"from just after it": {store.Query{Metric: 1, From: time.Unix(at(1), 1)},
			[]string{" [0 0 0 0 0] : 512"}},
		"to a window's start": {store.Query{Metric: 1, To: time.Unix(at(1), 0)},
			[]string{" [0 0 0 0 0] : 7"}},
		"to just after it": {store.Query{Metric: 1, To: time.Unix(at(1), 1)},
			[]string{" [0 0 0 0 0] : 103"}},
		"in another time zone": {store.Query{Metric: 1, From: time.Unix(at(1), 0).In(time.FixedZone("", 5400)), To: time.Unix(at(2), 0)},
			[]string{" [0 0 0 0 0] : 96"}},
		"no time": {store.Query{Metric: 1, From: time.Unix(at(1), 0), To: time.Unix(at(1), 0)},
			nil},
		"backwards": {store.Query{Metric: 1, From: time.Unix(at(2), 0), To: time.Unix(at(1), 0)},
			nil},
	} {
		t.Run(name, func(t *testing.T) {
			if c.q.From.IsZero() {
				c.q.From = from
			}
			if c.q.To.IsZero() {
				c.q.To = to
			}
			var got []string
			for _, r := range query(t, s, c.q) {
				if r.Metric != c.q.Metric || r.Grain != c.q.Grain || r.Facet != c.q.Facet || r.Sum != 2*r.Count {
					t.Errorf("unexpected row %+v", r)
				}
				time := ""
				if c.q.ByTime {
					time = fmt.Sprint((r.Start-at(0))/300, " ")
				} else if r.Start != 0 {
					t.Errorf("the row has the time %d, which was not asked for", r.Start)
				}
				got = append(got, fmt.Sprintf("%s%s %v %s: %d", time, r.Value, r.Dims, r.Label, r.Count))
			}
			equal(t, "result", c.want, got)
		})
	}
}

func testQueryNothing(t *testing.T, s store.Store) {
	for _, q := range []store.Query{
		{}, {ByTime: true}, {ByValue: true, Limit: 3}, {Metric: 60000, Facet: 200, ByLabel: true, ByDims: []int{0}},
	} {
		q.From, q.To = allFrom, allTo
		equal(t, "rows of an empty store", 0, len(query(t, s, q)))
	}
	equal(t, "exported rows of an empty store", 0, len(exportAll(t, s)))
	for name, q := range map[string]store.Query{
		"an unknown grain":           {Grain: 3},
		"a dimension too many":       {ByDims: []int{wire.MaxDims}},
		"a negative dimension":       {ByDims: []int{-1}},
		"a condition too many":       {Where: map[int][]wire.Value{wire.MaxDims: {1}}},
		"a negative condition":       {Where: map[int][]wire.Value{-1: {1}}},
		"a negative limit":           {Limit: -1},
		"a negative limit, by value": {Limit: -1, ByValue: true},
	} {
		q.From, q.To = allFrom, allTo
		if _, err := s.Query(t.Context(), q); err == nil {
			t.Errorf("a query with %s was answered", name)
		}
	}
	var last error
	for _, last = range s.Export(t.Context(), 9, allFrom, allTo) {
	}
	if last == nil {
		t.Error("an unknown grain was exported")
	}
	if s.DropBefore(t.Context(), 9, allTo) == nil {
		t.Error("an unknown grain was dropped")
	}
}

func testQueryOrder(t *testing.T, s store.Store) {
	c := committer{t: t, s: s, log: "a"}
	want := NewReference()
	var rows []store.Row
	// Many equal counts: their order, too, is the contract's.
	for n := range 4 {
		for v := range 12 {
			for d := range 3 {
				rows = append(rows, row(n, 1, wire.Country, string(rune('A'+v)), uint64((n+v+d)%4), wire.Value(d)))
			}
		}
	}
	if err := want.Commit(t.Context(), store.Batch{To: 1, Rows: rows}); err != nil {
		t.Fatal(err)
	}
	c.commit(rows...)
	for limit := range 30 {
		for mask := range 8 {
			q := store.Query{Metric: 1, Facet: wire.Country, From: allFrom, To: allTo, Limit: limit}
			q.ByTime, q.ByValue = mask&1 != 0, mask&2 != 0
			if mask&4 != 0 {
				q.ByDims = []int{0}
			}
			equal(t, fmt.Sprintf("limit %d, mask %d", limit, mask), query(t, want, q), query(t, s, q))
		}
	}
}
