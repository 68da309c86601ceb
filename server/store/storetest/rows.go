package storetest

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// buckets makes a histogram of pairs: bucket, count.
func buckets(pairs ...uint64) []uint64 {
	b := make([]uint64, wire.Buckets)
	for i := 0; i < len(pairs); i += 2 {
		b[pairs[i]] = pairs[i+1]
	}
	return b
}

func testMerging(t *testing.T, s store.Store) {
	c := committer{t: t, s: s, log: "a"}
	key := store.Key{Start: at(0), Metric: 7}
	few, many := make([]byte, 64), bytes.Repeat([]byte{3}, 64)
	few[0], few[63], many[63] = 9, 1, 0
	want := bytes.Repeat([]byte{3}, 64)
	want[0], want[63] = 9, 1

	c.commit(store.Row{Key: key, Count: 1, Sum: 10, Reports: 2, Top: 1})
	c.commit(store.Row{Key: key, Count: 2, Sum: 20, Reports: 3, Top: 5, Buckets: buckets(0, 1, 5, 2, 127, 3)})
	c.commit(store.Row{Key: key, Count: 4, Sum: 40, Reports: 4, Top: 4, Buckets: buckets(5, 10, 6, 20), Registers: few})
	c.commit(store.Row{Key: key, Registers: many})
	merged := store.Row{
		Key: key, Count: 7, Sum: 70, Reports: 9, Top: 5,
		Buckets: buckets(0, 1, 5, 12, 6, 20, 127, 3), Registers: want,
	}
	q := store.Query{Metric: 7, From: allFrom, To: allTo, ByTime: true}
	equal(t, "the merged row", []store.Row{merged}, query(t, s, q))
	equal(t, "the exported row", []store.Row{merged}, exportAll(t, s))

	// Rows of several keys merge in the same way.
	c.commit(store.Row{Key: store.Key{Start: at(1), Metric: 7}, Count: 1, Top: 1, Reports: 1, Buckets: buckets(5, 1)})
	merged.Start, merged.Count, merged.Reports = 0, 8, 10
	merged.Buckets = buckets(0, 1, 5, 13, 6, 20, 127, 3)
	q.ByTime = false
	equal(t, "the sum over time", []store.Row{merged}, query(t, s, q))

	// None and nothing but zeros are not the same.
	zero := store.Row{Key: store.Key{Start: at(0), Metric: 8}, Buckets: buckets(), Registers: make([]byte, 4096)}
	none := store.Row{Key: store.Key{Start: at(0), Metric: 9}}
	dense := store.Row{Key: store.Key{Start: at(0), Metric: 10}, Buckets: slices.Repeat([]uint64{1 << 40}, wire.Buckets), Registers: bytes.Repeat([]byte{255}, 4096)}
	single := store.Row{Key: store.Key{Start: at(0), Metric: 11}, Registers: []byte{4}}
	c.commit(zero, none, dense, single)
	for _, r := range []store.Row{zero, none, dense, single} {
		equal(t, "the row", []store.Row{r}, query(t, s, store.Query{Metric: r.Metric, From: allFrom, To: allTo, ByTime: true}))
	}
}

// testLarge goes beyond what can be added: sums stop at the greatest number
// instead of wrapping round or failing.
func testLarge(t *testing.T, s store.Store) {
	c := committer{t: t, s: s, log: "a"}
	const most = math.MaxInt64
	for _, r := range []struct {
		metric        wire.MetricID
		n, merged     uint64
		reports, sums uint32
		times         int
	}{
		{1, most - 1, most - 1, math.MaxUint32, math.MaxUint32, 1},
		{2, most/2 - 1, most - 3, math.MaxUint32 / 2, math.MaxUint32 - 1, 2},
		{3, most, most, math.MaxUint32, math.MaxUint32, 3},
		{4, math.MaxUint64, most, math.MaxUint32, math.MaxUint32, 3},
	} {
		row := store.Row{
			Key: store.Key{Start: at(0), Metric: r.metric}, Count: r.n, Sum: r.n, Top: r.n,
			Reports: r.reports, Buckets: buckets(3, r.n),
		}
		for range r.times {
			c.commit(row)
		}
		row.Count, row.Sum, row.Top, row.Buckets, row.Reports = r.merged, r.merged, min(r.n, most), buckets(3, r.merged), r.sums
		q := store.Query{Metric: r.metric, From: allFrom, To: allTo, ByTime: true}
		equal(t, "the row", []store.Row{row}, query(t, s, q))
		if err := s.Compact(t.Context(), allTo); err != nil {
			t.Fatal(err)
		}
		equal(t, "the row after compaction", []store.Row{row}, query(t, s, q))
	}
	// Metrics, facets, dimensions and times have a range, too.
	extreme := store.Row{
		Key:   store.Key{Start: allTo.Unix() - 1, Metric: math.MaxUint16, Facet: math.MaxUint8, Dims: wire.Dims{math.MaxUint16, 0, 1, 2, math.MaxUint16}},
		Count: 1,
	}
	old := store.Row{Key: store.Key{Start: -1}, Count: 1}
	c.commit(extreme, old)
	equal(t, "the extreme row", []store.Row{extreme}, query(t, s, store.Query{
		Metric: math.MaxUint16, Facet: math.MaxUint8, From: allFrom, To: allTo, ByTime: true, ByDims: []int{0, 1, 2, 3, 4},
		Where: map[int][]wire.Value{0: {math.MaxUint16}},
	}))
	equal(t, "the row before 1970", []store.Row{old}, query(t, s, store.Query{From: time.Unix(-1, 0), To: time.Unix(0, 0), ByTime: true}))
}

// hostile are strings that have broken databases and their drivers.
var hostile = []string{
	"", " ", "a", "A", "a ", "\x00", "a\x00b", "a\x00", "'", `"`, "''; DROP TABLE rollup_window; --", "?", "$1", "%", "_", `\`, `\x41`,
	"NULL", "null", "0", "-1", "1e999", "é", "e\u0301", "日本", "\U0001f600", "\u202e", "\ufeff", "\xff\xfe", "\xc0\x80",
	"a\nb\r\tc", "[]", "{}", "true", string(bytes.Repeat([]byte("x"), 10000)),
}

func testStrings(t *testing.T, s store.Store) {
	c := committer{t: t, s: s, log: "a"}
	var rows []store.Row
	for i, v := range hostile {
		r := row(0, 1, wire.Country, v, uint64(1000+i))
		rows = append(rows, r)
		if r.Label = v; v != "" {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b store.Row) int { return compareKeys(a.Key, b.Key) })
	c.commit(rows...)
	equal(t, "the exported rows", rows, exportAll(t, s))
	if err := s.Compact(t.Context(), allTo); err != nil {
		t.Fatal(err)
	}
	equal(t, "the exported rows after compaction", rows, exportAll(t, s))
	for i, v := range hostile {
		got := query(t, s, store.Query{
			Metric: 1, Facet: wire.Country, From: allFrom, To: allTo,
			Values: []string{v}, Labels: []string{v}, ByTime: true, ByValue: true, ByLabel: true,
		})
		want := row(0, 1, wire.Country, v, uint64(1000+i))
		want.Label = v
		equal(t, "the row of a hostile string", []store.Row{want}, got)
	}
	got := query(t, s, store.Query{Metric: 1, Facet: wire.Country, From: allFrom, To: allTo, ByValue: true})
	equal(t, "number of values", len(hostile), len(got))
}
