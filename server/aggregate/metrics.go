package aggregate

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	records, duplicates, poison, batches, rows, errors prometheus.Counter
	lag                                                prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "evergreen", Subsystem: "aggregate", Name: name, Help: help})
		all = append(all, c)
		return c
	}
	m := &metrics{
		records:    counter("records_total", "Reports that were counted."),
		duplicates: counter("duplicates_total", "Reports that had been counted before."),
		poison:     counter("undecodable_total", "Records that were skipped because they can't be decoded."),
		batches:    counter("batches_total", "Batches that were stored."),
		rows:       counter("rows_total", "Rows of these batches."),
		errors:     counter("errors_total", "Attempts that failed and were or are repeated."),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "evergreen", Subsystem: "aggregate", Name: "lag_seconds",
			Help: "How long ago the last stored record had been received when it was stored."}),
	}
	if r != nil {
		r.MustRegister(append(all, m.lag)...)
	}
	return m
}

func (m *metrics) committed(s stats, rows int) {
	m.records.Add(float64(s.records))
	m.duplicates.Add(float64(s.duplicates))
	m.poison.Add(float64(s.poison))
	m.batches.Inc()
	m.rows.Add(float64(rows))
}
