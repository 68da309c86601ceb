package duckdb

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/store/storetest"
	"github.com/caddy-evergreen/evergreen/wire"
)

// benchmarkQueries are what a dashboard asks.
func benchmarkQueries() map[string]store.Query {
	end := storetest.FillEnd
	day, month := end.Add(-24*time.Hour), end.AddDate(0, 0, -30)
	return map[string]store.Query{
		"status codes of a day by window": {
			Metric: wire.HTTPRequests, Grain: store.Window, From: day, To: end, ByTime: true, ByDims: []int{1}},
		"status codes of a month by hour": {
			Metric: wire.HTTPRequests, Grain: store.Hour, From: month, To: end, ByTime: true, ByDims: []int{1}},
		"top countries of a month": {
			Metric: wire.HTTPRequests, Facet: wire.Country, Grain: store.Hour, From: month, To: end, ByValue: true, Limit: 20},
		"a country's day by window": {
			Metric: wire.TLSConnections, Facet: wire.Country, Values: []string{storetest.FillFacet(wire.Country, 7)},
			Grain: store.Window, From: day, To: end, ByTime: true, ByDims: []int{0}},
		"latency of a day by window": {
			Metric: wire.HTTPDuration, Grain: store.Window, From: day, To: end, ByTime: true},
		"latency of a month by hour": {
			Metric: wire.HTTPDuration, Grain: store.Hour, From: month, To: end, ByTime: true},
		"latency of a month by country": {
			Metric: wire.HTTPDuration, Facet: wire.Country, Grain: store.Hour, From: month, To: end, ByValue: true},
		"instances of a day by window": {
			Metric: wire.InstancesActive, Grain: store.Window, From: day, To: end, ByTime: true},
		"instances of a month": {
			Metric: wire.InstancesActive, Grain: store.Hour, From: month, To: end},
		"plugins of a month": {
			Metric: wire.InstancesPlugins, Grain: store.Day, From: month, To: end, ByLabel: true, Limit: 50},
	}
}

// BenchmarkQuery measures queries over as many rollup rows as
// EVERGREEN_BENCH_ROWS says, by default 1000000; several numbers are separated
// by commas. Each is measured as committed and after compaction.
func BenchmarkQuery(b *testing.B) {
	sizes := os.Getenv("EVERGREEN_BENCH_ROWS")
	if sizes == "" {
		sizes = "1000000"
	}
	for _, size := range strings.Split(sizes, ",") {
		rows, err := strconv.Atoi(strings.TrimSpace(size))
		if err != nil {
			b.Fatalf("EVERGREEN_BENCH_ROWS: %v", err)
		}
		b.Run(size, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "store.duckdb")
			s := open(b, path, Options{})
			begin := time.Now()
			if err := storetest.Fill(b.Context(), s, rows, 1); err != nil {
				b.Fatal(err)
			}
			filled := time.Since(begin)
			b.Run("committed", func(b *testing.B) { benchmarkAll(b, s) })
			begin = time.Now()
			if err := s.Compact(b.Context(), storetest.FillEnd); err != nil {
				b.Fatal(err)
			}
			compacted := time.Since(begin)
			b.Run("compacted", func(b *testing.B) { benchmarkAll(b, s) })
			file, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			b.Logf("filling %.0f rows/s, compacting %.0f rows/s, %.1f bytes a row",
				float64(rows)/filled.Seconds(), float64(rows)/compacted.Seconds(), float64(file.Size())/float64(rows))
		})
	}
}

func benchmarkAll(b *testing.B, s *Store) {
	queries := benchmarkQueries()
	for _, name := range slices.Sorted(maps.Keys(queries)) {
		b.Run(name, func(b *testing.B) {
			var times []time.Duration
			n := 0
			for b.Loop() {
				begin := time.Now()
				rows, err := s.Query(b.Context(), queries[name])
				if err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(begin))
				n = len(rows)
			}
			slices.Sort(times)
			b.ReportMetric(times[len(times)/2].Seconds()*1e3, "p50-ms")
			b.ReportMetric(times[len(times)*95/100].Seconds()*1e3, "p95-ms")
			b.ReportMetric(float64(n), "rows")
		})
	}
}

// BenchmarkCommit commits batches of 2,000 rows and 500 instances.
func BenchmarkCommit(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "store.duckdb"), Options{})
	batch := store.Batch{Log: "a"}
	for i := range 2000 {
		r := store.Row{Key: store.Key{Start: 300, Metric: 1, Facet: wire.Network, Value: fmt.Sprint("AS", 10000+i)}, Count: 1, Reports: 1}
		if i%4 == 0 {
			r.Buckets = make([]uint64, wire.Buckets)
			for j := range 20 {
				r.Buckets[40+j] = uint64(j)
			}
		}
		batch.Rows = append(batch.Rows, r)
	}
	n := 0
	for b.Loop() {
		batch.Instances = batch.Instances[:0]
		for range 500 {
			n = (n + 1) % 100000
			batch.Instances = append(batch.Instances, store.Instance{ID: wire.InstanceID{byte(n >> 16), byte(n >> 8), byte(n)}})
		}
		batch.From, batch.To = batch.To, batch.To+1
		if err := s.Commit(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(batch.Rows))*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkSightings looks for what 300,000 incidents of 37 days have in common.
func BenchmarkSightings(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "store.duckdb"), Options{})
	r := rand.New(rand.NewPCG(1, 2))
	end := storetest.FillEnd
	for n := range store.Position(10) {
		batch := store.Batch{Log: "a", From: n, To: n + 1}
		for i := range 30_000 {
			start := end.Unix() - r.Int64N(37*24*3600)
			in := store.Incident{
				Instance: wire.InstanceID{byte(r.IntN(256)), byte(r.IntN(256)), 1}, Number: uint64(n)<<32 | uint64(i), Known: start + 600,
				Start: start, End: start + r.Int64N(1200), Kind: wire.Value(1 + r.IntN(10)), Events: 1000,
			}
			for range 5 {
				in.Networks = append(in.Networks, store.IncidentNetwork{Network: uint32(1 + r.ExpFloat64()*2000), Country: "NZ", Percent: 10})
			}
			batch.Incidents = append(batch.Incidents, in)
		}
		if err := s.Commit(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := s.Sightings(b.Context(), store.Sighted{From: end.Add(-37 * 24 * time.Hour), To: end, Least: 5}); err != nil {
			b.Fatal(err)
		}
	}
}
