package recorder

import (
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/wire"
)

func newRecorder(t testing.TB, off ...string) *Recorder {
	t.Helper()
	r, err := New(Options{Off: off})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func aRequest() *Request {
	return &Request{
		Protocol: 3, Method: "GET", Status: 200, Transport: 2, Family: 1, Role: 1,
		UserAgent:    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36",
		RequestBytes: 0, ResponseBytes: 14_321, FirstByte: 312 * time.Microsecond, Duration: 518 * time.Microsecond,
	}
}

// A whole request with all its metrics: Begin and Request.
func BenchmarkRequest(b *testing.B) {
	b.Run("recorder", func(b *testing.B) {
		r, q := newRecorder(b), aRequest()
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			r.Begin()
			r.Request(q)
		}
	})
	b.Run("recorder-parallel", func(b *testing.B) {
		r := newRecorder(b)
		b.ReportAllocs()
		defer reportCPU(b)()
		b.RunParallel(func(pb *testing.PB) {
			q := aRequest()
			for pb.Next() {
				r.Begin()
				r.Request(q)
			}
		})
	})
	// The same counting with Prometheus, the client already told.
	b.Run("prometheus-labels", func(b *testing.B) {
		p, q := newPrometheus(), aRequest()
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			p.request(q)
		}
	})
	b.Run("prometheus-labels-parallel", func(b *testing.B) {
		p := newPrometheus()
		b.ReportAllocs()
		defer reportCPU(b)()
		b.RunParallel(func(pb *testing.PB) {
			q := aRequest()
			for pb.Next() {
				p.request(q)
			}
		})
	})
}

func BenchmarkCounter(b *testing.B) {
	b.Run("recorder", func(b *testing.B) {
		r := newRecorder(b)
		m := &r.requests
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			if r.off[0].Load()&m.bit == 0 {
				r.stripe()[m.cell3(3, 101, 1)].Add(1)
			}
		}
	})
	b.Run("recorder-add", func(b *testing.B) {
		r := newRecorder(b)
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			r.Add(wire.HTTPRequests, wire.Dims{3, 101, 1}, 1)
		}
	})
	b.Run("prometheus-labels", func(b *testing.B) {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests"}, []string{"protocol", "status", "role"})
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			v.WithLabelValues("http/2", "200", "site").Inc()
		}
	})
	b.Run("prometheus-resolved", func(b *testing.B) {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests"}, []string{"protocol", "status", "role"}).WithLabelValues("http/2", "200", "site")
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			c.Inc()
		}
	})
}

func BenchmarkHistogram(b *testing.B) {
	b.Run("recorder", func(b *testing.B) {
		r := newRecorder(b)
		m := &r.duration
		var v int64
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			if r.off[0].Load()&m.bit == 0 {
				observe(r.stripe(), m.cell2(3, 2), v)
			}
			v = (v*5 + 1) & 0xfffff
		}
	})
	bounds := prometheus.ExponentialBuckets(64e-6, 2, 21)
	b.Run("prometheus-labels", func(b *testing.B) {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "duration", Buckets: bounds}, []string{"protocol", "status_class"})
		var v int64
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			h.WithLabelValues("http/2", "2xx").Observe(float64(v) / 1e6)
			v = (v*5 + 1) & 0xfffff
		}
	})
	b.Run("prometheus-resolved", func(b *testing.B) {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "duration", Buckets: bounds}, []string{"protocol", "status_class"}).WithLabelValues("http/2", "2xx")
		var v int64
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			h.Observe(float64(v) / 1e6)
			v = (v*5 + 1) & 0xfffff
		}
	})
}

// promCounting counts with Prometheus what Request counts.
type promCounting struct {
	inFlight                                prometheus.Gauge
	requests, method, transport             *prometheus.CounterVec
	clients, browsers, platforms            *prometheus.CounterVec
	requestSize, responseSize, first, total *prometheus.HistogramVec
}

func newPrometheus() *promCounting {
	counter := func(name string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name}, labels)
	}
	histogram := func(name string, bounds []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Buckets: bounds}, []string{"protocol", "status_class"})
	}
	sizes, times := prometheus.ExponentialBuckets(64, 4, 13), prometheus.ExponentialBuckets(64e-6, 2, 21)
	return &promCounting{
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "in_flight"}),
		requests: counter("requests", "protocol", "status", "role"), method: counter("method", "method", "status_class", "role"),
		transport: counter("transport", "transport", "family", "protocol", "role"), clients: counter("clients", "kind", "protocol"),
		browsers: counter("browsers", "browser", "version"), platforms: counter("platforms", "os", "kind"),
		requestSize: histogram("request_size", sizes), responseSize: histogram("response_size", sizes),
		first: histogram("first_byte", times), total: histogram("duration", times),
	}
}

func (p *promCounting) request(q *Request) {
	p.inFlight.Inc()
	p.requests.WithLabelValues("http/2", strconv.Itoa(q.Status), "site").Inc()
	p.method.WithLabelValues(q.Method, "2xx", "site").Inc()
	p.transport.WithLabelValues("tls", "ipv4", "http/2", "site").Inc()
	p.requestSize.WithLabelValues("http/2", "2xx").Observe(float64(q.RequestBytes))
	p.responseSize.WithLabelValues("http/2", "2xx").Observe(float64(q.ResponseBytes))
	p.first.WithLabelValues("http/2", "2xx").Observe(q.FirstByte.Seconds())
	p.total.WithLabelValues("http/2", "2xx").Observe(q.Duration.Seconds())
	p.clients.WithLabelValues("browser", "http/2").Inc()
	p.browsers.WithLabelValues("chrome", "143").Inc()
	p.platforms.WithLabelValues("windows", "browser").Inc()
	p.inFlight.Dec()
}
