package dataset

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/hll"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Quantiles are those that a histogram's rows have.
var Quantiles = []float64{0.1, 0.25, 0.5, 0.75, 0.9, 0.99}

// A Row is one published number, or, of histograms, a few that belong together.
type Row struct {
	Time      time.Time
	Facet     wire.Facet
	Value     string   // of the facet
	Dims      []string // the metric's; nil for a rest of the facet "all"
	Label     string
	Rest      bool // the sum of what is not shown
	Groups    int  // in the rest
	Count     uint64
	Quantiles []float64 // in the metric's unit; nil if it is no histogram
}

// A group of the facet "all" is one combination of dimensions and label; in the
// other facets, it is parted by the facet's value.
type cells struct {
	all    groups
	facets map[wire.Facet]map[string]groups
	names  map[string]store.Key // dimensions and label of the keys of all
}

// gather sums a metric's rows of one period up by what they tell.
func gather(m *wire.Metric, rows []store.Row, windows uint64) cells {
	c := cells{groups{}, map[wire.Facet]map[string]groups{}, map[string]store.Key{}}
	for _, r := range rows {
		if m.Kind == wire.KindInstances {
			// Each gives one: no other bound is as good.
			r.Reports, r.Top = uint32(min(r.Count, math.MaxUint32))*uint32(windows), 1
		}
		name := cellName(m, r.Key)
		c.names[name] = store.Key{Dims: r.Dims, Label: r.Label}
		into, key := c.all, name
		if r.Facet != wire.All {
			if c.facets[r.Facet] == nil {
				c.facets[r.Facet] = map[string]groups{}
			}
			if c.facets[r.Facet][name] == nil {
				c.facets[r.Facet][name] = groups{}
			}
			into, key = c.facets[r.Facet][name], r.Value
		}
		if into[key] == nil {
			into[key] = newSum(windows)
		}
		into[key].row(r)
	}
	return c
}

func cellName(m *wire.Metric, k store.Key) string {
	var b strings.Builder
	for _, v := range k.Dims[:len(m.Dims)] {
		b.WriteRune(rune(v) + 1)
	}
	return b.String() + "\x00" + k.Label
}

// An hour's or day's releases of a metric.
type released struct {
	all    release
	facets map[wire.Facet]map[string]release // by group of all that is shown
}

// hour releases one period by itself.
func (r Rule) hour(m *wire.Metric, c cells, windows uint64) released {
	out := released{r.partition(m.Kind, c.all, windows, overlapping), map[wire.Facet]map[string]release{}}
	for facet, byGroup := range c.facets {
		out.facets[facet] = map[string]release{}
		for name := range out.all.shown {
			out.facets[facet][name] = r.partition(m.Kind, byGroup[name], windows, disjoint)
		}
	}
	return out
}

// days releases a day of a metric whose days are the sums of its hours.
func (r Rule) days(m *wire.Metric, hours []cells, was []released, windows uint64) (released, map[string]store.Key) {
	names := map[string]store.Key{}
	var all []groups
	var first []release
	for i, c := range hours {
		all, first = append(all, c.all), append(first, was[i].all)
		maps.Copy(names, c.names)
	}
	out := released{r.day(m.Kind, all, first, windows, false, overlapping), map[wire.Facet]map[string]release{}}
	for _, facet := range m.Facets {
		if facet == wire.All || !slices.ContainsFunc(hours, func(c cells) bool { return c.facets[facet] != nil }) {
			continue
		}
		out.facets[facet] = map[string]release{}
		for name := range out.all.shown {
			var parts []groups
			var second []release
			told := true // in every hour, or in none: see Rule.day
			for i, c := range hours {
				if c.all[name] == nil {
					continue
				}
				_, told = was[i].all.shown[name]
				parts, second = append(parts, c.facets[facet][name]), append(second, was[i].facets[facet][name])
			}
			out.facets[facet][name] = r.day(m.Kind, parts, second, windows, told, disjoint)
		}
	}
	return out, names
}

// rows writes a release down, in the order of facet, then count.
func (out released) rows(m *wire.Metric, at time.Time, names map[string]store.Key) []Row {
	var rows []Row
	add := func(facet wire.Facet, of string, rel release, name func(key string) (dims []string, label, value string)) {
		var some []Row
		for key, s := range rel.shown {
			row := s.express(m, at, facet)
			row.Dims, row.Label, row.Value = name(key)
			some = append(some, row)
		}
		slices.SortFunc(some, func(a, b Row) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), slices.Compare(a.Dims, b.Dims), cmp.Compare(a.Label, b.Label), cmp.Compare(a.Value, b.Value))
		})
		if rel.rest != nil && len(some) > 0 {
			row := rel.rest.express(m, at, facet)
			row.Rest, row.Groups = true, rel.count
			if of != "" {
				row.Dims, row.Label = words(m, names[of]), names[of].Label
			}
			some = append(some, row)
		}
		rows = append(rows, some...)
	}
	add(wire.All, "", out.all, func(key string) ([]string, string, string) { return words(m, names[key]), names[key].Label, "" })
	for _, facet := range m.Facets {
		for _, of := range slices.Sorted(maps.Keys(out.facets[facet])) {
			add(facet, of, out.facets[facet][of], func(key string) ([]string, string, string) { return words(m, names[of]), names[of].Label, key })
		}
	}
	return rows
}

func words(m *wire.Metric, k store.Key) []string {
	w := make([]string, len(m.Dims))
	for i, d := range m.Dims {
		w[i] = d.ValueName(k.Dims[i])
	}
	return w
}

func (s *sum) express(m *wire.Metric, at time.Time, facet wire.Facet) Row {
	row := Row{Time: at, Facet: facet, Count: s.count}
	if s.buckets != nil {
		for _, q := range Quantiles {
			row.Quantiles = append(row.Quantiles, wire.Quantile(s.buckets, q))
		}
	}
	return row
}

// distinct gives estimates of how many different things there were, of those
// groups that are large enough. They have two significant digits: with the error
// of a sketch (2.3 %) more would say nothing, but tell when one thing is added.
func (r Rule) distinct(m *wire.Metric, at time.Time, rows []store.Row) []Row {
	var out []Row
	for _, row := range rows {
		n := hll.Estimate(row.Registers)
		if n < float64(r.MinInstances) {
			continue
		}
		out = append(out, Row{
			Time: at, Facet: row.Facet, Value: row.Value, Dims: words(m, row.Key), Label: row.Label,
			Count: rounded(n),
		})
	}
	slices.SortFunc(out, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Facet, b.Facet), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value), slices.Compare(a.Dims, b.Dims))
	})
	return out
}

// rounded keeps two significant digits.
func rounded(n float64) uint64 {
	unit := math.Pow(10, max(math.Floor(math.Log10(n))-1, 0))
	return uint64(math.Round(n/unit) * unit)
}
