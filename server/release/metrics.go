package release

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	polls *prometheus.CounterVec
	all   []prometheus.Collector
}

func newMetrics(s *Service) *metrics {
	m := &metrics{polls: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "evergreen_release_polls_total",
		Help: "Modules that the module proxy was asked for, by outcome: ok or failed."}, []string{"outcome"})}
	gauge := func(name, help string, f func(*Snapshot) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return f(s.Snapshot()) })
	}
	m.all = []prometheus.Collector{m.polls,
		gauge("evergreen_release_modules", "Modules of which a version is known.", func(s *Snapshot) float64 { return float64(len(s.releases)) }),
		gauge("evergreen_release_proposals", "Tags that wait for a second person.", func(s *Snapshot) float64 { return float64(len(s.proposals)) }),
		gauge("evergreen_advisories_as_of_seconds", "When the database of vulnerabilities was last changed, in Unix seconds; 0 if there is none.", func(s *Snapshot) float64 {
			if s.AsOf().IsZero() {
				return 0
			}
			return float64(s.AsOf().Unix())
		}),
	}
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	var errs []error
	for _, c := range m.all {
		errs = append(errs, r.Register(c))
	}
	return errors.Join(errs...)
}
