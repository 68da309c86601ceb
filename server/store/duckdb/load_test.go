package duckdb

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestLoad checks that what was loaded is answered as if it had been committed,
// and is left alone by compaction.
func TestLoad(t *testing.T) {
	ctx := t.Context()
	s := open(t, filepath.Join(t.TempDir(), "db"), Options{})
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	b := store.Batch{Log: "a", To: 1}
	for _, m := range []wire.MetricID{wire.HTTPRequests, wire.TLSGroups} {
		for h := range 48 {
			b.Rows = append(b.Rows, store.Row{Key: store.Key{Grain: store.Hour, Start: begin.Unix() + int64(h)*3600, Metric: m}, Count: uint64(h), Reports: 1, Top: 1})
		}
	}
	if err := s.Load(ctx, b); err != nil {
		t.Fatal(err)
	}
	ask := func() []store.Row {
		rows, err := s.Query(ctx, store.Query{Metric: wire.TLSGroups, Grain: store.Hour, From: begin, To: begin.AddDate(0, 0, 2), ByTime: true})
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	if d := cmp.Diff(b.Rows[48:], ask()); d != "" {
		t.Errorf("loaded rows are answered otherwise:\n%s", d)
	}
	due, err := s.due(ctx, tables[store.Hour], sort, store.Hour, interval{0, begin.AddDate(1, 0, 0).Unix()}, amortize)
	if err != nil || len(due) > 0 {
		t.Errorf("compaction would rewrite %v, error %v", due, err)
	}
	if err := s.Compact(ctx, begin.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b.Rows[48:], ask()); d != "" {
		t.Errorf("compaction changed what was loaded:\n%s", d)
	}
}
