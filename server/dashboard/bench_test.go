package dashboard_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/store/duckdb"
)

// BenchmarkOverview has the overview made with no answer in the cache, from
// two days of a fleet's rollups on disk.
func BenchmarkOverview(b *testing.B) {
	s, err := duckdb.Open(filepath.Join(b.TempDir(), "db"), duckdb.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	plausible(b, s, now, 50*time.Hour)
	l := openLog(b)
	for _, r := range []string{"1h", "24h", "7d"} {
		b.Run(r, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				h := serve(b, dashboard.Config{Store: s, Reports: l}) // its cache is empty
				start := time.Now()
				if w := get(b, h, "/?range="+r); w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
		})
	}
}
