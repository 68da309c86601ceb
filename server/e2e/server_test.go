//go:build e2e

package e2e

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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

// A server is a running `evergreen serve`. It keeps its address over restarts.
type server struct {
	dir    string
	addr   string
	env    []string
	cmd    *exec.Cmd
	done   chan error
	config []byte // its configuration; nil is that of flow A
}

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
	s := &server{dir: t.TempDir(), addr: freeAddr(t), env: env}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.logTail(40))
		}
	})
	return s
}

func (s *server) url() string { return "http://" + s.addr }

func (s *server) start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "serve.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	config := filepath.Join(s.dir, "config.json")
	text := s.config
	if text == nil {
		// All instances of the tests are one sender.
		text = []byte(`{"roles": ["collect", "dashboard"], "limits": {"per_sender": 100000, "global": 100000}}`)
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return err
	}
	s.cmd = exec.Command(evergreen, "serve", "--listen", s.addr, "--data", filepath.Join(s.dir, "data"), "--config", config)
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, done := s.cmd, make(chan error, 1)
	s.done = done
	go func() { done <- cmd.Wait() }()
	deadline := time.Now().Add(60 * time.Second)
	for {
		resp, err := http.Get(s.url() + "/healthz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-done:
			done <- err
			return fmt.Errorf("the server ended: %v\n%s", err, s.logTail(20))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not answer: %v\n%s", err, s.logTail(20))
		}
	}
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	s.done <- <-s.done
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.done:
		s.done <- err
		if err != nil {
			t.Errorf("the server ended with %v\n%s", err, s.logTail(20))
		}
	case <-time.After(30 * time.Second):
		t.Errorf("the server did not stop\n%s", s.logTail(20))
		s.kill()
	}
}

func (s *server) logTail(n int) string {
	b, err := os.ReadFile(filepath.Join(s.dir, "serve.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
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

// query asks for all that a metric ever counted, by dims.
func (s *server) query(ctx context.Context, metric string, dims ...string) (answer, error) {
	var a answer
	q := url.Values{"metric": {metric}, "range": {"1h"}, "grain": {"hour"}, "limit": {"1000"}}
	if len(dims) > 0 {
		q.Set("by", strings.Join(dims, ","))
	}
	b, err := s.get(ctx, "/api/v1/query?"+q.Encode())
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(b, &a)
}

func (s *server) get(ctx context.Context, path string) ([]byte, error) {
	if !strings.HasPrefix(path, "http") {
		path = s.url() + path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Cache-Control", "no-cache")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, b)
	}
	return b, err
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
