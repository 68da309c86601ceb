package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A server has what its roles need, and nothing of the others.
func TestRoles(t *testing.T) {
	const (
		report, query, check, rollouts, builds = wire.PathReports, "/api/v1/query", wire.PathCheck, wire.PathRollouts, "/api/v1/builds"
	)
	for name, c := range map[string]struct {
		roles   []string
		serves  []string
		without []string
		files   []string
	}{
		"telemetry": {[]string{roleCollect, roleDashboard}, []string{report, query}, []string{check, rollouts, builds}, []string{"control.db", "evergreen.duckdb", "log"}},
		"updates":   {[]string{roleUpdates}, []string{check, rollouts}, []string{report, query, builds}, []string{"control.db"}},
		"building":  {[]string{roleUpdates, roleBuild}, []string{check, rollouts, builds}, []string{report, query}, []string{"control.db", "executables"}},
		"all":       {roles, []string{report, query, check, rollouts, builds}, nil, []string{"control.db", "evergreen.duckdb", "executables", "log"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestService(t, c.roles)
			srv := httptest.NewServer(s.handler)
			defer srv.Close()
			serves := func(path string) bool {
				ask := http.Get
				if path == report || path == check {
					ask = func(url string) (*http.Response, error) { return http.Post(url, "", nil) }
				}
				resp, err := ask(srv.URL + path)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				return resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed
			}
			for _, path := range append(c.serves, "/healthz", "/metrics") {
				if !serves(path) {
					t.Errorf("%s is not served", path)
				}
			}
			for _, path := range c.without {
				if serves(path) {
					t.Errorf("%s is served", path)
				}
			}
			var got []string
			for _, f := range []string{"control.db", "evergreen.duckdb", "executables", "log"} {
				if _, err := os.Stat(filepath.Join(s.config.Data, f)); err == nil {
					got = append(got, f)
				} else if !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(c.files, got); d != "" {
				t.Errorf("files (-want +got):\n%s", d)
			}
		})
	}
}

func newTestService(t *testing.T, roles []string) *service {
	t.Helper()
	config := defaultConfig()
	config.Data, config.Roles = t.TempDir(), roles
	if err := config.complete(); err != nil {
		t.Fatal(err)
	}
	s, err := newService(t.Context(), config, wire.DefaultTiming, slog.New(slog.NewTextHandler(io.Discard, nil)), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Whoever watches the server learns that a database does not answer.
func TestHealth(t *testing.T) {
	s := newTestService(t, []string{roleUpdates})
	ask := func() (int, string) {
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil))
		return w.Code, w.Body.String()
	}
	if code, body := ask(); code != http.StatusOK || body != "ok\n" {
		t.Errorf("%d %q", code, body)
	}
	if err := s.updates.db.Close(); err != nil {
		t.Fatal(err)
	}
	if code, body := ask(); code != http.StatusServiceUnavailable || !strings.Contains(body, "control state") {
		t.Errorf("%d %q", code, body)
	}
}

func TestRolesRefused(t *testing.T) {
	for says, roles := range map[string][]string{
		"did you mean":                {"colect"},
		"build needs the role update": {roleBuild},
		"are had together":            {roleCollect},
	} {
		config := defaultConfig()
		config.Roles = roles
		if err := config.complete(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", roles, err)
		}
	}
}

// A server ends within its time while it waits for nothing.
func TestRunEnds(t *testing.T) {
	s := newTestService(t, []string{roleUpdates})
	ln := httptest.NewUnstartedServer(nil).Listener
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ln) }()
	resp, err := http.Get("http://" + ln.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
