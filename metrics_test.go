package evergreen

import (
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrape is what Caddy's admin API exposes.
func scrape(t *testing.T, config map[string]any) map[string]*dto.MetricFamily {
	t.Helper()
	admin := config["admin"].(map[string]any)["listen"].(string)
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("/metrics: %s: %s", resp.Status, b)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// moveAdmin gives the admin API another address: Caddy ends the former admin
// server, which has the former metrics, in the background.
func moveAdmin(t *testing.T, config map[string]any) {
	t.Helper()
	object(config, "admin")["listen"] = "127.0.0.1:" + freePort(t)
}

// samples lists what a scrape has below a prefix: counters and gauges with their
// values, histograms with how many observations they have, and with their sum if
// that isn't a time.
func samples(families map[string]*dto.MetricFamily, prefix string) map[string]float64 {
	all := map[string]float64{}
	for name, f := range families {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			sort.Strings(labels)
			key := fmt.Sprintf("%s{%s}", name, strings.Join(labels, ","))
			switch {
			case m.Counter != nil:
				all[key] = m.GetCounter().GetValue()
			case m.Gauge != nil:
				all[key] = m.GetGauge().GetValue()
			case m.Histogram != nil:
				all[key+" count"] = float64(m.GetHistogram().GetSampleCount())
				if !strings.HasSuffix(name, "_seconds") {
					all[key+" sum"] = m.GetHistogram().GetSampleSum()
				}
			}
		}
	}
	return all
}

// Our metrics are among Caddy's, also after reloads, and Caddy's own are as
// without us: no handler more, no request more.
func TestMetricsInCaddy(t *testing.T) {
	var caddys [2]map[string]float64
	s, c := newSite(t, "metrics {\n per_host\n}", `
	respond /ok "fine"
	error /error 500
	handle /sub/* {
		header X-A b
		respond "sub"
	}
	handle_errors {
		respond "sorry" 503
	}
	`)
	for i, telemetry := range []string{"off", "on"} {
		t.Setenv("EVERGREEN_TELEMETRY", telemetry)
		moveAdmin(t, c)
		mustLoad(t, c)
		before := samples(scrape(t, c), "caddy_http_")
		traffic := func() {
			for _, protocol := range []string{"plain", "http/1.1", "http/2", "http/3"} {
				cl, end := client(t, protocol)
				for _, path := range []string{"/ok", "/error", "/sub/a", "/nothing"} {
					get(t, cl, "GET", s.url(protocol, path), nil)
				}
				end()
			}
		}
		traffic()
		if telemetry == "on" {
			wantCounts(t, map[string]float64{
				"http_requests{protocol=http/1.1,role=site,status=200}": 6,
				"http_requests{protocol=http/1.1,role=site,status=503}": 2,
				"http_requests{protocol=http/2,role=site,status=200}":   3,
				"http_requests{protocol=http/2,role=site,status=503}":   1,
				"http_requests{protocol=http/3,role=site,status=200}":   3,
				"http_requests{protocol=http/3,role=site,status=503}":   1,
			}, "http_requests")
		}
		families := scrape(t, c)
		caddys[i] = samples(families, "caddy_http_")
		for k, v := range before {
			caddys[i][k] -= v
		}
		requests := samples(families, "caddy_evergreen_http_requests_total")
		switch telemetry {
		case "off":
			if len(requests) > 0 {
				t.Errorf("off, and yet there is %v", requests)
			}
			stop(t, s)
		case "on":
			want := map[string]float64{
				"caddy_evergreen_http_requests_total{protocol=http/1.1,role=site,status=200}": 6,
				"caddy_evergreen_http_requests_total{protocol=http/1.1,role=site,status=503}": 2,
				"caddy_evergreen_http_requests_total{protocol=http/2,role=site,status=200}":   3,
				"caddy_evergreen_http_requests_total{protocol=http/2,role=site,status=503}":   1,
				"caddy_evergreen_http_requests_total{protocol=http/3,role=site,status=200}":   3,
				"caddy_evergreen_http_requests_total{protocol=http/3,role=site,status=503}":   1,
			}
			if diff := cmp.Diff(want, requests); diff != "" {
				t.Errorf("our metrics (-want +got):\n%s", diff)
			}
			// Caddy has a new registry for each configuration; our counters go on.
			moveAdmin(t, c)
			mustLoad(t, c)
			if diff := cmp.Diff(want, samples(scrape(t, c), "caddy_evergreen_http_requests_total")); diff != "" {
				t.Errorf("our metrics after a reload (-want +got):\n%s", diff)
			}
		}
	}
	if len(caddys[0]) < 20 {
		t.Errorf("Caddy's own metrics are only %v", caddys[0])
	}
	if diff := cmp.Diff(caddys[0], caddys[1]); diff != "" {
		t.Errorf("Caddy's own metrics (-without +with):\n%s", diff)
	}
}
