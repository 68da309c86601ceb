package recorder

import (
	"fmt"

	"github.com/caddy-evergreen/evergreen/wire"
)

// histogramWords is the size of one cell of a histogram: its buckets, then the
// sum of the observations.
const (
	histogramWords = wire.Buckets + 1
	sumWord        = wire.Buckets
)

// A metric is where one metric of the dictionary lies in the array. Cells lie in
// mixed radix, the first dimension fastest, which is also the order of
// [wire.Cell]: walking the words walks the cells in ascending order.
type metric struct {
	def   *wire.Metric
	bank  int    // of Recorder.off; the request's and connection's metrics are in the first
	bit   uint64 // in that bank
	base  uint32 // of the first word
	cells uint32
	width uint32               // words of a cell
	n     [wire.MaxDims]uint32 // lengths of the vocabularies; 1 where there is no dimension
}

// offBanks is how many words the set of metrics that are off has.
const offBanks = 2

// A layout places every metric that an instance counts. Peaks have no words:
// they are gauges.
type layout struct {
	metrics []metric // in the order of the dictionary
	words   uint32
	widest  uint32 // words of the metric that has most
}

func newLayout() (*layout, error) {
	l := &layout{}
	for _, def := range wire.Metrics() {
		if def.Kind.FromServer() {
			continue
		}
		if len(l.metrics) == 64*offBanks {
			return nil, fmt.Errorf("laying out %s: the recorder has room for %d metrics", def.Name, len(l.metrics))
		}
		m := metric{def: def, bank: len(l.metrics) / 64, bit: 1 << (len(l.metrics) % 64), base: l.words, cells: 1, width: 1}
		for i := range m.n {
			m.n[i] = 1
			if i < len(def.Dims) {
				m.n[i] = uint32(len(def.Dims[i].Values))
			}
			m.cells *= m.n[i]
		}
		switch def.Kind {
		case wire.KindHistogram:
			m.width = histogramWords
		case wire.KindPeak:
			m.width = 0
		}
		l.words += m.cells * m.width
		l.widest = max(l.widest, m.cells*m.width)
		l.metrics = append(l.metrics, m)
	}
	return l, nil
}

// value holds v to a vocabulary of n names.
func value(v wire.Value, n uint32) uint32 {
	if uint32(v) < n {
		return uint32(v)
	}
	return uint32(wire.Other)
}

// The word of a cell, by the metric's number of dimensions.

func (m *metric) cell1(a wire.Value) uint32 {
	return m.base + m.width*value(a, m.n[0])
}

func (m *metric) cell2(a, b wire.Value) uint32 {
	return m.base + m.width*(value(a, m.n[0])+m.n[0]*value(b, m.n[1]))
}

func (m *metric) cell3(a, b, c wire.Value) uint32 {
	return m.base + m.width*(value(a, m.n[0])+m.n[0]*(value(b, m.n[1])+m.n[1]*value(c, m.n[2])))
}

func (m *metric) cell4(a, b, c, d wire.Value) uint32 {
	return m.base + m.width*(value(a, m.n[0])+m.n[0]*(value(b, m.n[1])+m.n[1]*(value(c, m.n[2])+m.n[2]*value(d, m.n[3]))))
}

// word is the first word of any cell.
func (m *metric) word(d *wire.Dims) uint32 {
	var i uint32
	for k := len(m.def.Dims) - 1; k >= 0; k-- {
		i = i*m.n[k] + value(d[k], m.n[k])
	}
	return m.base + m.width*i
}

// dims is the inverse of word for the cell with index i.
func (m *metric) dims(i uint32) wire.Dims {
	var d wire.Dims
	for k, n := range m.n {
		d[k] = wire.Value(i % n)
		i /= n
	}
	return d
}
