package storetest

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Reference is a store that is as simple as the contract allows: maps under
// one lock. It is what engines are compared with.
type Reference struct {
	mu        sync.Mutex
	positions map[string]store.Position
	instances map[wire.InstanceID]store.Instance
	rows      map[store.Key]store.Row
	incidents map[incidentKey]store.Incident
}

var _ store.Store = (*Reference)(nil)

// NewReference makes an empty one.
func NewReference() *Reference {
	return &Reference{
		positions: map[string]store.Position{},
		instances: map[wire.InstanceID]store.Instance{},
		rows:      map[store.Key]store.Row{},
		incidents: map[incidentKey]store.Incident{},
	}
}

func saturate(n uint64) uint64 { return min(n, math.MaxInt64) }

// add is a saturating sum.
func add(a, b uint64) uint64 { return saturate(saturate(a) + saturate(b)) }

// merge adds r to what rows has under key.
func merge(rows map[store.Key]store.Row, key store.Key, r store.Row) {
	m, ok := rows[key]
	m.Key = key
	m.Count, m.Sum = add(m.Count, r.Count), add(m.Sum, r.Sum)
	m.Reports = uint32(min(uint64(m.Reports)+uint64(r.Reports), math.MaxUint32))
	m.Top = max(m.Top, saturate(r.Top))
	if r.Buckets != nil {
		sum := make([]uint64, wire.Buckets)
		for i, n := range r.Buckets {
			sum[i] = saturate(n)
			if m.Buckets != nil {
				sum[i] = add(n, m.Buckets[i])
			}
		}
		m.Buckets = sum
	}
	if r.Registers != nil {
		top := slices.Clone(r.Registers)
		if ok && m.Registers != nil {
			for i, v := range m.Registers {
				top[i] = max(top[i], v)
			}
		}
		m.Registers = top
	}
	rows[key] = m
}

func (f *Reference) Position(ctx context.Context, log string) (store.Position, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.positions[log], ctx.Err()
}

func (f *Reference) Commit(ctx context.Context, b store.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.To <= b.From {
		return fmt.Errorf("the batch is empty")
	}
	for _, r := range b.Rows {
		n := len(r.Registers)
		if int(r.Grain) >= len(store.Grains) || r.Buckets != nil && len(r.Buckets) != wire.Buckets || r.Registers != nil && (n == 0 || n&(n-1) != 0) {
			return fmt.Errorf("the row is malformed")
		}
	}
	if f.positions[b.Log] != b.From {
		return store.ErrPosition
	}
	for _, r := range b.Rows {
		merge(f.rows, r.Key, r)
	}
	for _, in := range b.Instances {
		f.instances[in.ID] = in
	}
	f.keep(b.Incidents)
	f.positions[b.Log] = b.To
	return nil
}

func (f *Reference) Instances(ctx context.Context, ids []wire.InstanceID) ([]store.Instance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := map[wire.InstanceID]bool{}
	var ins []store.Instance
	for _, id := range ids {
		if in, ok := f.instances[id]; ok && !asked[id] {
			ins = append(ins, in)
		}
		asked[id] = true
	}
	return ins, ctx.Err()
}

func (f *Reference) Query(ctx context.Context, q store.Query) ([]store.Row, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if int(q.Grain) >= len(store.Grains) || q.Limit < 0 {
		return nil, fmt.Errorf("the query is malformed")
	}
	for _, d := range slices.Concat(q.ByDims, slices.Collect(maps.Keys(q.Where))) {
		if d < 0 || d >= wire.MaxDims {
			return nil, fmt.Errorf("dimension %d does not exist", d)
		}
	}
	groups := map[store.Key]store.Row{}
	for k, r := range f.rows {
		start := time.Unix(k.Start, 0)
		keep := k.Metric == q.Metric && k.Grain == q.Grain && k.Facet == q.Facet &&
			!start.Before(q.From) && start.Before(q.To) &&
			(q.Values == nil || slices.Contains(q.Values, k.Value)) &&
			(q.Labels == nil || slices.Contains(q.Labels, k.Label))
		for d, values := range q.Where {
			keep = keep && slices.Contains(values, k.Dims[d])
		}
		if !keep {
			continue
		}
		g := store.Key{Grain: q.Grain, Metric: q.Metric, Facet: q.Facet}
		if q.ByTime {
			g.Start = k.Start
		}
		if q.ByValue {
			g.Value = k.Value
		}
		if q.ByLabel {
			g.Label = k.Label
		}
		for _, d := range q.ByDims {
			g.Dims[d] = k.Dims[d]
		}
		merge(groups, g, r)
	}
	rows := slices.Collect(maps.Values(groups))
	if q.CountsOnly {
		for i := range rows {
			rows[i].Buckets, rows[i].Registers = nil, nil
		}
	}
	byCount := func(a, b store.Row) int {
		return cmp.Or(-cmp.Compare(a.Count, b.Count), compareKeys(a.Key, b.Key))
	}
	slices.SortFunc(rows, byCount)
	if q.Limit > 0 && len(rows) > q.Limit {
		rows = rows[:q.Limit]
	}
	slices.SortFunc(rows, func(a, b store.Row) int { return cmp.Or(cmp.Compare(a.Start, b.Start), byCount(a, b)) })
	return rows, nil
}

func (f *Reference) Export(ctx context.Context, g store.Grain, from, to time.Time) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		if int(g) >= len(store.Grains) {
			yield(store.Row{}, fmt.Errorf("grain %d does not exist", g))
			return
		}
		f.mu.Lock()
		var rows []store.Row
		for k, r := range f.rows {
			if start := time.Unix(k.Start, 0); k.Grain == g && !start.Before(from) && start.Before(to) {
				rows = append(rows, r)
			}
		}
		f.mu.Unlock()
		slices.SortFunc(rows, func(a, b store.Row) int { return compareKeys(a.Key, b.Key) })
		for _, r := range rows {
			if err := ctx.Err(); err != nil {
				yield(store.Row{}, err)
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (f *Reference) DropBefore(ctx context.Context, g store.Grain, t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if int(g) >= len(store.Grains) {
		return fmt.Errorf("grain %d does not exist", g)
	}
	if ctx.Err() == nil {
		maps.DeleteFunc(f.rows, func(k store.Key, _ store.Row) bool {
			return k.Grain == g && time.Unix(k.Start, 0).Before(t)
		})
	}
	return ctx.Err()
}

func (f *Reference) Forget(ctx context.Context, id wire.InstanceID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() == nil {
		delete(f.instances, id)
		maps.DeleteFunc(f.incidents, func(k incidentKey, _ store.Incident) bool { return k.instance == id })
	}
	return ctx.Err()
}

// Compact has nothing to do: rows are merged as they come.
func (f *Reference) Compact(ctx context.Context, _ time.Time) error { return ctx.Err() }

func (f *Reference) Close() error { return nil }
