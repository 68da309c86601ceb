package wire

import (
	"fmt"
	"strings"
)

// DictionaryVersion counts the dictionary's extensions. Nothing is ever
// removed or renumbered, so that an old sender and a new server agree.
const DictionaryVersion = 1

// A Kind tells how a metric is counted and merged.
type Kind uint8

const (
	// KindCounter counts events; merging adds.
	KindCounter Kind = iota + 1
	// KindHistogram counts observations in the 128 buckets of Bucket; merging adds.
	KindHistogram
	// KindPeak is the greatest value that a gauge had in a window. An instance's
	// peaks are observations of a histogram over instances: no maximum of a
	// single instance is ever stored beside others.
	KindPeak
	// KindInstances counts instances by a fact. The aggregator makes it from the
	// facts of a report: an instance counts once in each window, hour and day.
	KindInstances
	// KindDistinct estimates how many different instances there were, also over
	// several windows, by HyperLogLog registers; merging takes the maximum.
	// Made by the aggregator.
	KindDistinct
)

func (k Kind) String() string {
	return [...]string{"", "counter", "histogram", "peak", "instances", "distinct"}[k]
}

// FromServer reports whether metrics of this kind are made by the aggregator
// and never accepted from an instance.
func (k Kind) FromServer() bool { return k == KindInstances || k == KindDistinct }

// A Unit is what a metric's values are in.
type Unit string

const (
	Events       Unit = ""   // a plain count
	Bytes        Unit = "B"  // bytes
	Microseconds Unit = "µs" // microseconds
	Percent      Unit = "%"  // hundredths; of one processor it may be more than 100
	Days         Unit = "d"  // whole days
)

// A Facet is a property of the whole report by which a metric's sums are also
// kept: one marginal each, never their product.
type Facet uint8

const (
	All        Facet = iota // no facet: the sum over every report
	Country                 // ISO 3166-1 alpha-2 of the sender, "" if unknown
	Network                 // autonomous system of the sender: "AS64496"
	Version                 // Caddy version: "v2.11.9"
	Platform                // "linux/amd64"
	Deployment              // "production", "local", "unknown"
	facets
)

var facetNames = [facets]string{"all", "country", "network", "version", "platform", "deployment"}

func (f Facet) String() string {
	if f >= facets {
		return fmt.Sprintf("facet(%d)", uint8(f))
	}
	return facetNames[f]
}

// Facets lists every facet, All first.
func Facets() []Facet {
	fs := make([]Facet, facets)
	for i := range fs {
		fs[i] = Facet(i)
	}
	return fs
}

// ParseFacet is the inverse of String.
func ParseFacet(s string) (Facet, bool) {
	for i, n := range facetNames {
		if n == s {
			return Facet(i), true
		}
	}
	return 0, false
}

// A MetricID is a metric's number on the wire and in the store.
type MetricID uint16

// A Metric is one entry of the dictionary.
type Metric struct {
	ID   MetricID
	Name string // dotted, the broadest word first: switching off a prefix switches off all below it
	Kind Kind
	Unit Unit
	Dims []*Dimension
	// Label names the one dimension with an open vocabulary that a metric of
	// kind Instances may have, such as a module's path and version.
	Label  string
	Facets []Facet // the marginals that the store keeps, All first
	Doc    string
}

// A Dimension is a closed vocabulary. Values[Other] is "other".
type Dimension struct {
	Name   string
	Doc    string
	Values []string
	index  map[string]Value
}

func dimension(name, doc string, values ...string) *Dimension {
	d := &Dimension{Name: name, Doc: doc, Values: append([]string{"other"}, values...)}
	d.index = make(map[string]Value, len(d.Values))
	for i, v := range d.Values {
		if _, dup := d.index[v]; dup {
			panic("wire: dimension " + name + " has " + v + " twice")
		}
		d.index[v] = Value(i)
	}
	return d
}

// Value is the number of name, or Other.
func (d *Dimension) Value(name string) Value { return d.index[name] }

// Has reports whether name is in the vocabulary.
func (d *Dimension) Has(name string) bool { _, ok := d.index[name]; return ok }

// Name is the name of v, "other" for what the vocabulary lacks.
func (d *Dimension) ValueName(v Value) string {
	if int(v) >= len(d.Values) {
		return d.Values[Other]
	}
	return d.Values[v]
}

// Cells is the number of different cells that m can have.
func (m *Metric) Cells() int {
	n := 1
	for _, d := range m.Dims {
		n *= len(d.Values)
	}
	return n
}

// Valid reports whether c is a cell of m: known values, and none beyond m's dimensions.
func (m *Metric) Valid(c Cell) bool {
	if c>>(dimBits*MaxDims) != 0 {
		return false
	}
	for i, v := range c.Dims() {
		if i >= len(m.Dims) {
			if v != 0 {
				return false
			}
		} else if int(v) >= len(m.Dims[i].Values) {
			return false
		}
	}
	return true
}

// Dim is the index of the dimension called name, or -1.
func (m *Metric) Dim(name string) int {
	for i, d := range m.Dims {
		if d.Name == name {
			return i
		}
	}
	return -1
}

var (
	byID   = map[MetricID]*Metric{}
	byName = map[string]*Metric{}
)

func init() {
	for _, m := range metrics {
		if byID[m.ID] != nil || byName[m.Name] != nil {
			panic("wire: metric " + m.Name + " is in the dictionary twice")
		}
		if len(m.Dims) > MaxDims {
			panic("wire: metric " + m.Name + " has too many dimensions")
		}
		byID[m.ID], byName[m.Name] = m, m
	}
}

// Metrics lists the dictionary in the order of its documentation. The caller
// must not change it.
func Metrics() []*Metric { return metrics }

// MetricByID finds a metric, or nil.
func MetricByID(id MetricID) *Metric { return byID[id] }

// MetricByName finds a metric, or nil.
func MetricByName(name string) *Metric { return byName[name] }

// MetricsUnder lists the metrics that name names: itself, or all that begin
// with "name.".
func MetricsUnder(name string) []*Metric {
	var under []*Metric
	for _, m := range metrics {
		if m.Name == name || strings.HasPrefix(m.Name, name+".") {
			under = append(under, m)
		}
	}
	return under
}
