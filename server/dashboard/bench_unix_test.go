//go:build unix

package dashboard_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/store/duckdb"
)

// fleet is a store on disk with two days of a fleet's rollups, compacted as
// they are by a service that runs.
func fleet(b *testing.B) store.Store {
	b.Helper()
	s, err := duckdb.Open(filepath.Join(b.TempDir(), "db"), duckdb.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	plausible(b, s, now, 50*time.Hour)
	if err := s.Compact(b.Context(), now.Add(-time.Hour)); err != nil {
		b.Fatal(err)
	}
	return s
}

// cold has a page made again and again with no answer in the cache.
func cold(b *testing.B, cfg dashboard.Config, path string) {
	var took []time.Duration
	cpu := used(b)
	for b.Loop() {
		h := serve(b, cfg) // its cache is empty
		start := time.Now()
		if w := get(b, h, path); w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
		took = append(took, time.Since(start))
	}
	b.ReportMetric((used(b)-cpu).Seconds()*1000/float64(len(took)), "cpu-ms")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
}

// used is the processor time that this process took so far. On a busy machine it
// says more than the time that passed.
func used(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkOverview has the overview made with no answer in the cache, from
// two days of a fleet's rollups on disk.
func BenchmarkOverview(b *testing.B) {
	cfg := dashboard.Config{Store: fleet(b), Reports: openLog(b)}
	for _, r := range []string{"1h", "24h", "7d"} {
		b.Run(r, func(b *testing.B) { cold(b, cfg, "/?range="+r) })
	}
}

// BenchmarkPages is the same for every page of charts, of a day.
func BenchmarkPages(b *testing.B) {
	cfg := dashboard.Config{Store: fleet(b), Reports: openLog(b), Campaigns: listed{campaign}}
	for _, p := range append([]string{"/"}, dashboard.Topics()...) {
		b.Run(p[1:], func(b *testing.B) { cold(b, cfg, p+"?range=24h") })
	}
}
