package recorder

import (
	"math"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Collector shows all that is counted to Prometheus, as caddy_evergreen_…: the
// same words that windows are made of, since the start of the process, cells
// with events only. It is the same collector each time, so that registering it
// with the registry of every config that Caddy loads shows the same counters.
func (r *Recorder) Collector() prometheus.Collector { return r.collector }

type collector struct {
	r     *Recorder
	descs []*prometheus.Desc // by position in the layout
}

func newCollector(r *Recorder) *collector {
	c := &collector{r: r}
	for _, m := range r.layout.metrics {
		labels := make([]string, len(m.def.Dims))
		for i, d := range m.def.Dims {
			labels[i] = d.Name
		}
		c.descs = append(c.descs, prometheus.NewDesc(promName(m.def), m.def.Doc, labels, nil))
	}
	return c
}

// promName follows Prometheus's conventions: base units, and _total for counters.
func promName(m *wire.Metric) string {
	name := "caddy_evergreen_" + strings.ReplaceAll(m.Name, ".", "_")
	switch m.Unit {
	case wire.Bytes:
		name += "_bytes"
	case wire.Microseconds:
		name += "_seconds"
	}
	if m.Kind == wire.KindCounter {
		name += "_total"
	}
	return name
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.r.late()
	for _, m := range c.metrics() {
		ch <- m
	}
}

// metrics reads everything first, so that a slow receiver does not hold the lock.
func (c *collector) metrics() []prometheus.Metric {
	r := c.r
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []prometheus.Metric
	for i := range r.layout.metrics {
		m := &r.layout.metrics[i]
		if r.isOff(m) {
			continue
		}
		now := r.read(m)
		switch m.def.Kind {
		case wire.KindCounter:
			for k := range m.cells {
				if n := now[k]; n != 0 {
					out = append(out, prometheus.MustNewConstMetric(c.descs[i], prometheus.CounterValue, float64(n), labels(m, k)...))
				}
			}
		case wire.KindHistogram:
			for k := range m.cells {
				if h := promHistogram(m.def.Unit, now[k*m.width:][:m.width]); h.count != 0 {
					out = append(out, prometheus.MustNewConstHistogram(c.descs[i], h.count, h.sum, h.buckets, labels(m, k)...))
				}
			}
		case wire.KindPeak:
			out = append(out, prometheus.MustNewConstMetric(c.descs[i], prometheus.GaugeValue, float64(r.gauge(m.def.ID).peak.Load())))
		}
	}
	return out
}

func labels(m *metric, cell uint32) []string {
	d := m.dims(cell)
	names := make([]string, len(m.def.Dims))
	for i, dim := range m.def.Dims {
		names[i] = dim.ValueName(d[i])
	}
	return names
}

type histogram struct {
	count   uint64
	sum     float64
	buckets map[float64]uint64 // cumulative
}

// promHistogram coarsens a histogram for Prometheus, where each bucket is a
// series: times by powers of 2 from 64 µs to 67 s, sizes by powers of 4 from
// 64 B to 1 GB. Bounds of ours are bounds of theirs, so that nothing is estimated.
func promHistogram(u wire.Unit, words []uint64) histogram {
	h := histogram{sum: float64(words[sumWord]), buckets: map[float64]uint64{}}
	scale, step, last := 1.0, 8, 4*30
	if u == wire.Microseconds {
		scale, step, last = 1e6, 4, 4*26
	}
	h.sum /= scale
	for b, n := range words[:wire.Buckets] {
		h.count += n
		if b >= 4*6 && b <= last && (b-4*6)%step == 0 {
			h.buckets[math.Exp2(float64(b/4))/scale] = h.count
		}
	}
	return h
}
