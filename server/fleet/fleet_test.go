package fleet

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/hll"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

var to = time.Date(2026, 11, 21, 10, 20, 0, 0, time.UTC)

func small(t testing.TB, instances int, days int, windows time.Duration) *Fleet {
	t.Helper()
	f, err := New(Config{Seed: 7, Instances: instances, From: to.Truncate(24*time.Hour).AddDate(0, 0, -days), To: to, Windows: windows})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func rowsOf(t testing.TB, f *Fleet, from, to time.Time, only func(*wire.Metric, wire.Facet) bool) map[store.Key]store.Row {
	t.Helper()
	rows := map[store.Key]store.Row{}
	err := f.history(context.Background(), from, to, only, func(g store.Grain, rs []store.Row) error {
		for _, r := range rs {
			if r.Grain != g {
				t.Fatalf("a row of grain %s among those of %s", r.Grain, g)
			}
			if _, twice := rows[r.Key]; twice {
				t.Fatalf("the key %+v is there twice", r.Key)
			}
			rows[r.Key] = r
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestSums checks what makes a history one that instances could have sent:
// facets sum to the whole, windows to hours, hours to days, buckets to counts.
func TestSums(t *testing.T) {
	f := small(t, 300, 1, 40*time.Minute)
	from := to.Truncate(time.Hour).Add(-time.Hour)
	rows := rowsOf(t, f, from, to, nil)
	sums := map[store.Key]uint64{}        // over a facet's values
	coarser := map[store.Key]uint64{}     // of hours, over a day
	fromWindows := map[store.Key]uint64{} // of windows, over an hour
	whole := map[store.Key]uint64{}
	seen := map[wire.MetricID]bool{}
	for k, r := range rows {
		seen[k.Metric] = true
		m := wire.MetricByID(k.Metric)
		if !slices.Contains(m.Facets, k.Facet) {
			t.Fatalf("%s has no facet %s", m.Name, k.Facet)
		}
		if !m.Valid(k.Dims.Cell()) || (k.Label != "") != (m.Label != "") {
			t.Fatalf("%s has no cell %v %q", m.Name, k.Dims, k.Label)
		}
		if r.Buckets != nil {
			var n uint64
			for _, c := range r.Buckets {
				n += c
			}
			if n != r.Count {
				t.Errorf("%+v: %d in buckets, %d counted", k, n, r.Count)
			}
		}
		if m.Kind != wire.KindDistinct && (r.Top > r.Count || r.Reports == 0 || uint64(r.Reports) > r.Count) {
			t.Errorf("%+v: count %d, top %d, reports %d", k, r.Count, r.Top, r.Reports)
		}
		if m.Kind.FromServer() {
			continue
		}
		if k.Facet == wire.All {
			whole[k] = r.Count
		} else {
			of := k
			of.Value = ""
			sums[of] += r.Count
		}
		if up := k; k.Grain == store.Hour {
			up.Grain, up.Start = store.Day, store.Day.Start(time.Unix(k.Start, 0)).Unix()
			coarser[up] += r.Count
		} else if k.Grain == store.Window {
			up.Grain, up.Start = store.Hour, store.Hour.Start(time.Unix(k.Start, 0)).Unix()
			fromWindows[up] += r.Count
		}
	}
	for k, n := range sums {
		k.Facet = wire.All
		if whole[k] != n {
			t.Errorf("%+v: %d, but a facet sums to %d", k, whole[k], n)
		}
	}
	for k, n := range coarser {
		if rows[k].Count != n {
			t.Errorf("%+v: %d, but its hours sum to %d", k, rows[k].Count, n)
		}
	}
	for k, n := range fromWindows {
		if time.Unix(k.Start, 0).Before(to.Add(-40 * time.Minute)) {
			continue // begins before windows are kept
		}
		if rows[k].Count != n {
			t.Errorf("%+v: %d, but its windows sum to %d", k, rows[k].Count, n)
		}
	}
	for _, m := range wire.Metrics() {
		if rare := m.ID >= wire.UpdateAttempts || m.ID == wire.HTTPPanics || strings.HasPrefix(m.Name, "telemetry."); !seen[m.ID] && !rare {
			t.Errorf("nothing was counted of %s", m.Name)
		}
	}
}

// TestSame checks that a seed makes the same fleet, and another another.
func TestSame(t *testing.T) {
	a, b := small(t, 40, 1, time.Hour), small(t, 40, 1, time.Hour)
	from := to.Add(-10 * time.Minute)
	x, y := rowsOf(t, a, from, to, nil), rowsOf(t, b, from, to, nil)
	if d := cmp.Diff(x, y); d != "" {
		t.Errorf("the same seed makes two histories:\n%s", d)
	}
	if d := cmp.Diff(a.Incidents(from, to), b.Incidents(from, to)); d != "" {
		t.Errorf("the same seed makes different incidents:\n%s", d)
	}
	if d := cmp.Diff(a.States(to), b.States(to)); d != "" {
		t.Errorf("the same seed makes different instances:\n%s", d)
	}
	other, err := New(Config{Seed: 8, Instances: 40, From: a.cfg.From, To: to})
	if err != nil {
		t.Fatal(err)
	}
	if other.pop[0].id == a.pop[0].id {
		t.Error("another seed makes the same instances")
	}
}

// TestPieces checks that a history in pieces is the same as in one.
func TestPieces(t *testing.T) {
	f := small(t, 60, 1, 2*time.Hour)
	from := to.Add(-10 * time.Minute)
	counts := func(rows ...map[store.Key]store.Row) map[store.Key]uint64 {
		n := map[store.Key]uint64{}
		for _, rs := range rows {
			for k, r := range rs {
				n[k] += r.Count
			}
		}
		return n
	}
	pieces := counts(rowsOf(t, f, from, to.Add(-5*time.Minute), nil), rowsOf(t, f, to.Add(-5*time.Minute), to, nil))
	if d := cmp.Diff(counts(rowsOf(t, f, from, to, nil)), pieces); d != "" {
		t.Errorf("the pieces sum up to something else:\n%s", d)
	}
}

// TestStory checks that the numbers tell what the fleet is said to have lived
// through.
func TestStory(t *testing.T) {
	f := small(t, 3000, 60, time.Hour)
	days := map[int64]map[wire.MetricID]uint64{}
	versions := map[int64]map[string]uint64{}
	active := map[int64]float64{}
	var h3 [2]float64 // share on the first and the last whole day
	begin, end := f.cfg.From.Unix(), to.Truncate(24*time.Hour).Unix()-86400
	http3 := wire.Protocol.Value("http/3")
	told := map[wire.MetricID]bool{wire.InstancesActive: true, wire.InstancesVersion: true, wire.HTTPRequests: true, wire.UpdateAttempts: true}
	for k, r := range rowsOf(t, f, f.cfg.From, to, func(m *wire.Metric, f wire.Facet) bool { return told[m.ID] && f == wire.All }) {
		if k.Grain != store.Day {
			continue
		}
		if days[k.Start] == nil {
			days[k.Start], versions[k.Start] = map[wire.MetricID]uint64{}, map[string]uint64{}
		}
		days[k.Start][k.Metric] += r.Count
		switch k.Metric {
		case wire.InstancesVersion:
			versions[k.Start][k.Label] += r.Count
		case wire.InstancesActive:
			active[k.Start] = hll.Estimate(r.Registers)
		case wire.HTTPRequests:
			if k.Dims[0] == http3 && k.Start == begin {
				h3[0] += float64(r.Count)
			} else if k.Dims[0] == http3 && k.Start == end {
				h3[1] += float64(r.Count)
			}
		}
	}
	if active[end] < 2600 || active[end] > 3300 {
		t.Errorf("%.0f instances were active on the last day, of 3000", active[end])
	}
	if active[begin] > 0.9*active[end] {
		t.Errorf("the fleet did not grow: %.0f at first, %.0f at last", active[begin], active[end])
	}
	if a, b := h3[0]/float64(days[begin][wire.HTTPRequests]), h3[1]/float64(days[end][wire.HTTPRequests]); b <= a || b > 0.4 {
		t.Errorf("the share of HTTP/3 went from %.3f to %.3f", a, b)
	}
	newest := f.releases[len(f.releases)-1]
	if n := versions[begin][newest.version]; n > 0 {
		t.Errorf("%d instances ran %s before it came out", n, newest.version)
	}
	if n := float64(versions[end][newest.version]) / active[end]; n < 0.35 || n > 0.9 {
		t.Errorf("a share of %.2f runs %s", n, newest.version)
	}
	if days[newest.at/24*86400+86400][wire.UpdateAttempts] == 0 {
		t.Error("nobody updated on the day after a release")
	}
	var kinds []EventKind
	for _, e := range f.Events() {
		kinds = append(kinds, e.Kind)
	}
	for _, k := range []EventKind{Released, Regression, Botnet, Outage, Gap} {
		if !slices.Contains(kinds, k) {
			t.Errorf("nothing of kind %s happens", k)
		}
	}
}

func TestConfig(t *testing.T) {
	good := Config{Instances: 1, From: to.Truncate(time.Hour).Add(-time.Hour), To: to}
	for name, change := range map[string]func(*Config){
		"no instance":   func(c *Config) { c.Instances = 0 },
		"too many":      func(c *Config) { c.Instances = MaxInstances + 1 },
		"no whole hour": func(c *Config) { c.From = c.From.Add(time.Minute) },
		"no window":     func(c *Config) { c.To = c.To.Add(time.Second) },
		"no time":       func(c *Config) { c.From = c.To.Truncate(time.Hour) },
		"too long":      func(c *Config) { c.From = c.From.AddDate(-6, 0, 0) },
		"no windows":    func(c *Config) { c.Windows = -1 },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}
