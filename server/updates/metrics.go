package updates

import "github.com/prometheus/client_golang/prometheus"

// An outcome is how a check was answered.
const (
	outcomeCurrent   = "current"   // nothing is to be done
	outcomeTarget    = "target"    // there is an executable
	outcomeBuilding  = "building"  // there will be
	outcomeFailed    = "failed"    // it can't be built
	outcomeTold      = "told"      // an update is needed that isn't built here
	outcomeUnchanged = "unchanged" // as the asker knows
	outcomeRefused   = "refused"   // the check can't be answered ever
	outcomeLimited   = "limited"   // its sender asks too much
	outcomeBusy      = "busy"      // later
	outcomePlanning  = "planning"  // later
	outcomeError     = "error"
	outcomeHungUp    = "hung_up"
)

type metrics struct {
	checks   *prometheus.CounterVec
	duration prometheus.Histogram
	memory   *prometheus.CounterVec
	planning prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, u *Updates) (*metrics, error) {
	m := &metrics{
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "evergreen_updates_checks_total",
			Help: "Checks by how they were answered."}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "evergreen_updates_check_seconds", Buckets: prometheus.ExponentialBuckets(0.00001, 4, 12),
			Help: "Time from a check's header to the end of its answer."}),
		memory: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "evergreen_updates_answers_total",
			Help: "Answers that were in memory, were being made for somebody else, or were made."}, []string{"from"}),
		planning: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "evergreen_updates_plan_seconds", Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
			Help: "Time of a plan."}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.checks, m.duration, m.memory, m.planning,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "evergreen_updates_answers", Help: "Answers in memory."},
			func() float64 { n, _ := u.answers.size(); return float64(n) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "evergreen_updates_answers_bytes", Help: "Bytes of answers in memory."},
			func() float64 { _, n := u.answers.size(); return float64(n) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "evergreen_updates_planning", Help: "Plans that are being made, or wait for their turn."},
			func() float64 { return float64(len(u.waiting)) }),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
