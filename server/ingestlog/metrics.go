package ingestlog

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	registerer prometheus.Registerer
	all        []prometheus.Collector

	records, bytes, batches prometheus.Counter
	full, syncErrors        prometheus.Counter
	damaged, torn, erased   prometheus.Counter
	syncSeconds             prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, l *Log) (*metrics, error) {
	m := &metrics{registerer: r}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "evergreen", Subsystem: "ingestlog", Name: name, Help: help})
		m.all = append(m.all, c)
		return c
	}
	gauge := func(name, help string, f func() float64) {
		m.all = append(m.all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "evergreen", Subsystem: "ingestlog", Name: name, Help: help}, f))
	}
	m.records = counter("records_total", "Records that are on disk and acknowledged.")
	m.bytes = counter("appended_bytes_total", "Bytes of these records, with frames.")
	m.batches = counter("batches_total", "Writes, each with one fdatasync.")
	m.full = counter("full_total", "Batches refused for want of room.")
	m.syncErrors = counter("sync_errors_total", "Failed fdatasyncs.")
	m.damaged = counter("damaged_total", "Damaged places met while reading.")
	m.torn = counter("torn_bytes_total", "Bytes cut at start behind the last whole record.")
	m.erased = counter("erased_total", "Records erased because their instance asked for it.")
	m.syncSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "evergreen", Subsystem: "ingestlog", Name: "sync_seconds", Help: "Duration of write and fdatasync.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
	})
	m.all = append(m.all, m.syncSeconds)
	gauge("bytes", "Bytes of all segments.", func() float64 { return float64(l.Size()) })
	gauge("segments", "Segments.", func() float64 {
		l.mu.RLock()
		defer l.mu.RUnlock()
		return float64(len(l.segments))
	})
	if r == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := r.Register(c); err != nil {
			m.all = m.all[:i]
			m.unregister()
			return nil, errors.Join(errors.New("registering the ingest log's metrics"), err)
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
}
