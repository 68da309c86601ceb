package dashboard

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/server/hll"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A source answers questions about rollups: a store.Store, or the reports of
// one instance.
type source interface {
	Query(ctx context.Context, q store.Query) ([]store.Row, error)
}

// An Answer is what /api/v1/query and /api/v1/quantiles give.
type Answer struct {
	Metric string    `json:"metric"`
	Kind   string    `json:"kind"`
	Unit   string    `json:"unit"`
	Grain  string    `json:"grain"`
	From   time.Time `json:"from"` // inclusive
	To     time.Time `json:"to"`   // exclusive
	// Complete is when the last period ended that instances have had the time
	// to report; what comes later may still grow.
	Complete time.Time `json:"complete"`
	Facet    string    `json:"facet"`
	// Filter is the facet's value that alone is counted, such as country:DE; ""
	// is all.
	Filter string    `json:"filter,omitempty"`
	By     []string  `json:"by"`
	Q      []float64 `json:"q,omitempty"`
	Total  uint64    `json:"total"` // of all rows' counts; for distinct, of all at once
	Rows   []Row     `json:"rows"`
	// Spans are what began and ended, the latest first; of timelines only.
	Spans []Span `json:"spans,omitempty"`
	// Suppressed is how many groups had too few instances to be shown.
	Suppressed int `json:"suppressed,omitempty"`
}

// A Row is one group in one period, or in all of the time asked for.
type Row struct {
	Time  *time.Time        `json:"time,omitempty"`
	Group map[string]string `json:"group,omitempty"`
	// Rest marks the sum of the groups beyond the limit, Suppressed that of
	// the groups which too few instances contribute to. Both have no Group.
	Rest       bool      `json:"rest,omitempty"`
	Suppressed bool      `json:"suppressed,omitempty"`
	Count      uint64    `json:"count"`
	Sum        *uint64   `json:"sum,omitempty"`       // of histograms, in the unit
	Quantiles  []float64 `json:"quantiles,omitempty"` // in the order of q, in the unit
}

// A group is a result's rows that differ in nothing but time.
type group struct {
	key     store.Key // without a Start
	rows    []store.Row
	total   uint64
	reports uint64
	top     uint64
	mark    mark
}

type mark uint8

const (
	plain mark = iota
	rest
	suppressed
)

// answer asks src, or gives what it answered a moment ago. scope tells sources
// apart, "" is the store.
func (d *Dashboard) answer(ctx context.Context, src source, scope string, a question) (*Answer, error) {
	return d.answers.get(ctx, scope+" "+a.key(), queryTimeout, func(ctx context.Context) (*Answer, error) {
		return d.compute(ctx, src, scope == "", a)
	})
}

func (d *Dashboard) compute(ctx context.Context, src source, public bool, a question) (*Answer, error) {
	if a.derived != nil {
		return a.derived.compute(ctx, d, src, a)
	}
	if a.latest {
		s, err := d.latest(ctx, src, a)
		if err != nil {
			return nil, err
		}
		a.span = s
	}
	if public && !d.cfg.Privacy.open() && a.filtered {
		return d.computeFiltered(ctx, src, a)
	}
	guarded := public && !d.cfg.Privacy.open() && (a.byLabel || a.facet != wire.All || len(a.labels) > 0)
	values, labels := a.values, a.labels
	if guarded {
		// Which groups may be seen is decided among all of them: else answers
		// about some of them could be subtracted from each other.
		if len(values) > 0 && !a.byValue || len(labels) > 0 && !a.byLabel {
			return nil, badParameter("this deployment hides small groups, so that it can't add up chosen ones: add value or label to by.")
		}
		values, labels = nil, nil
	}
	rows, err := d.rows(ctx, src, a, store.Query{
		Metric: a.metric.ID, Grain: a.grain, From: a.from, To: a.to,
		Facet: a.facet, Values: values, Labels: labels, Where: a.where,
		ByTime: a.byTime, ByValue: a.byValue, ByLabel: a.byLabel, ByDims: a.byDims,
		CountsOnly: !a.sketches(), Limit: maxRows + 1,
	})
	if err != nil {
		return nil, err
	}
	groups := gather(a.metric, rows)
	var hidden []*group
	if guarded {
		known, err := d.members(ctx, src, a)
		if err != nil {
			return nil, err
		}
		groups, hidden = d.cfg.Privacy.split(groups, a.windows(d.cfg.Timing), a.metric, known)
		groups, hidden = a.chosen(groups), a.chosen(hidden)
	}
	groups = a.limited(groups)
	// The sum of what is hidden is given where it is large enough itself, and
	// is not just of those that were asked for.
	if sum := merge(a.metric, suppressed, hidden); len(hidden) > 0 && len(a.values)+len(a.labels) == 0 &&
		d.cfg.Privacy.shown(sum, a.windows(d.cfg.Timing), a.metric) {
		groups = append(groups, sum)
	}
	return d.express(a, groups, len(hidden)), nil
}

// limited merges the groups beyond a's limit into one.
func (a *question) limited(groups []*group) []*group {
	if len(groups) <= a.limit {
		return groups
	}
	beyond := merge(a.metric, rest, groups[a.limit:])
	return append(groups[:a.limit], beyond)
}

// sketches reports whether the answer is made of histograms' buckets or of
// registers of distinct things.
func (a *question) sketches() bool { return a.quantiles != nil || a.metric.Kind == wire.KindDistinct }

// chosen keeps those groups that a's values and labels name.
func (a *question) chosen(groups []*group) []*group {
	return slices.DeleteFunc(groups, func(g *group) bool {
		return len(a.values) > 0 && !slices.Contains(a.values, g.key.Value) ||
			len(a.labels) > 0 && !slices.Contains(a.labels, g.key.Label)
	})
}

// latest narrows a's span to its newest complete period that has rows, or,
// where none is complete, the newest.
func (d *Dashboard) latest(ctx context.Context, src source, a question) (span, error) {
	rows, err := src.Query(ctx, store.Query{Metric: a.metric.ID, Grain: a.grain, From: a.from, To: a.to, ByTime: true, CountsOnly: true})
	if err != nil {
		return span{}, fmt.Errorf("asking when %s was counted: %w", a.metric.Name, err)
	}
	at := start(a.grain, d.cfg.Timing, a.to.Add(-1))
	each, until := length(a.grain, d.cfg.Timing), complete(d.cfg.Timing, d.cfg.Now())
	if len(rows) > 0 {
		at = time.Unix(rows[len(rows)-1].Start, 0).UTC()
	}
	for _, r := range slices.Backward(rows) {
		if t := time.Unix(r.Start, 0).UTC(); !t.Add(each).After(until) {
			at = t
			break
		}
	}
	return span{grain: a.grain, from: at, to: at.Add(each)}, nil
}

// gather parts rows, which are in the order of time, into groups, the
// greatest first.
func gather(m *wire.Metric, rows []store.Row) []*group {
	found := map[store.Key]*group{}
	var groups []*group
	for _, r := range rows {
		k := r.Key
		k.Start = 0
		g := found[k]
		if g == nil {
			g = &group{key: k}
			found[k] = g
			groups = append(groups, g)
		}
		g.rows = append(g.rows, r)
		g.reports += uint64(r.Reports)
		g.top = max(g.top, r.Top)
	}
	for _, g := range groups {
		g.total = total(m, g.rows)
	}
	slices.SortStableFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(b.total, a.total), cmp.Compare(a.key.Value, b.key.Value),
			cmp.Compare(a.key.Label, b.key.Label), slices.Compare(a.key.Dims[:], b.key.Dims[:]))
	})
	return groups
}

// count is what a row counts: for distinct things, an estimate.
func count(m *wire.Metric, r store.Row) uint64 {
	if m.Kind == wire.KindDistinct {
		return uint64(math.Round(hll.Estimate(r.Registers)))
	}
	return r.Count
}

func total(m *wire.Metric, rows []store.Row) uint64 {
	if m.Kind == wire.KindDistinct {
		return count(m, sum(rows))
	}
	var n uint64
	for _, r := range rows {
		n += r.Count
	}
	return n
}

// sum merges rows as the store does. It shares nothing with them.
func sum(rows []store.Row) store.Row {
	var s store.Row
	for _, r := range rows {
		s.Count += r.Count
		s.Sum += r.Sum
		s.Reports += r.Reports
		s.Top = max(s.Top, r.Top)
		if r.Buckets != nil {
			if s.Buckets == nil {
				s.Buckets = make([]uint64, wire.Buckets)
			}
			for i, n := range r.Buckets {
				s.Buckets[i] += n
			}
		}
		if r.Registers != nil {
			if s.Registers == nil {
				s.Registers = make([]byte, len(r.Registers))
			}
			hll.Merge(s.Registers, r.Registers)
		}
	}
	return s
}

// merge makes one group of several.
func merge(m *wire.Metric, as mark, groups []*group) *group {
	byStart := map[int64][]store.Row{}
	for _, g := range groups {
		for _, r := range g.rows {
			byStart[r.Start] = append(byStart[r.Start], r)
		}
	}
	all := &group{mark: as}
	for at, rows := range byStart {
		r := sum(rows)
		r.Start = at
		all.rows = append(all.rows, r)
	}
	for _, g := range groups {
		all.reports += g.reports
		all.top = max(all.top, g.top)
		all.total += g.total
	}
	if m.Kind == wire.KindDistinct {
		all.total = total(m, all.rows)
	}
	return all
}

func (d *Dashboard) express(a question, groups []*group, hidden int) *Answer {
	ans := &Answer{
		Metric: a.metric.Name, Kind: a.metric.Kind.String(), Unit: string(a.metric.Unit),
		Grain: a.grain.String(), From: a.from, To: a.to,
		Complete: start(a.grain, d.cfg.Timing, complete(d.cfg.Timing, d.cfg.Now())),
		Facet:    a.facet.String(), By: a.by(), Q: a.quantiles, Rows: []Row{}, Suppressed: hidden,
	}
	if a.filtered {
		ans.Filter = a.facet.String() + ":" + a.values[0]
	}
	var every []store.Row
	for _, g := range groups {
		every = append(every, g.rows...)
		for _, r := range g.rows {
			row := Row{
				Group: a.names(g), Rest: g.mark == rest, Suppressed: g.mark == suppressed,
				Count: count(a.metric, r),
			}
			if a.byTime {
				at := time.Unix(r.Start, 0).UTC()
				row.Time = &at
			}
			if a.metric.Kind == wire.KindHistogram || a.metric.Kind == wire.KindPeak {
				row.Sum = &r.Sum
			}
			for _, q := range a.quantiles {
				row.Quantiles = append(row.Quantiles, round(wire.Quantile(r.Buckets, q)))
			}
			if a.quantiles != nil && r.Count == 0 {
				continue // no observations have no quantiles
			}
			ans.Rows = append(ans.Rows, row)
		}
	}
	ans.Total = total(a.metric, every)
	if a.byTime {
		slices.SortStableFunc(ans.Rows, func(x, y Row) int { return x.Time.Compare(*y.Time) })
	}
	return ans
}

// round keeps four digits: a bucket's width is far coarser.
func round(f float64) float64 {
	if f == 0 || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	p := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(f))))
	return math.Round(f*p) / p
}

func (a *question) by() []string {
	by := []string{}
	if a.byTime {
		by = append(by, "time")
	}
	return append(by, a.words()...)
}

// words are the keys of a group's names, in order.
func (a *question) words() []string {
	if a.derived != nil {
		return a.derived.words
	}
	var words []string
	if a.byValue {
		words = append(words, "value")
	}
	if a.byLabel {
		words = append(words, "label")
	}
	for _, i := range a.byDims {
		words = append(words, a.metric.Dims[i].Name)
	}
	return words
}

func (a *question) names(g *group) map[string]string {
	if g.mark != plain {
		return nil
	}
	names := map[string]string{}
	if a.byValue {
		names["value"] = g.key.Value
	}
	if a.byLabel {
		names["label"] = g.key.Label
	}
	for _, i := range a.byDims {
		dim := a.metric.Dims[i]
		names[dim.Name] = dim.ValueName(g.key.Dims[i])
	}
	if len(names) == 0 {
		return nil
	}
	return names
}
