package aggregate

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/server/hll"
	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A table sums up a batch. A metric's cell is looked up once for a window of a
// report and gets a number, its slot, for the whole batch; each marginal then
// finds its sum by that number, in pages that exist where something was counted.
//
// Of what instances count, only windows are summed up here: hours and days
// follow from them when the batch is complete.
type table struct {
	timing  wire.Timing
	words   *vocabulary
	slots   map[slotKey]int
	keys    []slotKey
	facets  []wire.Facet // that any metric is kept by, but for All
	periods [len(store.Grains)]map[int64]*period
	cells   int // that something was counted in
}

// A slotKey is a cell of a metric, or one of its labels.
type slotKey struct {
	metric wire.MetricID
	cell   wire.Cell
	label  string
}

// A period is a window, an hour or a day.
type period struct {
	start     int64
	marginals map[facetValue]*marginal
}

type facetValue struct {
	facet wire.Facet
	value string
}

// A marginal holds the sums of one value of a facet, by slot.
type marginal struct {
	facetValue
	pages []*page
}

const pageSlots = 16

type page [pageSlots]sum

type sum struct {
	count, top uint64
	reports    uint32
	more       *more // for histograms and registers
}

type more struct {
	sum       uint64
	buckets   []uint64
	registers []byte
}

func newTable(timing wire.Timing, words *vocabulary) *table {
	t := &table{timing: timing, words: words, slots: map[slotKey]int{}}
	for g := range t.periods {
		t.periods[g] = map[int64]*period{}
	}
	for _, f := range wire.Facets()[1:] {
		if slices.ContainsFunc(wire.Metrics(), func(m *wire.Metric) bool { return slices.Contains(m.Facets, f) }) {
			t.facets = append(t.facets, f)
		}
	}
	return t
}

func (t *table) slot(k slotKey) int {
	n, ok := t.slots[k]
	if !ok {
		n = len(t.keys)
		t.slots[k] = n
		t.keys = append(t.keys, k)
	}
	return n
}

func (t *table) period(g store.Grain, start int64) *period {
	p := t.periods[g][start]
	if p == nil {
		p = &period{start, map[facetValue]*marginal{}}
		t.periods[g][start] = p
	}
	return p
}

func (p *period) marginal(f facetValue) *marginal {
	m := p.marginals[f]
	if m == nil {
		m = &marginal{facetValue: f}
		p.marginals[f] = m
	}
	return m
}

// at is the sum of a slot, which counts as one more cell of the table if it is new.
func (m *marginal) at(t *table, slot int) *sum {
	i := slot / pageSlots
	if i >= len(m.pages) {
		m.pages = append(m.pages, make([]*page, i+1-len(m.pages))...)
	}
	if m.pages[i] == nil {
		m.pages[i] = new(page)
	}
	s := &m.pages[i][slot%pageSlots]
	if s.reports == 0 {
		t.cells++
	}
	return s
}

// add counts one contribution.
func (s *sum) add(n uint64) {
	s.count += n
	s.top = max(s.top, n)
	s.reports++
}

// histogram makes room for buckets.
func (s *sum) histogram() *more {
	if s.more == nil {
		s.more = &more{buckets: make([]uint64, wire.Buckets)}
	}
	return s.more
}

// A view is the marginals of a period that one report counts in, by facet.
type view [wire.Deployment + 1]*marginal

// look finds a report's marginals in the period of a grain. Values that the
// day has no room for are "other".
func (t *table) look(g store.Grain, start, day int64, values *facetValues) view {
	p := t.period(g, start)
	v := view{p.marginal(facetValue{facet: wire.All})}
	for _, f := range t.facets {
		v[f] = p.marginal(facetValue{f, t.words.word(day, wordList{facet: f}, values[f])})
	}
	return v
}

// fold counts a report, which is clean and new.
func (t *table) fold(ctx context.Context, r *ingestlog.Record, report *wire.Report, state *store.Instance) error {
	values := facetsOf(r, report.Facts)
	var facts []fact
	for _, w := range report.Windows {
		at := time.Unix(w.Start, 0).UTC()
		start := t.timing.WindowStart(at).Unix()
		day := store.Day.Start(at).Unix()
		if err := t.words.day(ctx, day); err != nil {
			return err
		}
		v := t.look(store.Window, start, day, &values)
		for _, s := range w.Series {
			t.foldSeries(&v, s)
		}
		for _, g := range store.Grains {
			gs := start
			if g != store.Window {
				gs = g.Start(at).Unix()
			}
			if gs <= state.Counted[g] {
				continue
			}
			state.Counted[g] = gs
			if facts == nil {
				facts = factsOf(report.Facts)
			}
			t.countInstance(g, gs, day, &values, r.Instance, facts)
		}
	}
	return nil
}

func (t *table) foldSeries(v *view, s *wire.Series) {
	m := wire.MetricByID(wire.MetricID(s.Metric))
	for i, c := range s.Cells {
		slot := t.slot(slotKey{metric: m.ID, cell: wire.Cell(c)})
		n := s.Values[i]
		for _, f := range m.Facets {
			sum := v[f].at(t, slot)
			if m.Kind == wire.KindPeak {
				sum.add(1)
				h := sum.histogram()
				h.sum += n
				h.buckets[wire.Bucket(n)]++
			} else {
				sum.add(n)
			}
		}
	}
	for _, h := range s.Histograms {
		slot := t.slot(slotKey{metric: m.ID, cell: wire.Cell(h.Cell)})
		var count uint64
		for _, n := range h.Buckets {
			count += n
		}
		for _, f := range m.Facets {
			sum := v[f].at(t, slot)
			sum.add(count)
			into := sum.histogram()
			into.sum += h.Sum
			for i, n := range h.Buckets {
				into.buckets[int(h.First)+i] += n
			}
		}
	}
}

// countInstance counts an instance in a period that it was not counted in yet.
func (t *table) countInstance(g store.Grain, start, day int64, values *facetValues, id wire.InstanceID, facts []fact) {
	v := t.look(g, start, day, values)
	active := t.slot(slotKey{metric: wire.InstancesActive})
	for _, f := range wire.MetricByID(wire.InstancesActive).Facets {
		sum := v[f].at(t, active)
		sum.add(1)
		if sum.more == nil {
			sum.more = &more{registers: make([]byte, hll.Registers)}
		}
		// An id is half of a SHA-256, so its bytes are uniformly distributed.
		hll.Add(sum.more.registers, binary.BigEndian.Uint64(id[:]))
	}
	others := map[wire.MetricID]bool{}
	for _, fact := range facts {
		m := wire.MetricByID(fact.metric)
		label := fact.label
		if label != "" {
			// What became "other" counts once.
			if label = t.words.word(day, wordList{metric: m.ID}, label); label == other {
				if others[m.ID] {
					continue
				}
				others[m.ID] = true
			}
		}
		slot := t.slot(slotKey{m.ID, fact.dims.Cell(), label})
		for _, f := range m.Facets {
			v[f].at(t, slot).add(1)
		}
	}
}
