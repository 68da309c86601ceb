//go:build e2e

package e2e

import (
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/server/testbed/programs"
)

// startCaddyFor runs a Caddy whose sites have certificates of ca's: programs
// trust files, not what Caddy makes.
func startCaddyFor(t *testing.T, exe string, ca *programs.Authority, site func(testbed.Ports) string, env ...string) *testbed.Caddy {
	t.Helper()
	ports, err := testbed.PickPorts()
	if err != nil {
		t.Fatal(err)
	}
	c, err := testbed.StartCaddy(t.Context(), exe, filepath.Join(t.TempDir(), "caddy"), site(ports), ports, append(env, shortTiming...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Kill()
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", c.LogTail(40))
		}
	})
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	connections, err := c.WaitForCertificate(t.Context(), roots)
	if err != nil {
		t.Fatal(err)
	}
	// They are counted when they have ended, which must not fall into a test's own counts.
	eventually(t, 30*time.Second, func() error {
		if n := sum(counted(t, c, "connections", "role")); n < uint64(connections) {
			return fmt.Errorf("%d of %d connections are counted", n, connections)
		}
		return nil
	})
	return c
}

func sum(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func newAuthority(t *testing.T) *programs.Authority {
	t.Helper()
	ca, err := programs.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

var (
	sample = regexp.MustCompile(`(?m)^([a-z0-9_]+)\{([^}]*)\} ([0-9.e+]+)$`)
	label  = regexp.MustCompile(`([a-z0-9_]+)="([^"]*)"`)
)

// counted is what a Caddy has counted of a metric since it began, as its
// Prometheus endpoint tells at once: "value value" of dims → count.
func counted(t *testing.T, c *testbed.Caddy, metric string, dims ...string) map[string]uint64 {
	t.Helper()
	name := "caddy_evergreen_" + strings.ReplaceAll(metric, ".", "_") + "_total"
	counts := map[string]uint64{}
	for _, m := range sample.FindAllStringSubmatch(metricsOf(t, c), -1) {
		if m[1] != name {
			continue
		}
		values := map[string]string{}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			values[l[1]] = l[2]
		}
		var key []string
		for _, d := range dims {
			key = append(key, values[d])
		}
		n, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		counts[strings.Join(key, " ")] += uint64(n)
	}
	return counts
}

// metricsOf is what a Caddy's Prometheus endpoint says.
func metricsOf(t *testing.T, c *testbed.Caddy) string {
	t.Helper()
	resp, err := http.Get(c.AdminURL("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// since is what was counted after before was.
func since(before, after map[string]uint64) map[string]uint64 {
	d := map[string]uint64{}
	for k, n := range after {
		if n > before[k] {
			d[k] = n - before[k]
		}
	}
	return d
}

func show(m map[string]uint64) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s: %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}

// TestE2EInterception opens a page in each browser, directly and through each
// interceptor. Directly no connection may be inconsistent with its User-Agent,
// through an interceptor each has to be, with the interceptor's library named.
func TestE2EInterception(t *testing.T) {
	exe := caddyWith(t, caddyVersions[len(caddyVersions)-1])
	srv, ca := startServer(t), newAuthority(t)
	_, leaf, err := ca.Leaf(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := startCaddyFor(t, exe, ca, func(p testbed.Ports) string {
		return "{\n" + p.Globals() + "\tdefault_sni localhost\n}\nlocalhost {\n\ttls " + leaf + " " + leaf + "\n\trespond \"hello\"\n}\n"
	}, "EVERGREEN_ENDPOINT="+srv.URL())
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Ports.HTTPS))
	library := map[string]string{"mitmproxy": "openssl", "squid": "openssl", "haproxy": "openssl", "sslsplit": "openssl", "goproxy": "go", "martian": "go"}

	for _, i := range programs.Interceptors() {
		verdicts := counted(t, c, "tls.interception", "client_family", "verdict")
		libraries := counted(t, c, "tls.interception.libraries", "tls_library", "verdict")
		route, err := i.Start(t.Context(), t.TempDir(), ca, addr)
		if err != nil {
			t.Fatalf("%s: %v", i.Name, err)
		}
		for _, b := range programs.Browsers() {
			// Browsers leave processes behind for a moment that write to their folder.
			dir, err := os.MkdirTemp("", "browser-")
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Open(t.Context(), dir, ca, programs.Page{Route: route, Path: "/"}); err != nil {
				t.Errorf("%s through %s: %v", b.Name, i.Name, err)
			}
			os.RemoveAll(dir)
		}
		verdicts = since(verdicts, counted(t, c, "tls.interception", "client_family", "verdict"))
		libraries = since(libraries, counted(t, c, "tls.interception.libraries", "tls_library", "verdict"))
		t.Logf("%-10s %s; %s", i.Name, show(verdicts), show(libraries))
		if len(verdicts) == 0 {
			t.Errorf("%s: no connection was judged", i.Name)
		}
		want := " inconsistent"
		if library[i.Name] == "" {
			want = " consistent"
			for _, family := range []string{"chromium", "firefox"} {
				if verdicts[family+want] == 0 {
					t.Errorf("%s: no connection of %s is consistent", i.Name, family)
				}
			}
		}
		for k := range verdicts {
			if !strings.HasSuffix(k, want) {
				t.Errorf("%s: %s", i.Name, k)
			}
		}
		for k := range libraries {
			if l := library[i.Name]; l != "" && k != l+want {
				t.Errorf("%s: %s, not %s", i.Name, k, l)
			}
		}
	}

	all := counted(t, c, "tls.interception", "client_family", "verdict")
	eventually(t, 30*time.Second, func() error {
		a, err := srv.query(t.Context(), "tls.interception", "client_family", "verdict")
		if err != nil {
			return err
		}
		got := map[string]uint64{}
		for _, r := range a.Rows {
			got[r.Group["client_family"]+" "+r.Group["verdict"]] = r.Count
		}
		if !maps.Equal(got, all) {
			return fmt.Errorf("the server has %s, Caddy counted %s", show(got), show(all))
		}
		return nil
	})
}
