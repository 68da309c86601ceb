package recorder

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/caddy-evergreen/evergreen/wire"
)

// gather collects through a registry that checks everything it gets.
func gather(t *testing.T, c prometheus.Collector) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func TestCollector(t *testing.T) {
	r := recorderAt(t)
	r.Begin()
	r.Request(aRequest())
	r.Add(wire.HTTPRequests, wire.Dims{3, StatusOf(404), 1}, 5)
	r.Close(noon.Add(1e15)) // windows come and go, these counters stay
	want := `
# HELP caddy_evergreen_http_requests_total Requests answered, by exact status code. A request that was aborted before its status is other.
# TYPE caddy_evergreen_http_requests_total counter
caddy_evergreen_http_requests_total{protocol="http/2",role="site",status="200"} 1
caddy_evergreen_http_requests_total{protocol="http/2",role="site",status="404"} 5
# HELP caddy_evergreen_http_response_size_bytes Body bytes written to the client for a request.
# TYPE caddy_evergreen_http_response_size_bytes histogram
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="64"} 0
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="256"} 0
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="1024"} 0
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="4096"} 0
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="16384"} 1
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="65536"} 1
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="262144"} 1
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="1.048576e+06"} 1
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="4.194304e+06"} 1
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="1.6777216e+07"} 1
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="6.7108864e+07"} 1
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="2.68435456e+08"} 1
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="1.073741824e+09"} 1
caddy_evergreen_http_response_size_bytes_bucket{protocol="http/2",status_class="2xx",le="+Inf"} 1
caddy_evergreen_http_response_size_bytes_sum{protocol="http/2",status_class="2xx"} 14321
caddy_evergreen_http_response_size_bytes_count{protocol="http/2",status_class="2xx"} 1
`
	families := gather(t, r.Collector())
	var got strings.Builder
	for _, f := range families {
		switch f.GetName() {
		case "caddy_evergreen_http_requests_total", "caddy_evergreen_http_response_size_bytes":
			if _, err := expfmt.MetricFamilyToText(&got, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Caddy makes a registry for every config that it loads: each gets the collector,
// and none a second one.
func TestCollectorOnReload(t *testing.T) {
	r := recorderAt(t)
	r.Add(wire.HTTPPanics, wire.Dims{2}, 3)
	for range 3 {
		registry := prometheus.NewPedanticRegistry()
		if err := registry.Register(r.Collector()); err != nil {
			t.Fatal(err)
		}
		if err := registry.Register(r.Collector()); err == nil {
			t.Error("registered twice in one registry")
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.Metric {
				got[f.GetName()] += m.GetCounter().GetValue()
			}
		}
		if diff := cmp.Diff(map[string]float64{
			"caddy_evergreen_http_errors_panic_total": 3, "caddy_evergreen_http_requests_peak": 0, "caddy_evergreen_connections_peak": 0,
		}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// A bound of ours is in the bucket of Prometheus that has the same bound, and what
// is above it is not.
func TestPrometheusBounds(t *testing.T) {
	for _, u := range []wire.Unit{wire.Bytes, wire.Microseconds} {
		for exp := 6; exp <= 26; exp += 2 {
			words := make([]uint64, histogramWords)
			words[wire.Bucket(1<<exp)]++
			words[wire.Bucket(1<<exp+1)]++
			h := promHistogram(u, words)
			bound := float64(uint64(1) << exp)
			if u == wire.Microseconds {
				bound /= 1e6
			}
			if n, ok := h.buckets[bound]; !ok || n != 1 || h.count != 2 {
				t.Errorf("%q: %d of %d at most %v (%v)", u, n, h.count, bound, ok)
			}
		}
	}
}
