package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A countdown is a context that is cancelled when it has been looked at n times.
type countdown struct {
	context.Context
	cancel context.CancelFunc
	left   atomic.Int64
}

func newCountdown(parent context.Context, n int64) *countdown {
	ctx, cancel := context.WithCancel(parent)
	c := &countdown{Context: ctx, cancel: cancel}
	c.left.Store(n)
	return c
}

func (c *countdown) look() {
	if c.left.Add(-1) < 0 {
		c.cancel()
	}
}

func (c *countdown) Done() <-chan struct{} { c.look(); return c.Context.Done() }
func (c *countdown) Err() error            { c.look(); return c.Context.Err() }

// testCancelledCommit cancels a commit at each place where it looks at its
// context: it happens entirely or not at all, and position tells which.
func testCancelledCommit(t *testing.T, s store.Store) {
	var rows []store.Row
	var ins []store.Instance
	var ids []wire.InstanceID
	for i := range 10000 {
		rows = append(rows, row(0, 1, wire.Network, fmt.Sprint("AS", 10000+i), 1))
		if i < 100 {
			ids = append(ids, wire.InstanceID{1, byte(i)})
			ins = append(ins, store.Instance{ID: ids[i]})
		}
	}
	q := store.Query{Metric: 1, Facet: wire.Network, From: allFrom, To: allTo}
	var p store.Position
	var sum, cancelled uint64
	for n := int64(0); ; n++ {
		for i := range ins {
			ins[i].High = uint64(n + 1)
		}
		ctx := newCountdown(t.Context(), n)
		err := s.Commit(ctx, store.Batch{Log: "a", From: p, To: p + 1, Rows: rows, Instances: ins})
		ctx.cancel()
		now := position(t, s, "a")
		switch {
		case err == nil && now == p+1, errors.Is(err, context.Canceled) && now == p+1:
			sum += uint64(len(rows))
		case errors.Is(err, context.Canceled) && now == p:
			cancelled++
		default:
			t.Fatalf("after %d looks: position %d after %d, error %v", n, now, p, err)
		}
		var count uint64
		for _, r := range query(t, s, q) {
			count = r.Count
		}
		equal(t, fmt.Sprintf("sum after %d looks", n), sum, count)
		for _, in := range instances(t, s, ids...) {
			if (in.High == uint64(n+1)) != (now == p+1) {
				t.Fatalf("after %d looks: position %d, instance %d", n, now, in.High)
			}
		}
		if p = now; err == nil {
			break
		}
	}
	if cancelled == 0 {
		t.Error("no commit was cancelled")
	}
}

// testCancelled calls everything with a context that is done.
func testCancelled(t *testing.T, s store.Store) {
	c := committer{t: t, s: s, log: "a"}
	c.commitAll(sample(), []store.Instance{{ID: wire.InstanceID{1}}})
	want := exportAll(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := store.Batch{Log: "a", From: c.at, To: c.at + 1, Rows: sample()}
	for name, f := range map[string]func() error{
		"Position":   func() error { _, err := s.Position(ctx, "a"); return err },
		"Commit":     func() error { return s.Commit(ctx, b) },
		"Instances":  func() error { _, err := s.Instances(ctx, []wire.InstanceID{{1}}); return err },
		"Query":      func() error { _, err := s.Query(ctx, store.Query{Metric: 1, From: allFrom, To: allTo}); return err },
		"DropBefore": func() error { return s.DropBefore(ctx, store.Window, allTo) },
		"Forget":     func() error { return s.Forget(ctx, wire.InstanceID{1}) },
		"Sightings": func() error {
			_, err := s.Sightings(ctx, store.Sighted{From: allFrom, To: allTo})
			return err
		},
		"Spread": func() error {
			_, err := s.Spread(ctx, []store.Trait{{Kind: 1, Network: 1}}, allFrom, allTo)
			return err
		},
		"DropIncidents": func() error { return s.DropIncidents(ctx, allTo) },
		"Compact":       func() error { return s.Compact(ctx, allTo) },
		"Export": func() (last error) {
			for _, last = range s.Export(ctx, store.Window, allFrom, allTo) {
			}
			return last
		},
	} {
		if err := f(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v instead of context.Canceled", name, err)
		}
	}
	equal(t, "rows", want, exportAll(t, s))
	equal(t, "position", c.at, position(t, s, "a"))
	equal(t, "instances", 1, len(instances(t, s, wire.InstanceID{1})))
}

// testRace has many commit the same batch: one succeeds.
func testRace(t *testing.T, s store.Store) {
	const many = 8
	for round := range store.Position(10) {
		var wg sync.WaitGroup
		var stored, refused atomic.Int32
		for range many {
			wg.Go(func() {
				b := store.Batch{Log: "a", From: round, To: round + 1, Rows: sample()}
				switch err := s.Commit(t.Context(), b); {
				case err == nil:
					stored.Add(1)
				case errors.Is(err, store.ErrPosition):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		equal(t, "outcomes", [...]int32{1, many - 1}, [...]int32{stored.Load(), refused.Load()})
	}
	equal(t, "sum", uint64(6150), query(t, s, store.Query{Metric: 1, From: allFrom, To: allTo})[0].Count)
}

// testConcurrency does everything at once. Every batch adds the same to three
// values and two grains, so a query that sees half a batch sees unequal sums.
func testConcurrency(t *testing.T, s store.Store) {
	const logs, batches = 3, 40
	values := []string{"AT", "CH", "DE"}
	done := make(chan struct{})
	var writers, others sync.WaitGroup
	for l := range logs {
		writers.Go(func() {
			log := fmt.Sprint("log", l)
			for i := range store.Position(batches) {
				var rows []store.Row
				for _, g := range []store.Grain{store.Window, store.Hour} {
					for _, v := range values {
						r := row(int(i)/4, 1, wire.Country, v, 1, wire.Value(l))
						r.Grain, r.Buckets = g, buckets(uint64(i), 1)
						rows = append(rows, r)
					}
				}
				b := store.Batch{Log: log, From: i, To: i + 1, Rows: rows, Instances: []store.Instance{
					{ID: wire.InstanceID{byte(l)}, High: uint64(i)}, {ID: wire.InstanceID{100 + byte(l)}, High: uint64(i)},
				}}
				if err := s.Commit(t.Context(), b); err != nil {
					t.Error(err)
					return
				}
				if p, err := s.Position(t.Context(), log); err != nil || p != i+1 {
					t.Errorf("position %d after a commit to %d: %v", p, i+1, err)
				}
			}
		})
	}
	until := func(f func() error) {
		others.Go(func() {
			for {
				if err := f(); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	last := uint64(0)
	until(func() error {
		rows, err := s.Query(t.Context(), store.Query{Metric: 1, Facet: wire.Country, From: allFrom, To: allTo, ByValue: true})
		if err != nil || len(rows) == 0 {
			return err
		}
		if len(rows) != len(values) || rows[0].Count != rows[len(rows)-1].Count || rows[0].Count < last {
			return fmt.Errorf("a query saw half a batch, or less than the one before: %v after %d", rows, last)
		}
		last = rows[0].Count
		return nil
	})
	until(func() error { return s.Compact(t.Context(), time.Unix(at(5), 0)) })
	until(func() error { return s.DropBefore(t.Context(), store.Window, epoch) })
	until(func() error { return s.Forget(t.Context(), wire.InstanceID{50}) })
	until(func() error {
		_, err := s.Instances(t.Context(), []wire.InstanceID{{0}, {1}, {2}})
		return err
	})
	until(func() error {
		for _, err := range s.Export(t.Context(), store.Hour, allFrom, allTo) {
			if err != nil {
				return err
			}
		}
		return nil
	})
	writers.Wait()
	close(done)
	others.Wait()
	for _, g := range []store.Grain{store.Window, store.Hour} {
		rows := query(t, s, store.Query{Metric: 1, Grain: g, Facet: wire.Country, From: allFrom, To: allTo, ByDims: []int{0}})
		equal(t, "number of logs", logs, len(rows))
		for _, r := range rows {
			equal(t, "sum of a log", uint64(batches*len(values)), r.Count)
			equal(t, "a bucket", uint64(len(values)), r.Buckets[7])
		}
	}
}
