package dashboard

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A coarser store answers what is not told apart by time from the fewest rows:
// the whole days, or hours, of a span from their own sums, and only its edges
// from those of the grain that was asked for. The aggregator makes a coarse sum
// of exactly what the fine ones have, so that the answer is the same. Coarse
// sums are kept for longer than fine ones, if not for as long.
//
// Instances that are counted by a fact are the exception: they count once in
// each period, so that it matters which.
type coarser struct{ store.Store }

func (s coarser) Query(ctx context.Context, q store.Query) ([]store.Row, error) {
	m := wire.MetricByID(q.Metric)
	if q.ByTime || m == nil || m.Kind == wire.KindInstances {
		return s.Store.Query(ctx, q)
	}
	parts := coarse(q.Grain, q.From, q.To)
	if len(parts) == 1 && parts[0].grain == q.Grain {
		return s.Store.Query(ctx, q)
	}
	found := make([][]store.Row, len(parts))
	limit := 0
	if q.Limit > 0 {
		limit = max(q.Limit, maxRows+1)
	}
	err := each(ctx, len(parts), func(ctx context.Context, i int) (err error) {
		part := q
		part.Grain, part.From, part.To, part.Limit = parts[i].grain, parts[i].from, parts[i].to, limit
		found[i], err = s.Store.Query(ctx, part)
		return err
	})
	if err != nil {
		return nil, err
	}
	byKey := map[store.Key][]store.Row{}
	for _, rows := range found {
		if limit > 0 && len(rows) == limit {
			return s.Store.Query(ctx, q) // what a part left out may be among the most of all
		}
		for _, r := range rows {
			r.Grain = q.Grain
			byKey[r.Key] = append(byKey[r.Key], r)
		}
	}
	var all []store.Row
	for k, rows := range byKey {
		r := rows[0]
		if len(rows) > 1 {
			r = sum(rows)
			r.Key = k
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b store.Row) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value), slices.Compare(a.Dims[:], b.Dims[:]), cmp.Compare(a.Label, b.Label))
	})
	if q.Limit > 0 && len(all) > q.Limit {
		all = all[:q.Limit]
	}
	return all, nil
}

// coarse cuts a span into periods of the next coarser grain and what is left of
// the span before and after them.
func coarse(g store.Grain, from, to time.Time) []span {
	up, each := store.Hour, time.Hour
	switch g {
	case store.Hour:
		up, each = store.Day, 24*time.Hour
	case store.Day:
		return []span{{grain: g, from: from, to: to}}
	}
	first, last := from.UTC().Truncate(each), to.UTC().Truncate(each)
	if first.Before(from) {
		first = first.Add(each)
	}
	if last.Sub(first) < 2*each {
		return []span{{grain: g, from: from, to: to}}
	}
	var parts []span
	if from.Before(first) {
		parts = append(parts, span{grain: g, from: from, to: first})
	}
	parts = append(parts, span{grain: up, from: first, to: last})
	if last.Before(to) {
		parts = append(parts, span{grain: g, from: last, to: to})
	}
	return parts
}
