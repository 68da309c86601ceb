package fleet

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A shape is a metric with its cells.
type shape struct {
	m *wire.Metric
	design
	cells []cell
	// below is how much of a histogram lies below the upper bound of a bucket,
	// by the sixteenths of a bucket that the median lies off its own.
	below [16][2*reach + 1]float64
}

// reach is how many buckets a histogram extends to either side of its median.
const reach = 44

// A cell is one combination of a metric's values.
type cell struct {
	dims   wire.Dims
	weight float64
	drift  float64 // doublings a day
	rolls  []roll
	slow   float64 // factor of the median
	error5 bool    // an answer of 500 to 599
	scan   string  // what a scan looks for
	likes  [facetsKept][]float64
}

// A roll is a version of a browser, in days before the end: when it came out
// and when the next did.
type roll struct{ out, next float64 }

// facetsKept are the facets that rows are split by.
const facetsKept = wire.Deployment + 1

func makeShapes() ([]*shape, error) {
	var shapes []*shape
	for _, m := range wire.Metrics() {
		if m.Kind.FromServer() {
			continue
		}
		d, ok := designs[m.ID]
		if !ok {
			d = design{base: connections, rate: 0.3}
			if strings.HasPrefix(m.Name, "caddy.") || strings.HasPrefix(m.Name, "certificates.") {
				d.base, d.rate = held, 0.002
			}
		}
		if d.median == 0 {
			d.median, d.spread = 1000, 2.5
		}
		s := &shape{m: m, design: d}
		if err := s.parse(); err != nil {
			return nil, fmt.Errorf("the design of %s: %w", m.Name, err)
		}
		s.character()
		s.shelve()
		shapes = append(shapes, s)
	}
	return shapes, nil
}

// parse makes the cells that the design's lines stand for.
func (s *shape) parse() error {
	if len(s.m.Dims) == 0 {
		s.cells = []cell{{weight: 1}}
		return nil
	}
	lines := s.design.cells
	if lines == "" {
		lines = s.plain()
	}
	for line := range strings.SplitSeq(lines, "\n") {
		lists := strings.Split(line, "|")
		if len(lists) != len(s.m.Dims) {
			return fmt.Errorf("the line %q has %d lists for %d dimensions", line, len(lists), len(s.m.Dims))
		}
		block := []cell{{weight: 1}}
		for i, list := range lists {
			items, err := parseList(s.m.Dims[i], list)
			if err != nil {
				return err
			}
			var more []cell
			for _, c := range block {
				for _, it := range items {
					c := c
					c.dims[i] = it.value
					c.weight *= it.weight
					more = append(more, c)
				}
			}
			block = more
		}
		s.cells = append(s.cells, block...)
	}
	// Rows come in the order of their keys.
	slices.SortFunc(s.cells, func(a, b cell) int { return slices.Compare(a.dims[:], b.dims[:]) })
	for i := 1; i < len(s.cells); i++ {
		if s.cells[i].dims == s.cells[i-1].dims {
			return fmt.Errorf("the cell %v is there twice", s.cells[i].dims)
		}
	}
	return nil
}

// plain has the first few values of each dimension, the first most often.
func (s *shape) plain() string {
	var lists []string
	for i, d := range s.m.Dims {
		var items []string
		for v := 1; v < min(len(d.Values), 9-2*i); v++ {
			items = append(items, d.Values[v]+"="+strconv.FormatFloat(100/math.Pow(float64(v), 1.1), 'f', 2, 64))
		}
		if items == nil {
			items = []string{d.Values[0]}
		}
		lists = append(lists, strings.Join(items, ", "))
	}
	return strings.Join(lists, " | ")
}

type item struct {
	value  wire.Value
	weight float64
}

func parseList(d *wire.Dimension, list string) ([]item, error) {
	var items []item
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		it := item{weight: 1}
		// Some values contain the sign themselves, none ends like a weight.
		if name, w, ok := cutLast(part, "="); ok {
			x, err := strconv.ParseFloat(strings.TrimSpace(w), 64)
			if err != nil || x <= 0 {
				return nil, fmt.Errorf("the weight in %q is none", part)
			}
			part, it.weight = strings.TrimSpace(name), x
		}
		if !d.Has(part) {
			return nil, fmt.Errorf("%s has no value %q", d.Name, part)
		}
		it.value = d.Value(part)
		items = append(items, it)
	}
	if len(items) == 0 {
		return nil, errors.New("a list is empty")
	}
	return items, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// character gives each cell what its values bring with them.
func (s *shape) character() {
	for i := range s.cells {
		c := &s.cells[i]
		c.slow = 1
		browser := ""
		for j, d := range s.m.Dims {
			name := d.ValueName(c.dims[j])
			if days, ok := drifts[drift{d.Name, name}]; ok {
				c.drift += 1 / days
			}
			switch d.Name {
			case "browser":
				browser = name
			case "browser_version":
				if out, ok := rolling[browser][name]; ok {
					c.rolls = []roll{{out, next(rolling[browser], out)}}
				}
			case "status":
				c.error5 = name >= "500" && name < "600"
			case "status_class":
				c.error5 = name == "5xx"
				c.slow *= map[string]float64{"2xx": 1, "3xx": 0.4, "4xx": 0.5, "5xx": 3}[name]
			case "protocol":
				c.slow *= map[string]float64{"http/1.0": 1.9, "http/1.1": 1.5, "http/2": 1, "http/3": 0.9}[name]
			case "resumption":
				c.slow *= map[string]float64{"full": 1, "resumed": 0.6}[name]
			case "scan_class":
				c.scan = name
			}
			for f := wire.Country; f < facetsKept; f++ {
				c.like(f, d.Name, name)
			}
		}
		for f := wire.Country; f < facetsKept; f++ {
			c.like(f, "", "") // a metric without dimensions
		}
		if c.slow == 0 {
			c.slow = 1
		}
	}
}

// next is when the version after the one that came out then came out.
func next(outs map[string]float64, out float64) float64 {
	n := -1000.0
	for _, o := range outs {
		if o < out && o > n {
			n = o
		}
	}
	return n
}

// like multiplies in how much more often than elsewhere a value of a dimension
// is met at each value of a facet.
func (c *cell) like(f wire.Facet, dim, value string) {
	names := facetNames(f)
	if c.likes[f] == nil {
		c.likes[f] = slices.Repeat([]float64{1}, len(names))
	}
	strength := 0.05
	if f == wire.Country {
		strength = 0.22
	}
	for i, n := range names {
		c.likes[f][i] *= math.Exp(strength * gauss(hashOf(dim, value, n)))
	}
}

// facetNames are the values of a facet, in the order of their indexes.
func facetNames(f wire.Facet) []string {
	var names []string
	switch f {
	case wire.Country:
		for _, c := range countries {
			names = append(names, c.name)
		}
	case wire.Version:
		names = versions
	case wire.Platform:
		for _, p := range platforms {
			names = append(names, p.name)
		}
	case wire.Deployment:
		for _, d := range deployments {
			names = append(names, d.name)
		}
	default:
		names = []string{""}
	}
	return names
}

// at is a cell's weight so many days before the end.
func (c *cell) at(before float64) float64 {
	w := c.weight
	if c.drift != 0 {
		w *= math.Exp2(-c.drift * before)
	}
	for _, r := range c.rolls {
		// A version spreads within two weeks, and its successor takes all but a little.
		w *= 0.02 + 0.98*(spread(r.out-before)-spread(r.next-before))
	}
	return w
}

func spread(days float64) float64 { return 1 / (1 + math.Exp(-(days-7)/1.8)) }

// shelve prepares histograms: a log-logistic distribution, whose third quartile
// is spread medians.
func (s *shape) shelve() {
	if s.m.Kind != wire.KindHistogram && s.m.Kind != wire.KindPeak {
		return
	}
	k := math.Log(3) / math.Log(s.spread)
	for sub := range s.below {
		for j := range s.below[sub] {
			// The upper bound, in medians, of bucket j-reach counted from the median's.
			x := math.Exp2((float64(j-reach) + float64(sub)/16) / 4)
			s.below[sub][j] = 1 / (1 + math.Pow(x, -k))
		}
		s.below[sub][2*reach] = 1
	}
}

// buckets spreads n observations around the median times slow over into, and
// gives their sum. u, from 0 to 1, rounds.
func (s *shape) buckets(into []uint64, n uint64, slow, u float64) (sum uint64) {
	position := 4 * math.Log2(s.median*slow)
	center := math.Ceil(position)
	sub := int((center - position) * 16)
	var before uint64
	for j, below := range s.below[sub] {
		upTo := n
		if below < 1 {
			upTo = min(n, uint64(float64(n)*below+u))
		}
		c := upTo - before
		before = upTo
		if c == 0 {
			continue
		}
		i := min(max(int(center)+j-reach, 0), wire.Buckets-1)
		into[i] += c
		if i == 0 {
			sum += c
		} else {
			sum += uint64(float64(c) * math.Exp2((float64(i)-0.5)/4))
		}
	}
	return sum
}
