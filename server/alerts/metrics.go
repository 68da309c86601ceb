package alerts

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	looks, failures  prometheus.Counter
	events, attempts *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		looks:    prometheus.NewCounter(prometheus.CounterOpts{Name: "evergreen_alert_looks_total", Help: "Watched numbers that were read and judged."}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "evergreen_alert_look_failures_total", Help: "Subscriptions of which a number could not be read."}),
		events:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evergreen_alert_events_total", Help: "Events that subscribers are told of."}, []string{"type"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evergreen_alert_attempts_total", Help: "Attempts to deliver an event to a webhook."}, []string{"outcome"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.looks, m.failures, m.events, m.attempts} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
