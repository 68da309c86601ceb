package collect

import (
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	appending prometheus.Histogram
	bytes     prometheus.Counter
	windows   prometheus.Counter
	dropped   prometheus.Counter
}

func newMetrics() *metrics {
	buckets := prometheus.ExponentialBuckets(0.0001, 2, 18)
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "evergreen_collect_requests_total",
			Help: "Requests by path (report, forget) and outcome: ok, or why they were refused."}, []string{"path", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "evergreen_collect_request_seconds", Buckets: buckets,
			Help: "Time from a request's header to the end of its answer."}, []string{"path"}),
		appending: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "evergreen_collect_append_seconds", Buckets: buckets,
			Help: "Time until the ingest log said that a report is durable, or that it isn't."}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "evergreen_collect_body_bytes_total",
			Help: "Bytes of bodies read, as sent."}),
		windows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "evergreen_collect_windows_total",
			Help: "Windows in stored reports."}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "evergreen_collect_dropped_metrics_total",
			Help: "Series and cells of reports that the dictionary doesn't have."}),
	}
}

func (m *metrics) register(r prometheus.Registerer, c *Collector) error {
	for _, col := range []prometheus.Collector{
		m.requests, m.duration, m.appending, m.bytes, m.windows, m.dropped,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "evergreen_collect_in_flight",
			Help: "Requests that are being read, checked or stored."},
			func() float64 { return float64(len(c.inFlight)) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "evergreen_collect_senders",
			Help: "Senders whose rate is remembered."},
			func() float64 { return float64(c.admit.each.Len()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "evergreen_collect_report_every_seconds",
			Help: "How often instances are told to report."},
			func() float64 { return c.pace.current().Seconds() }),
	} {
		if err := r.Register(col); err != nil {
			return err
		}
	}
	return nil
}

// health logs when storing begins to fail and when it works again, instead of
// every refused report.
type health struct {
	mu     sync.Mutex
	failed bool
}

func (h *health) note(log *slog.Logger, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if failed := err != nil; failed != h.failed {
		h.failed = failed
		if failed {
			log.Error("reports can't be stored; senders keep them and were asked to come back", "error", err)
		} else {
			log.Info("reports are stored again")
		}
	}
}
