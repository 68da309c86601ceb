//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/testbed"
)

// A ledger is what was sent, in the store's terms.
type ledger struct {
	requests, methods, agents, tls map[string]uint64
	connections, aborted           map[string]uint64
}

func newLedger() *ledger {
	return &ledger{map[string]uint64{}, map[string]uint64{}, map[string]uint64{}, map[string]uint64{}, map[string]uint64{}, map[string]uint64{}}
}

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"

// TestE2EReports sends known traffic to a Caddy whose Caddyfile has no word of
// us, and finds exactly that in the store.
func TestE2EReports(t *testing.T) {
	for _, version := range caddyVersions {
		t.Run(version, func(t *testing.T) {
			exe := caddyWith(t, version)
			srv := startServer(t)
			upstream := startHanging(t)
			site := func(p testbed.Ports) string {
				return testbed.Site(p, "\thandle /slow {\n\t\treverse_proxy "+upstream.addr+"\n\t}")
			}
			caddy, tries := startCaddy(t, exe, site, "EVERGREEN_ENDPOINT="+srv.URL())
			before := configOf(t, caddy)

			want := newLedger()
			want.connections["other tls site"] += uint64(tries) // no request came over any of them
			want.tls["TLS 1.3 full"]++                          // and only the last handshake succeeded
			sendKnown(t, caddy, upstream, want)
			// A reload in the middle must neither lose nor double anything.
			if _, err := caddy.Command(t.Context(), "reload", "--force", "--config", filepath.Join(caddy.Dir, "Caddyfile"), "--address", fmt.Sprintf("localhost:%d", caddy.Ports.Admin)); err != nil {
				t.Fatal(err)
			}
			sendKnown(t, caddy, upstream, want)
			if after := configOf(t, caddy); !bytes.Equal(before, after) {
				t.Errorf("Caddy's stored configuration changed:\n%s\n%s", before, after)
			}

			checkCommands(t, srv, caddy)
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
			var total uint64
			for _, n := range want.requests {
				total += n
			}
			eventually(t, 60*time.Second, func() error {
				a, err := srv.query(t.Context(), "http.requests")
				if err == nil && a.Total < total {
					err = fmt.Errorf("%d of %d requests are in the store", a.Total, total)
				}
				return err
			})
			for _, c := range []struct {
				metric string
				dims   []string
				want   map[string]uint64
			}{
				{"http.requests", []string{"protocol", "status", "role"}, want.requests},
				{"http.requests.method", []string{"method", "status_class", "role"}, want.methods},
				{"clients.requests", []string{"kind", "protocol"}, want.agents},
				{"tls.connections", []string{"tls_version", "resumption"}, want.tls},
				{"connections", []string{"protocol", "transport", "role"}, want.connections},
				{"http.errors.aborted", []string{"protocol", "phase"}, want.aborted},
			} {
				if diff := cmp.Diff(c.want, srv.counts(t, c.metric, c.dims...)); diff != "" {
					t.Errorf("%s is not what was sent (-sent +stored):\n%s", c.metric, diff)
				}
			}
			histogram, err := srv.query(t.Context(), "http.duration")
			if err != nil || histogram.Total != total {
				t.Errorf("http.duration has %d observations of %d requests (%v)", histogram.Total, total, err)
			}
			if got := srv.counts(t, "instances.version", "label"); got[version] != 1 || len(got) != 1 {
				t.Errorf("instances by version: %v, want one with %s", got, version)
			}
			if got := srv.counts(t, "instances.features", "feature"); got["http.handlers.reverse_proxy"] != 1 || got["http.handlers.file_server"] != 0 {
				t.Errorf("features in use: %v", got)
			}
		})
	}
}

// sendKnown sends every kind of request over every version of HTTP, each over
// one new connection, and the plain ones to the redirect server.
func sendKnown(t *testing.T, caddy *testbed.Caddy, upstream *hanging, l *ledger) {
	t.Helper()
	for _, proto := range testbed.Protocols {
		client := clientOf(t, caddy, proto)
		for _, r := range []struct {
			method, path, agent, kind string
			status, times             int
		}{
			{"GET", "/", firefox, "browser", 200, 5},
			{"HEAD", "/", "curl/8.14.1", "tool", 200, 1},
			{"GET", "/old", firefox, "browser", 301, 2},
			{"POST", "/upload", firefox, "browser", 204, 2},
			{"GET", "/missing", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot", 404, 3},
			{"GET", "/teapot", firefox, "browser", 418, 1},
			{"GET", "/broken", firefox, "browser", 500, 2},
			{"GET", "/away", firefox, "browser", 502, 1},
			{"PROPFIND", "/", "", "none", 200, 1},
			{"BREW", "/teapot", firefox, "browser", 418, 1},
		} {
			for range r.times {
				status := request(t, client, r.method, fmt.Sprintf("https://localhost:%d%s", caddy.Ports.HTTPS, r.path), r.agent)
				if status != r.status {
					t.Fatalf("%s %s over %s answered %d, want %d", r.method, r.path, proto, status, r.status)
				}
				method := r.method
				if method == "BREW" {
					method = "other"
				}
				l.requests[fmt.Sprintf("%s %d site", proto, r.status)]++
				l.methods[fmt.Sprintf("%s %dxx site", method, r.status/100)]++
				l.agents[r.kind+" "+proto]++
			}
		}
		abort(t, client, fmt.Sprintf("https://localhost:%d/slow", caddy.Ports.HTTPS), upstream)
		l.requests[proto+" other site"]++ // no status reached the client
		l.methods["GET other site"]++
		l.agents["browser "+proto]++
		l.aborted[proto+" before_header"]++
		if proto == "http/1.1" {
			for range 3 {
				if status := request(t, client, "GET", fmt.Sprintf("http://localhost:%d/", caddy.Ports.HTTP), firefox); status != 308 {
					t.Fatalf("the redirect server answered %d", status)
				}
				l.requests["http/1.1 308 redirect"]++
				l.methods["GET 3xx redirect"]++
				l.agents["browser http/1.1"]++
				l.connections["http/1.1 plain redirect"]++ // that server closes each after its answer
			}
		}
		client.Close()
		l.tls["TLS 1.3 full"]++
		l.connections[proto+" tls site"]++
	}
}

func request(t *testing.T, client *testbed.Client, method, url, agent string) int {
	t.Helper()
	var body io.Reader
	if method == "POST" {
		body = strings.NewReader(strings.Repeat("x", 1000))
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", agent)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// hanging is an upstream that answers no request and says when one has come.
type hanging struct {
	addr  string
	came  chan struct{}
	ended chan struct{}
}

func startHanging(t *testing.T) *hanging {
	t.Helper()
	h := &hanging{came: make(chan struct{}), ended: make(chan struct{})}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		h.came <- struct{}{}
		<-r.Context().Done()
		h.ended <- struct{}{}
	}))
	t.Cleanup(s.Close)
	h.addr = s.Listener.Addr().String()
	return h
}

// abort gives up on a request once it has reached the upstream, and returns
// when Caddy has passed that on.
func abort(t *testing.T, client *testbed.Client, url string, upstream *hanging) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", firefox)
	go func() {
		<-upstream.came
		cancel()
	}()
	if resp, err := client.Do(req); err == nil {
		resp.Body.Close()
		t.Fatalf("a request that was given up on was answered with %s", resp.Status)
	}
	select {
	case <-upstream.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("Caddy did not tell the upstream that the client has gone")
	}
}

// checkCommands runs what an operator would, against the running Caddy.
func checkCommands(t *testing.T, srv *server, caddy *testbed.Caddy) {
	t.Helper()
	var status map[string]any
	out, err := caddy.Evergreen(t.Context(), "status", "--json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		t.Errorf("status --json: %v\n%s", err, out)
	}
	out, err = caddy.Evergreen(t.Context(), "report", "--json")
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"localhost", "127.0.0.1", "/teapot", "Hello. This"} {
		if strings.Contains(out, secret) {
			t.Errorf("the report holds %q:\n%s", secret, out)
		}
	}
	link, err := caddy.Evergreen(t.Context(), "link")
	if err != nil {
		t.Fatal(err)
	}
	link = strings.TrimSpace(link)
	eventually(t, 30*time.Second, func() error {
		page, err := srv.Get(t.Context(), link)
		if err == nil && !bytes.Contains(page, []byte("v2.11.")) {
			err = errors.New("the instance's own page does not show its version")
		}
		return err
	})
	bad := strings.Replace(link, "signature=", "signature=00", 1)
	if _, err := srv.Get(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a link with a wrong signature: %v, want 403", err)
	}
}

func configOf(t *testing.T, caddy *testbed.Caddy) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, caddy.AdminURL("/config/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
