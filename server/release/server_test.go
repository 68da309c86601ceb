package release_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/wire"
)

const plugin = "github.com/someone/plugin"

// A clock goes only where the test turns it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A server is a Service behind HTTP, with its first administrator's token.
type server struct {
	t     *testing.T
	db    *control.DB
	clock *clock
	*release.Service
	url, admin string
}

func start(t *testing.T, cfg release.Config) *server {
	t.Helper()
	s := &server{t: t, clock: &clock{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}}
	if cfg.DB == nil {
		var err error
		if cfg.DB, err = control.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "control.db")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cfg.DB.Close() })
	}
	s.db = cfg.DB
	if cfg.AdminTokenFile == "" {
		cfg.AdminTokenFile = filepath.Join(t.TempDir(), "admin.token")
	}
	cfg.Now, cfg.Pause = s.clock.Now, time.Microsecond
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	var err error
	if s.Service, err = release.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(cfg.AdminTokenFile); err == nil {
		s.admin = strings.TrimSpace(string(b))
	}
	mux := http.NewServeMux()
	s.Register(mux)
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	s.url = web.URL
	return s
}

// do sends a request and answers its status with its body or, of a problem,
// its detail.
func (s *server) do(r *http.Request, into any) (int, string) {
	s.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode >= 400 {
		var p wire.Problem
		if err := json.Unmarshal(body, &p); err != nil || p.Status != resp.StatusCode || resp.Header.Get("Content-Type") != wire.TypeProblem {
			s.t.Errorf("%s %s: %d without a problem document: %s", r.Method, r.URL, resp.StatusCode, body)
		}
		return resp.StatusCode, p.Title + ": " + p.Detail
	}
	if into != nil && resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, into); err != nil {
			s.t.Errorf("%s %s: %v in %s", r.Method, r.URL, err, body)
		}
	}
	return resp.StatusCode, string(body)
}

func (s *server) request(method, path string, body any) *http.Request {
	s.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	if method == http.MethodGet {
		b = nil
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	return r
}

// post asks for a change with a token.
func (s *server) post(token, path string, body, into any) (int, string) {
	s.t.Helper()
	r := s.request("POST", path, body)
	r.Header.Set("Authorization", "Bearer "+token)
	return s.do(r, into)
}

func (s *server) get(path string, into any) (int, string) {
	s.t.Helper()
	return s.do(s.request("GET", path, nil), into)
}

// ok fails the test if a change was refused.
func (s *server) ok(token, path string, body, into any) {
	s.t.Helper()
	if status, text := s.post(token, path, body, into); status != http.StatusOK {
		s.t.Fatalf("POST %s: %d %s", path, status, text)
	}
}

// refused fails the test if a change was not refused as it should be.
func (s *server) refused(status int, want, token, path string, body any) {
	s.t.Helper()
	if got, text := s.post(token, path, body, nil); got != status || !strings.Contains(text, want) {
		s.t.Errorf("POST %s %+v: %d %s; it should be %d and name %q", path, body, got, text, status, want)
	}
}

// maintainer grants somebody a role and answers their token.
func (s *server) maintainer(name, path string) string {
	s.t.Helper()
	token := release.NewToken()
	s.ok(s.admin, "/api/v1/releases/grant", release.GrantRequest{
		Principal: release.TokenPrincipal(token), Path: path, Role: release.RoleMaintainer, Name: name,
	}, nil)
	return token
}
