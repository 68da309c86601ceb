//go:build e2e

package e2e

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/server/build/sandbox"
	"github.com/caddy-evergreen/evergreen/server/testbed"
)

// The versions that everything is proven with: the oldest supported, and the newest known.
var caddyVersions = []string{"v2.11.3", "v2.11.9"}

var evergreen string // the server's executable, built by TestMain

func TestMain(m *testing.M) {
	sandbox.Enter() // where Caddys are built
	dir, err := os.MkdirTemp("", "evergreen-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	evergreen = filepath.Join(dir, "evergreen")
	out, err := exec.Command("go", "build", "-o", evergreen, "../cmd/evergreen").CombinedOutput()
	code := 1
	if err != nil {
		fmt.Fprintf(os.Stderr, "building the server: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// caddyWith builds a Caddy with this checkout's module, once for all tests.
func caddyWith(t *testing.T, version string) string {
	t.Helper()
	source, err := build.FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	b := &build.Builder{Progress: logWriter{t}}
	exe, err := b.Caddy(t.Context(), build.Spec{Caddy: version, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

type logWriter struct{ t *testing.T }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// shortTiming makes both sides work in seconds instead of minutes.
var shortTiming = []string{"EVERGREEN_WINDOW=2s", "EVERGREEN_NOTICE=0s", "EVERGREEN_REPORT_EVERY=2s"}

// A server is a running `evergreen serve`, which tests ask for what it counted.
type server struct{ *testbed.Server }

// freeAddr is an address on loopback that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	ports, err := freeport.Pick(1)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
}

// startServer runs one until the test ends, in the times that env says, or shortTiming.
func startServer(t *testing.T, env ...string) *server {
	t.Helper()
	if len(env) == 0 {
		env = shortTiming
	}
	s := newServer(t, env...)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.LogTail(40))
		}
	})
	return s
}

// newServer is one that is not started.
func newServer(t *testing.T, env ...string) *server {
	t.Helper()
	return &server{&testbed.Server{Exe: evergreen, Dir: t.TempDir(), Addr: freeAddr(t), Env: env}}
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

// An answer is what /api/v1/query gives.
type answer struct {
	Total uint64 `json:"total"`
	Rows  []struct {
		Group map[string]string `json:"group"`
		Rest  bool              `json:"rest"`
		Count uint64            `json:"count"`
		Sum   uint64            `json:"sum"`
	} `json:"rows"`
}

// query asks for all that a metric ever counted, by dims. A test may begin
// before a full hour and end after it.
func (s *server) query(ctx context.Context, metric string, dims ...string) (answer, error) {
	var a answer
	q := url.Values{"metric": {metric}, "range": {"24h"}, "grain": {"hour"}, "limit": {"1000"}}
	if len(dims) > 0 {
		q.Set("by", strings.Join(dims, ","))
	}
	b, err := s.Get(ctx, "/api/v1/query?"+q.Encode())
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(b, &a)
}

// counts is a metric's cells as "value/value" → count, without zeros.
func (s *server) counts(t *testing.T, metric string, dims ...string) map[string]uint64 {
	t.Helper()
	a, err := s.query(t.Context(), metric, dims...)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, r := range a.Rows {
		if r.Rest {
			t.Fatalf("%s by %v has more rows than were asked for", metric, dims)
		}
		var names []string
		for _, d := range dims {
			names = append(names, r.Group[d])
		}
		if r.Count > 0 {
			got[strings.Join(names, " ")] += r.Count
		}
	}
	return got
}

// startCaddy runs exe with the site of a Caddyfile until the test ends, in the
// times that the tests have, and waits for its certificate. It returns how many
// connections that took.
func startCaddy(t *testing.T, exe string, site func(testbed.Ports) string, env ...string) (c *testbed.Caddy, connections int) {
	t.Helper()
	ports, err := testbed.PickPorts()
	if err != nil {
		t.Fatal(err)
	}
	c, err = testbed.StartCaddy(t.Context(), exe, filepath.Join(t.TempDir(), "caddy"), site(ports), ports, append(env, shortTiming...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Kill()
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", c.LogTail(40))
		}
	})
	connections, err = c.WaitForCertificate(t.Context(), rootsOf(t, c))
	if err != nil {
		t.Fatal(err)
	}
	return c, connections
}

func rootsOf(t *testing.T, c *testbed.Caddy) *x509.CertPool {
	t.Helper()
	roots, err := c.RootCAs()
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

// clientOf speaks proto with c until the test ends, or it is closed.
func clientOf(t *testing.T, c *testbed.Caddy, proto string) *testbed.Client {
	t.Helper()
	client, err := testbed.NewClient(proto, rootsOf(t, c), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// eventually waits until check is nil: reports take their time.
func eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s still: %v", within, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
