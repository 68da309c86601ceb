package dashboard

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/fleet"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/store/duckdb"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestCoarser checks that answers from coarse sums are those from fine ones.
func TestCoarser(t *testing.T) {
	s, err := duckdb.Open("", duckdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	to := time.Date(2026, 11, 21, 3, 20, 0, 0, time.UTC)
	cfg := fleet.Config{Seed: 3, Instances: 12, From: to.Truncate(24*time.Hour).AddDate(0, 0, -3), To: to, Windows: 4 * time.Hour}
	f, err := fleet.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(t.Context(), s, cfg.From, cfg.To); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		g        store.Grain
		from, to time.Time
		parts    int
	}{
		{store.Hour, cfg.From.Add(5 * time.Hour), to.Truncate(time.Hour), 3},
		{store.Hour, cfg.From, cfg.From.Add(72 * time.Hour), 1},
		{store.Hour, cfg.From.Add(time.Hour), cfg.From.Add(40 * time.Hour), 1},
		{store.Window, to.Add(-190 * time.Minute), to, 3},
		{store.Day, cfg.From, to, 1},
	} {
		if got := len(coarse(c.g, c.from, c.to)); got != c.parts {
			t.Errorf("%s to %s is cut into %d parts, not %d", c.from, c.to, got, c.parts)
		}
		for _, q := range []store.Query{
			{Metric: wire.HTTPRequests, ByDims: []int{0, 1}, CountsOnly: true, Limit: maxRows + 1},
			{Metric: wire.HTTPRequests, Facet: wire.Country, ByValue: true, CountsOnly: true, Limit: 7},
			{Metric: wire.HTTPDuration, ByDims: []int{0}},
			{Metric: wire.InstancesActive, Facet: wire.Version, ByValue: true},
			{Metric: wire.InstancesVersion, ByLabel: true, CountsOnly: true},
			{Metric: wire.HTTPRequests, ByTime: true, CountsOnly: true},
		} {
			q.Grain, q.From, q.To = c.g, c.from, c.to
			fine, err := s.Query(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			got, err := coarser{s}.Query(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			// What of distinct things is counted is their registers.
			if q.Metric == wire.InstancesActive {
				byValue := func(rows []store.Row) map[string][]byte {
					m := map[string][]byte{}
					for _, r := range rows {
						m[r.Value] = r.Registers
					}
					return m
				}
				if d := cmp.Diff(byValue(fine), byValue(got)); d != "" {
					t.Errorf("%s: other instances\n%s", fmt.Sprint(q), d)
				}
				continue
			}
			if d := cmp.Diff(fine, got, cmp.Comparer(func(a, b store.Row) bool {
				// not Top: a fleet makes it from the mean of an hour
				return a.Key == b.Key && a.Count == b.Count && a.Sum == b.Sum && a.Reports == b.Reports && cmp.Equal(a.Buckets, b.Buckets)
			})); d != "" {
				t.Errorf("%s: another answer\n%s", fmt.Sprint(q), d)
			}
		}
	}
}
