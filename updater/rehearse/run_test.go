//go:build linux || darwin || freebsd

package rehearse

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// besideSite is a rehearsal beside a server of this process, with a candidate
// of the given badness.
func besideSite(t *testing.T, bad string) Config {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(answerSite))
	t.Cleanup(srv.Close)
	dir, err := os.MkdirTemp("", "r")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "running")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = http.Serve(ln, http.HandlerFunc(answerSite)) }()
	t.Cleanup(func() { ln.Close() })
	live, err := json.Marshal(map[string]any{"apps": map[string]any{
		"http": map[string]any{"servers": map[string]any{
			"tcp": map[string]any{
				"listen": []string{srv.Listener.Addr().String()},
				"routes": []any{
					map[string]any{"match": []any{map[string]any{"host": []string{"a.example", "b.example"}, "path": []string{"/moved", "/random"}}}},
				},
			},
			"unix": map[string]any{"listen": []string{"unix/" + socket}},
		}},
		"plugin": map[string]any{"x": 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Executable: exe, Version: "v2.11.9", Modules: siteModules, Live: live, DataDir: dir,
		Scratch: filepath.Join(dir, "scratch"), Env: []string{candidateVariable + "=" + bad},
		Memory: 400 << 20, MaxDisk: 32 << 20, Settle: 100 * time.Millisecond, Private: raceMemory,
		Environ: append(os.Environ(), "GORACE=atexit_sleep_ms=0"),
	}
}

func TestRehearse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		bad  string
		kind Kind   // of the error; "" is none
		want string // a part of the error, or of the report
	}{
		{"good", "", ""},
		{"kernel", Tell, "it said: FATAL: kernel too old"},
		{"older", Tell, "the candidate should be v2.11.9, and isn't; it said: v2.11.1"},
		{"module", Modules, "the candidate lacks modules that run now: http.handlers.static_response"},
		{"refuse", Refuse, "it said: Error: unknown field"},
		{"start", Start, "it said: Error: loading initial config: it is a bad day"},
		{"flood", Limit, "it prints without end"},
		{"memory", Limit, "of memory, where up to 400 MB were expected"},
		{"disk", Limit, "it fills the disk"},
		{"panic", Start, "panic: at the first request"},
		{"500", "", `http://b.example:PORT/moved over HTTP/1.1: status is "500", was "301"`},
		{"header", "", `http://a.example:PORT/moved over HTTP/1.1: header Location (where a client goes next) is absent, was "/elsewhere"`},
		{"abort", "", "http://localhost/ over HTTP/1.1: the answer is a connection that ends, was an answer"},
		{"needy", "", ""},
	} {
		t.Run("candidate "+c.bad, func(t *testing.T) {
			t.Parallel()
			config := besideSite(t, c.bad)
			if c.kind == Limit {
				config.Settle = time.Minute // it is ended as soon as it exceeds it
			}
			r, err := Run(context.Background(), config)
			var failed *Error
			switch {
			case c.kind != "":
				if !errors.As(err, &failed) || failed.Kind != c.kind || !strings.Contains(err.Error(), c.want) {
					t.Errorf("the error is %v, not of %s with %q", err, c.kind, c.want)
				}
			case err != nil:
				t.Error(err)
			case c.want == "":
				if !r.Agrees() || r.Probes != 7 || r.Sites != 3 {
					t.Errorf("%d probes, %d sites: %s", r.Probes, r.Sites, r)
				}
				var left []string
				if c.bad == "good" {
					left = []string{"apps of plugins were validated and not started: plugin"}
				}
				if d := cmp.Diff(left, withoutLimits(r.Notes)); d != "" {
					t.Error(d)
				}
			default:
				addr := string(config.Live[strings.Index(string(config.Live), "127.0.0.1:")+len("127.0.0.1:"):])
				port, _, _ := strings.Cut(addr, `"`)
				if want := strings.ReplaceAll(c.want, "PORT", port); !strings.Contains(r.String(), want) {
					t.Errorf("the report is %s\nwithout %s", r, want)
				}
			}
			if _, err := os.Stat(config.Scratch); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("its folder is still there: %v", err)
			}
		})
	}
}

// withoutLimits are notes, without those on what this system can't limit.
func withoutLimits(notes []string) (rest []string) {
	for _, n := range notes {
		if !strings.HasPrefix(n, "not limited here: ") {
			rest = append(rest, n)
		}
	}
	return rest
}

// TestHangs has candidates that never end a step.
func TestHangs(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"version", "list-modules", "validate", "run"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			config := besideSite(t, "hang "+command)
			config.StepTime = 2 * time.Second
			_, err := Run(context.Background(), config)
			var failed *Error
			if !errors.As(err, &failed) || !strings.Contains(err.Error(), "within 2s") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// TestCanceled ends a rehearsal from outside: that says nothing of the candidate.
func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Run(ctx, besideSite(t, "good"))
	var failed *Error
	if !errors.Is(err, context.Canceled) || errors.As(err, &failed) {
		t.Errorf("the error is %v", err)
	}
}

func TestNotExecutable(t *testing.T) {
	c := besideSite(t, "good")
	c.Executable = filepath.Join(t.TempDir(), "caddy")
	if err := os.WriteFile(c.Executable, []byte("\x7fELF for another machine"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Run(context.Background(), c)
	var failed *Error
	if !errors.As(err, &failed) || failed.Kind != Execute {
		t.Errorf("the error is %v", err)
	}
}

func TestNoConfig(t *testing.T) {
	if _, err := Run(context.Background(), Config{}); !errors.Is(err, errNoConfig) {
		t.Errorf("the error is %v", err)
	}
}
