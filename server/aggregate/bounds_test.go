package aggregate_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/aggregate"
	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestInventedVersions has more versions than a day may have, over a restart.
func TestInventedVersions(t *testing.T) {
	l, s := openLog(t, t.TempDir()), openStore(t)
	c := aggregate.Config{LogName: "test", Log: l, Store: s, FlushEvery: time.Nanosecond, MaxBatchRecords: 100}
	const n = 600
	for i := range n {
		r := report(0, 1, start)
		r.Facts.CaddyVersion = fmt.Sprintf("v2.11.%d", i)
		rec := record(t, i, r)
		go func() {
			if err := l.Append(context.Background(), rec); err != nil {
				t.Error(err)
			}
		}()
		if i == n/2 {
			until(t, c)
		}
	}
	for read := 0; read < n; { // until all are in the log
		read = len(readAll(t, l))
	}
	until(t, c)
	for _, q := range []store.Query{
		{Metric: wire.InstancesVersion, Grain: store.Day, ByLabel: true},
		{Metric: wire.InstancesActive, Grain: store.Hour, Facet: wire.Version, ByValue: true},
	} {
		rows := query(t, s, q)
		if len(rows) != 513 {
			t.Errorf("%d versions are kept apart", len(rows))
		}
		var total uint64
		for _, r := range rows {
			total += r.Count
			if r.Label+r.Value == "other" && r.Count != n-512 {
				t.Errorf("%d are other, want %d", r.Count, n-512)
			}
		}
		if total != n {
			t.Errorf("%d instances, want %d", total, n)
		}
	}
}

func readAll(t testing.TB, l *ingestlog.Log) []ingestlog.Entry {
	t.Helper()
	var all []ingestlog.Entry
	for from := ingestlog.Position(0); ; {
		entries, next, err := l.Read(context.Background(), from, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entries...)
		if next == from {
			return all
		}
		from = next
	}
}

func TestForget(t *testing.T) {
	l, s := openLog(t, t.TempDir()), openStore(t)
	c := aggregate.Config{LogName: "test", Log: l, Store: s, FlushEvery: time.Nanosecond}
	for i := range 3 {
		if err := l.Append(t.Context(), record(t, i, report(i, 1, start))); err != nil {
			t.Fatal(err)
		}
	}
	until(t, c)
	if err := l.Erase(t.Context(), instanceID(1)); err != nil {
		t.Fatal(err)
	}
	if err := aggregate.New(c).Forget(t.Context(), instanceID(1)); err != nil {
		t.Fatal(err)
	}
	known, err := s.Instances(t.Context(), []wire.InstanceID{instanceID(0), instanceID(1), instanceID(2)})
	if err != nil {
		t.Fatal(err)
	}
	if len(known) != 2 {
		t.Errorf("%d instances are known, want 2", len(known))
	}
	if got := query(t, s, store.Query{Metric: wire.InstancesActive, Grain: store.Day})[0].Count; got != 3 {
		t.Errorf("the sums have %d instances, want 3", got)
	}
}

func TestOtherLog(t *testing.T) {
	s := openStore(t)
	if err := s.Commit(t.Context(), store.Batch{Log: "test", From: 0, To: 1 << 50}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	l := openLog(t, t.TempDir())
	if err := l.Append(t.Context(), record(t, 0, report(0, 1, start))); err != nil {
		t.Fatal(err)
	}
	if err := aggregate.New(aggregate.Config{LogName: "test", Log: l, Store: s}).Run(ctx); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Position(t.Context(), "test"); err != nil || p != 1<<50 {
		t.Errorf("the position is %d (%v)", p, err)
	}
}

// discard is a store that knows nothing and keeps nothing but the position.
type discard struct {
	store.Store
	position atomic.Uint64
	rows     atomic.Int64
}

func (d *discard) Position(context.Context, string) (store.Position, error) {
	return store.Position(d.position.Load()), nil
}
func (d *discard) Instances(context.Context, []wire.InstanceID) ([]store.Instance, error) {
	return nil, nil
}
func (d *discard) Query(context.Context, store.Query) ([]store.Row, error) { return nil, nil }
func (d *discard) Commit(_ context.Context, b store.Batch) error {
	d.rows.Add(int64(len(b.Rows)))
	d.position.Store(uint64(b.To))
	return nil
}

// BenchmarkFold folds reports of about 200 counters and 100 modules, from
// reading the log to handing over the rows.
func BenchmarkFold(b *testing.B) {
	const reports = 2000
	l := openLog(b, b.TempDir())
	for i := range reports {
		r := report(i, 1, start)
		w := r.Windows[0]
		w.Series = nil
		for _, m := range []wire.MetricID{wire.HTTPRequests, wire.HTTPRequestsMethod, wire.HTTPHandlerErrors, wire.ClientBrowsers, wire.TLSConnections} {
			s := &wire.Series{Metric: uint32(m)}
			for c := range 40 {
				var d wire.Dims
				dims := wire.MetricByID(m).Dims
				d[0] = wire.Value(c % len(dims[0].Values))
				d[1] = wire.Value((c/len(dims[0].Values) + i%3) % len(dims[1].Values))
				s.Cells, s.Values = append(s.Cells, uint64(d.Cell())), append(s.Values, uint64(c+1))
			}
			w.Series = append(w.Series, s)
		}
		r.Facts.Modules = nil
		for m := range 100 {
			r.Facts.Modules = append(r.Facts.Modules, &wire.Module{Path: fmt.Sprintf("example.com/module%d", m), Version: "v1.0.0"})
		}
		if err := l.Append(b.Context(), record(b, i, r)); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	rows := 0
	for range b.N {
		d := new(discard)
		until(b, aggregate.Config{LogName: "bench", Log: l, Store: d, FlushEvery: time.Nanosecond})
		rows += int(d.rows.Load())
	}
	if rows == 0 {
		b.Fatal("nothing was counted")
	}
	b.ReportMetric(float64(b.N*reports)/b.Elapsed().Seconds(), "reports/s")
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}
