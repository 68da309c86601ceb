package fleet

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/server/hll"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Sink takes rows of one grain, which have different keys. They are its own.
type Sink func(g store.Grain, rows []store.Row) error

const (
	// chunk is how many hours are made at once. Inside of a chunk, rows come in
	// the order of metric, facet, time and value, which is how an engine likes
	// to have them for good.
	chunk = 7 * 24
	// most is how many rows a sink is given at once.
	most = 200_000
)

// History gives sink the rows of [from, to), cut to the fleet's own span, as if
// all instances had sent their reports. Spans that begin and end with an hour
// may be made one after the other; of an hour that is cut, either part has what
// its windows have, and only the one with the hour's first window counts
// instances in that hour and, at midnight, in that day.
func (f *Fleet) History(ctx context.Context, from, to time.Time, sink Sink) error {
	return f.history(ctx, from, to, nil, sink)
}

// history is History of those metrics and facets that only, if any, wants.
func (f *Fleet) history(ctx context.Context, from, to time.Time, only func(*wire.Metric, wire.Facet) bool, sink Sink) error {
	from, to = later(from, f.cfg.From), earlier(to, f.cfg.To)
	window := f.cfg.Timing.Window
	if !from.Equal(f.cfg.Timing.WindowStart(from)) || !to.Equal(f.cfg.Timing.WindowStart(to)) {
		return fmt.Errorf("a history from %s to %s is not made of whole windows of %s", from, to, window)
	}
	h := &history{
		f: f, ctx: ctx, only: only, sink: sink, from: from.Unix(), to: to.Unix(), step: f.stepper(),
		windowsFrom: f.cfg.To.Add(-f.cfg.Windows).Unix(), hoursFrom: f.cfg.To.Add(-f.cfg.Hours).Truncate(time.Hour).Unix(), window: int64(window / time.Second),
	}
	first, last := h.from/3600, (h.to+3599)/3600
	for at := first; at < last; {
		end := min(at-at%chunk+chunk, last)
		if err := h.chunk(at, end); err != nil {
			return err
		}
		at = end
	}
	return h.flush(0)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a.UTC()
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a.UTC()
	}
	return b
}

// A history is one call of History.
type history struct {
	f                   *Fleet
	ctx                 context.Context
	sink                Sink
	only                func(*wire.Metric, wire.Facet) bool
	step                *stepper
	from, to            int64 // Unix seconds
	windowsFrom, window int64
	hoursFrom           int64
	rows                [len(store.Grains)][]store.Row
}

// flush gives away the rows of grains that have more than n.
func (h *history) flush(n int) error {
	for g := range h.rows {
		if len(h.rows[g]) <= n {
			continue
		}
		rows := h.rows[g]
		h.rows[g] = nil
		if err := h.sink(store.Grain(g), rows); err != nil {
			return err
		}
	}
	return h.ctx.Err()
}

// add adds a row, unless it is older than sums of its grain are made.
func (h *history) add(g store.Grain, r store.Row) {
	if g == store.Window && r.Start < h.windowsFrom || g == store.Hour && r.Start < h.hoursFrom {
		return
	}
	if h.rows[g] == nil {
		h.rows[g] = make([]store.Row, 0, most+most/8)
	}
	r.Grain = g
	h.rows[g] = append(h.rows[g], r)
}

// chunk makes the hours [from, to).
func (h *history) chunk(from, to int64) error {
	var moments []*moment
	for at := from; at < to; at++ {
		if h.ctx.Err() != nil {
			return h.ctx.Err()
		}
		if m := h.step.step(at); !m.gap {
			moments = append(moments, m)
		}
	}
	for _, m := range wire.Metrics() {
		for _, facet := range m.Facets {
			switch {
			case facet >= facetsKept || facet == wire.Network || h.only != nil && !h.only(m, facet):
				continue
			case m.Kind == wire.KindDistinct:
				h.distinct(m, facet, moments)
			case m.Kind == wire.KindInstances:
				h.counted(m, facet, moments)
			default:
				i := slices.IndexFunc(h.f.shapes, func(s *shape) bool { return s.m == m })
				if err := h.events(h.f.shapes[i], facet, moments); err != nil {
					return err
				}
			}
			if err := h.flush(most); err != nil {
				return err
			}
		}
	}
	return nil
}

// starts are the windows of an hour that are in the span. byWindow tells
// whether what the hour counts is the sum of theirs.
func (h *history) starts(hour int64) (starts []int64, byWindow bool) {
	for at := hour * 3600; at < hour*3600+3600; at += h.window {
		if at >= h.from && at < h.to {
			starts = append(starts, at)
		}
	}
	return starts, len(starts)*int(h.window) < 3600 || hour*3600+3600 > h.windowsFrom
}

// first tells whether the span has the first window of a period that starts at
// a time: only then instances are counted in it.
func (h *history) first(start int64) bool { return start >= h.from && start < h.to }

// distinct makes the rows of instances.active.
func (h *history) distinct(m *wire.Metric, facet wire.Facet, moments []*moment) {
	names := facetNames(facet)
	row := func(g store.Grain, start int64, value int, gr *group) {
		r := store.Row{Key: store.Key{Start: start, Metric: m.ID, Facet: facet, Value: names[value]}, Registers: slices.Clone(gr.registers)}
		if h.first(start) {
			r.Count, r.Reports, r.Top = uint64(gr.instances), gr.instances, 1
		}
		h.add(g, r)
	}
	for i, mo := range moments {
		starts, byWindow := h.starts(mo.hour)
		for v := range mo.values[facet] {
			gr := &mo.values[facet][v]
			if gr.instances == 0 {
				continue
			}
			if byWindow {
				for _, at := range starts {
					row(store.Window, at, v, gr)
				}
			}
			row(store.Hour, mo.hour*3600, v, gr)
		}
		if i+1 < len(moments) && moments[i+1].hour/24 == mo.hour/24 {
			continue
		}
		// The day ends here, or the span: all that were there in it.
		for v := range names {
			day := group{}
			for _, of := range moments[:i+1] {
				gr := &of.values[facet][v]
				if of.hour/24 != mo.hour/24 || gr.instances == 0 {
					continue
				}
				if day.registers == nil {
					day.registers = make([]byte, hll.Registers)
				}
				hll.Merge(day.registers, gr.registers)
				day.instances = max(day.instances, gr.instances)
			}
			if day.instances > 0 {
				row(store.Day, mo.hour/24*86400, v, &day)
			}
		}
	}
}

// counted makes the rows of a metric that counts instances by a fact.
func (h *history) counted(m *wire.Metric, facet wire.Facet, moments []*moment) {
	names := facetNames(facet)
	numbers := h.f.facts.byMetric(m.ID)
	day := map[int]uint32{} // by value and fact
	row := func(g store.Grain, start int64, value int, n uint16, count uint32) {
		if count == 0 || !h.first(start) {
			return
		}
		x := &h.f.facts.all[n]
		h.add(g, store.Row{
			Key:   store.Key{Start: start, Metric: m.ID, Facet: facet, Value: names[value], Dims: x.dims, Label: x.label},
			Count: uint64(count), Reports: count, Top: 1,
		})
	}
	for i, mo := range moments {
		starts, byWindow := h.starts(mo.hour)
		for v := range names {
			for k, n := range numbers {
				count := mo.facts[int(n)*factValues+factIndex(facet, v)]
				day[v*len(numbers)+k] = max(day[v*len(numbers)+k], count)
				if byWindow {
					for _, at := range starts {
						row(store.Window, at, v, n, count)
					}
				}
				row(store.Hour, mo.hour*3600, v, n, count)
			}
		}
		if i+1 < len(moments) && moments[i+1].hour/24 == mo.hour/24 {
			continue
		}
		for v := range names {
			for k, n := range numbers {
				row(store.Day, mo.hour/24*86400, v, n, day[v*len(numbers)+k])
			}
		}
		clear(day)
	}
}

// A tally sums up one cell of one value.
type tally struct {
	count, sum, top uint64
	reports         uint64
	buckets         []uint64
}

func (t *tally) add(o *tally) {
	t.count += o.count
	t.sum += o.sum
	t.top = max(t.top, o.top)
	t.reports += o.reports
	if o.buckets != nil {
		if t.buckets == nil {
			t.buckets = make([]uint64, wire.Buckets)
		}
		for i, n := range o.buckets {
			t.buckets[i] += n
		}
	}
}

// emit adds the rows of a period's tallies, by value and cell, and clears them.
func (h *history) emit(g store.Grain, start int64, s *shape, facet wire.Facet, names []string, tallies []tally) {
	for v, name := range names {
		for c := range s.cells {
			t := &tallies[v*len(s.cells)+c]
			if t.count == 0 {
				continue
			}
			h.add(g, store.Row{
				Key:   store.Key{Start: start, Metric: s.m.ID, Facet: facet, Value: name, Dims: s.cells[c].dims},
				Count: t.count, Sum: t.sum, Buckets: t.buckets, Reports: uint32(min(t.reports, math.MaxUint32)), Top: t.top,
			})
			*t = tally{}
		}
	}
}

// events makes the rows of a metric whose counts follow from a base.
func (h *history) events(s *shape, facet wire.Facet, moments []*moment) error {
	names := facetNames(facet)
	size := len(names) * len(s.cells)
	hourly, daily, windowly := make([]tally, size), make([]tally, size), make([]tally, size)
	for i, mo := range moments {
		starts, byWindow := h.starts(mo.hour)
		counts := h.f.countsIn(s, mo)
		if !byWindow {
			h.split(s, facet, mo, counts, uint64(mo.hour), int(3600/h.window), hourly)
		} else {
			n := int(3600 / h.window)
			for _, at := range starts {
				k := int(at%3600) / int(h.window)
				part := make([]uint64, len(counts))
				for c, total := range counts {
					part[c] = upTo(total, mo.hour, k+1, n) - upTo(total, mo.hour, k, n)
				}
				h.split(s, facet, mo, part, uint64(at), 1, windowly)
				for j := range windowly {
					hourly[j].add(&windowly[j])
				}
				h.emit(store.Window, at, s, facet, names, windowly)
			}
		}
		for j := range hourly {
			daily[j].add(&hourly[j])
		}
		h.emit(store.Hour, mo.hour*3600, s, facet, names, hourly)
		if i+1 == len(moments) || moments[i+1].hour/24 != mo.hour/24 {
			h.emit(store.Day, mo.hour/24*86400, s, facet, names, daily)
		}
		if err := h.flush(most); err != nil {
			return err
		}
	}
	return nil
}

// upTo is how much of an hour's total there is before its window k of n.
// Windows differ by a few percent.
func upTo(total uint64, hour int64, k, n int) uint64 {
	if k == n {
		return total
	}
	x := (float64(k) + 0.3*(unit(mix(uint64(hour), uint64(k)))-0.5)) / float64(n)
	if k == 0 {
		x = 0
	}
	return uint64(float64(total)*x + unit(mix(total, uint64(hour))))
}

// countsIn is what each of a metric's cells counts in an hour.
func (f *Fleet) countsIn(s *shape, mo *moment) []uint64 {
	total := mo.bases[s.base] * s.rate
	if s.base == held {
		total *= float64(time.Hour / f.cfg.Timing.Window)
	}
	weights := make([]float64, len(s.cells))
	var sum float64
	for i := range s.cells {
		weights[i] = s.cells[i].at(mo.before)
		sum += weights[i]
	}
	counts := make([]uint64, len(s.cells))
	for i := range s.cells {
		c := &s.cells[i]
		n := total * weights[i] / sum
		if c.error5 && mo.worse[wire.Version] != nil {
			var more float64
			for v, x := range mo.worse[wire.Version] {
				more += mo.values[wire.Version][v].shares[s.base] * x
			}
			n *= more
		}
		if c.scan != "" {
			n *= 1 + mo.surge[c.scan]
		}
		u := mix(f.cfg.Seed, uint64(s.m.ID), uint64(i), uint64(mo.hour))
		n *= math.Max(0.2, 1+(0.025+0.6/math.Sqrt(n+4))*gauss(u))
		counts[i] = uint64(n + unit(mix(u)))
	}
	return counts
}

// split adds what cells count in so many windows to the tallies of each value.
func (h *history) split(s *shape, facet wire.Facet, mo *moment, counts []uint64, at uint64, windows int, into []tally) {
	groups := mo.values[facet]
	upper := make([]float64, len(groups))
	histogram := s.m.Kind == wire.KindHistogram || s.m.Kind == wire.KindPeak
	for c, total := range counts {
		if total == 0 {
			continue
		}
		cell := &s.cells[c]
		var sum float64
		for v := range groups {
			share := groups[v].shares[s.base]
			if facet != wire.All {
				share *= cell.likes[facet][v]
			}
			if cell.error5 && mo.worse[facet] != nil {
				share *= mo.worse[facet][v]
			}
			sum += share
			upper[v] = sum
		}
		if sum == 0 {
			continue
		}
		h1 := mix(h.f.cfg.Seed, uint64(s.m.ID), uint64(c), at)
		u := unit(h1)
		var before uint64
		for v := range groups {
			until := total
			if upper[v] < sum {
				until = min(total, uint64(float64(total)*(upper[v]/sum)+u))
			}
			n := until - before
			before = until
			if n == 0 {
				continue
			}
			t := &into[v*len(s.cells)+c]
			gr := &groups[v]
			t.count += n
			// How many instances a count comes from: those with none are the
			// more, the fewer there are to an instance and window.
			per := float64(n) / (float64(max(gr.instances, 1)) * float64(windows))
			t.reports += min(n, 1+uint64(float64(gr.instances)*float64(windows)*per/(per+0.7)))
			top := gr.top
			if s.base != requests && s.base != connections {
				top = 3 / float64(max(gr.instances, 3))
			}
			t.top = max(t.top, min(n, 1+uint64(float64(n)/float64(windows)*top)))
			if histogram {
				if t.buckets == nil {
					t.buckets = make([]uint64, wire.Buckets)
				}
				slow := cell.slow
				if facet != wire.All {
					slow *= math.Sqrt(cell.likes[facet][v])
				}
				t.sum += s.buckets(t.buckets, n, slow, unit(mix(h1, uint64(v))))
			}
		}
	}
}
