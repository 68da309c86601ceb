package aggregate

import (
	"cmp"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/server/hll"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// rows completes the hours and days and lists all rows by key.
func (t *table) rows() []store.Row {
	t.derive(store.Hour)
	t.derive(store.Day)
	rows := make([]store.Row, 0, t.cells)
	for _, g := range store.Grains {
		for start, p := range t.periods[g] {
			for fv, m := range p.marginals {
				for i, page := range m.pages {
					if page == nil {
						continue
					}
					for j := range page {
						if s := &page[j]; s.reports > 0 {
							rows = append(rows, t.row(g, start, fv, i*pageSlots+j, s))
						}
					}
				}
			}
		}
	}
	slices.SortFunc(rows, compareRows)
	return rows
}

func (t *table) row(g store.Grain, start int64, fv facetValue, slot int, s *sum) store.Row {
	k := t.keys[slot]
	r := store.Row{
		Key:   store.Key{Grain: g, Start: start, Metric: k.metric, Facet: fv.facet, Value: fv.value, Dims: k.cell.Dims(), Label: k.label},
		Count: s.count, Reports: s.reports, Top: s.top,
	}
	if s.more != nil {
		r.Sum, r.Buckets, r.Registers = s.more.sum, s.more.buckets, s.more.registers
	}
	return r
}

// derive adds the windows' sums to the periods of a longer grain, except for
// those that count instances: these were counted there already.
func (t *table) derive(g store.Grain) {
	counted := make([]bool, len(t.keys))
	for i, k := range t.keys {
		counted[i] = wire.MetricByID(k.metric).Kind.FromServer()
	}
	for start, p := range t.periods[store.Window] {
		into := t.period(g, g.Start(time.Unix(start, 0)).Unix())
		for fv, m := range p.marginals {
			to := into.marginal(fv)
			for i, page := range m.pages {
				if page == nil {
					continue
				}
				for j := range page {
					s, slot := &page[j], i*pageSlots+j
					if s.reports > 0 && !counted[slot] {
						to.at(t, slot).merge(s)
					}
				}
			}
		}
	}
}

func (s *sum) merge(from *sum) {
	s.count += from.count
	s.top = max(s.top, from.top)
	s.reports += from.reports
	if from.more == nil {
		return
	}
	if s.more == nil {
		s.more = &more{buckets: slices.Clone(from.more.buckets), registers: slices.Clone(from.more.registers), sum: from.more.sum}
		return
	}
	s.more.sum += from.more.sum
	for i, n := range from.more.buckets {
		s.more.buckets[i] += n
	}
	hll.Merge(s.more.registers, from.more.registers)
}

// compareRows orders by Key's fields.
func compareRows(a, b store.Row) int {
	switch {
	case a.Grain != b.Grain:
		return cmp.Compare(a.Grain, b.Grain)
	case a.Start != b.Start:
		return cmp.Compare(a.Start, b.Start)
	case a.Metric != b.Metric:
		return cmp.Compare(a.Metric, b.Metric)
	case a.Facet != b.Facet:
		return cmp.Compare(a.Facet, b.Facet)
	case a.Value != b.Value:
		return cmp.Compare(a.Value, b.Value)
	case a.Dims != b.Dims:
		return slices.Compare(a.Dims[:], b.Dims[:])
	}
	return cmp.Compare(a.Label, b.Label)
}
