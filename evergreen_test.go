package evergreen

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go/http3"
)

// The tests run a real Caddy in this process, one configuration after the other.

func TestMain(m *testing.M) {
	if os.Getenv(asCaddy) != "" {
		caddy.RegisterModule(misbehave{})
		caddycmd.Main()
		return
	}
	dir, err := os.MkdirTemp("", "evergreen")
	if err != nil {
		panic(err)
	}
	for k, v := range map[string]string{
		"HOME": dir, "XDG_DATA_HOME": dir, "XDG_CONFIG_HOME": dir, "EVERGREEN_TELEMETRY": "", "DO_NOT_TRACK": "", "EVERGREEN_ENDPOINT": "",
		"EVERGREEN_UPDATES": "", "EVERGREEN_UPDATES_SERVER": "", "EVERGREEN_ROOT": "",
	} {
		if err := os.Setenv(k, v); err != nil {
			panic(err)
		}
	}
	caddy.RegisterModule(misbehave{})
	caddy.RegisterModule(notes{})
	caddy.RegisterModule(grumble{})
	registerMisbehaveDirective()
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// asCaddy in the environment makes this test's executable a Caddy.
const asCaddy = "EVERGREEN_TEST_AS_CADDY"

// misbehave is a handler that does what handlers should not.
type misbehave struct {
	How string `json:"how"`
}

func (misbehave) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.misbehave", New: func() caddy.Module { return new(misbehave) }}
}

// waiting tells that a hanging handler was reached.
var waiting = make(chan struct{}, 100)

func (h *misbehave) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	switch h.How {
	case "panic":
		panic("as the test asked")
	case "abort":
		panic(http.ErrAbortHandler)
	case "hang":
		waiting <- struct{}{}
		<-r.Context().Done()
		return r.Context().Err()
	case "stream":
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		waiting <- struct{}{}
		<-r.Context().Done()
		return nil
	case "upgrade":
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return err
		}
		defer c.Close()
		line, err := rw.ReadString('\n')
		if err != nil {
			return nil
		}
		_, _ = io.WriteString(c, line)
		return nil
	case "early":
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
		return nil
	case "echo":
		_, err := io.Copy(w, r.Body)
		return err
	}
	return fmt.Errorf("misbehave: %q is nothing it knows", h.How)
}

// adapt makes JSON of a Caddyfile, with storage and admin endpoint of the test's.
func adapt(t *testing.T, caddyfile string) map[string]any {
	t.Helper()
	b, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	if c == nil {
		c = map[string]any{}
	}
	if c["admin"] == nil {
		c["admin"] = map[string]any{"listen": "127.0.0.1:" + freePort(t)}
	}
	c["admin"].(map[string]any)["config"] = map[string]any{"persist": false}
	c["storage"] = map[string]any{"module": "file_system", "root": filepath.Join(caddy.AppDataDir(), "storage")}
	quietTLS(t, c)
	return c
}

func load(t *testing.T, c map[string]any) error {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return caddy.Load(b, true)
}

func mustLoad(t *testing.T, c map[string]any) {
	t.Helper()
	if err := load(t, c); err != nil {
		t.Fatal(err)
	}
}

// stop ends Caddy and waits until nobody listens for the site any more. On a
// reload with the same addresses Caddy may accept a connection with the old
// server and close it unserved.
func stop(t *testing.T, s testSite) {
	t.Helper()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{s.http, s.https} {
		eventually(t, "nobody listens on port "+port, func() bool {
			conn, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ports, err := freeport.Pick(1)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(ports[0])
}

// A site is what the tests serve: plain HTTP, TLS, and the ports of both.
type testSite struct{ http, https string }

// newSite writes a configuration; body is Caddyfile directives.
func newSite(t *testing.T, global, body string) (testSite, map[string]any) {
	t.Helper()
	s := testSite{freePort(t), freePort(t)}
	return s, adapt(t, fmt.Sprintf(`{
	http_port %s
	https_port %s
	skip_install_trust
	grace_period 2s
	order misbehave first
	%s
}
http://localhost:%s, https://localhost {
	bind 127.0.0.1
	%s
}
`, s.http, s.https, strings.ReplaceAll(global, "\n", "\n\t"), s.http, body))
}

var insecure = &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"} //nolint:gosec // signed by itself

// clients of the three protocols; their connections end with end.
func client(t *testing.T, protocol string) (c *http.Client, end func()) {
	t.Helper()
	switch protocol {
	case "http/3":
		tr := &http3.Transport{TLSClientConfig: insecure.Clone()}
		return &http.Client{Transport: tr, CheckRedirect: noRedirect}, func() { _ = tr.Close() }
	case "http/2":
		// One connection: else a request that comes while the first one's is being
		// put among the idle ones dials a spare, which Caddy counts, too.
		tr := &http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true, MaxConnsPerHost: 1}
		return &http.Client{Transport: tr, CheckRedirect: noRedirect}, tr.CloseIdleConnections
	default:
		tr := &http.Transport{TLSClientConfig: insecure.Clone()}
		return &http.Client{Transport: tr, CheckRedirect: noRedirect}, tr.CloseIdleConnections
	}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func get(t *testing.T, c *http.Client, method, url string, body io.Reader) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "curl/8.5.0")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// counts reads the recorder's counters and the counts of its histograms, as
// "metric{label=value,…}", without the prefix of all; only those of metrics.
func counts(t *testing.T, metrics ...string) map[string]float64 {
	t.Helper()
	p := currentProcess()
	if p == nil {
		return map[string]float64{}
	}
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(p.rec.Collector()); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		name := strings.TrimSuffix(strings.TrimPrefix(f.GetName(), "caddy_evergreen_"), "_total")
		if !slices.Contains(metrics, name) {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			sort.Strings(labels)
			key := name + "{" + strings.Join(labels, ",") + "}"
			switch {
			case m.Counter != nil:
				all[key] = m.GetCounter().GetValue()
			case m.Gauge != nil:
				all[key] = m.GetGauge().GetValue()
			case m.Histogram != nil:
				all[key] = float64(m.GetHistogram().GetSampleCount())
				all[key+" sum"] = m.GetHistogram().GetSampleSum()
			}
		}
	}
	return all
}

// wantCounts waits until the counts are as wanted: what ends a request or a
// connection is counted just after the client has seen it.
func wantCounts(t *testing.T, want map[string]float64, metrics ...string) {
	t.Helper()
	var diff string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if diff = cmp.Diff(want, counts(t, metrics...)); diff == "" {
			// Nothing more may come.
			time.Sleep(20 * time.Millisecond)
			if diff = cmp.Diff(want, counts(t, metrics...)); diff == "" {
				return
			}
		}
	}
	t.Fatalf("counts (-want +got):\n%s", diff)
}

func (s testSite) url(protocol, path string) string {
	if protocol == "plain" {
		return "http://localhost:" + s.http + path
	}
	return "https://localhost:" + s.https + path
}

func TestThreeProtocols(t *testing.T) {
	s, c := newSite(t, "", `
	respond /ok "fine"
	respond /teapot 418
	error /error 403
	misbehave /echo echo
	misbehave /early early
	respond /rewritten "no"
	`)
	mustLoad(t, c)

	for _, test := range []struct{ name, protocol string }{{"plain", "http/1.1"}, {"http/1.1", "http/1.1"}, {"http/2", "http/2"}, {"http/3", "http/3"}} {
		before := counts(t, "http_requests", "http_errors_handler", "http_requests_method", "http_response_size_bytes", "http_request_size_bytes", "http_requests_transport", "clients_tools")
		cl, end := client(t, test.name)
		for _, q := range []struct {
			method, path, body string
			status             int
			answer             string
		}{
			{"GET", "/ok", "", 200, "fine"},
			{"GET", "/ok", "", 200, "fine"},
			{"HEAD", "/ok", "", 200, ""},
			{"GET", "/teapot", "", 418, ""},
			{"GET", "/error", "", 403, ""},
			{"GET", "/nothing", "", 200, ""},
			{"GET", "/early", "", 202, ""},
			{"POST", "/echo", "hello", 200, "hello"},
		} {
			var body io.Reader
			if q.body != "" {
				body = strings.NewReader(q.body)
			}
			status, answer := get(t, cl, q.method, s.url(test.name, q.path), body)
			if status != q.status || answer != q.answer {
				t.Fatalf("%s: %s %s: %d %q", test.name, q.method, q.path, status, answer)
			}
		}
		end()
		p := "protocol=" + test.protocol
		transport := "tls"
		if test.name == "plain" {
			transport = "plain"
		}
		want := map[string]float64{
			"http_requests{" + p + ",role=site,status=200}":                                        5,
			"http_requests{" + p + ",role=site,status=202}":                                        1,
			"http_requests{" + p + ",role=site,status=418}":                                        1,
			"http_requests{" + p + ",role=site,status=403}":                                        1,
			"http_errors_handler{role=site,status=403}":                                            1,
			"http_requests_method{method=GET,role=site,status_class=2xx}":                          4,
			"http_requests_method{method=GET,role=site,status_class=4xx}":                          2,
			"http_requests_method{method=HEAD,role=site,status_class=2xx}":                         1,
			"http_requests_method{method=POST,role=site,status_class=2xx}":                         1,
			"http_requests_transport{family=ipv4," + p + ",role=site,transport=" + transport + "}": 8,
			"http_response_size_bytes{" + p + ",status_class=2xx}":                                 6,
			"http_response_size_bytes{" + p + ",status_class=4xx}":                                 2,
			"http_request_size_bytes{" + p + ",status_class=2xx}":                                  6,
			"http_request_size_bytes{" + p + ",status_class=4xx}":                                  2,
			"clients_tools{tool=curl}":                                                             8,
		}
		for k, v := range before {
			if !strings.HasSuffix(k, " sum") {
				want[k] += v
			}
		}
		metrics := []string{"http_requests", "http_errors_handler", "http_requests_method", "http_response_size_bytes", "http_request_size_bytes", "http_requests_transport", "clients_tools"}
		deadline := time.Now().Add(10 * time.Second)
		for {
			got := counts(t, metrics...)
			for k := range got {
				if strings.HasSuffix(k, " sum") {
					delete(got, k)
				}
			}
			diff := cmp.Diff(want, got)
			if diff == "" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: counts (-want +got):\n%s", test.name, diff)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}

	// One connection of each, and a handshake for those with TLS.
	wantCounts(t, map[string]float64{
		"connections{family=ipv4,protocol=http/1.1,role=site,transport=plain}": 1,
		"connections{family=ipv4,protocol=http/1.1,role=site,transport=tls}":   1,
		"connections{family=ipv4,protocol=http/2,role=site,transport=tls}":     1,
		"connections{family=ipv4,protocol=http/3,role=site,transport=tls}":     1,
		"tls_alpn{alpn=h2}":         1,
		"tls_alpn{alpn=h3}":         1,
		"tls_alpn{alpn=none}":       1,
		"tls_sni{presence=present}": 3,
		"tls_groups{group=X25519MLKEM768,tls_version=TLS 1.3}": 3,
	}, "connections", "tls_alpn", "tls_sni", "tls_groups")
}
