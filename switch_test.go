package evergreen

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"
)

// startedAs makes the test's process look as if it was started with arguments.
func startedAs(t *testing.T, args ...string) {
	t.Helper()
	was := started
	t.Cleanup(func() { started = was })
	started = start{args: args, env: []string{"A=1"}}
}

// loadFile loads a configuration as `caddy run --config` does.
func loadFile(t *testing.T, c map[string]any) (file string) {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "caddy.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	mustLoad(t, c)
	startedAs(t, "caddy", "run", "--config", file)
	return file
}

func TestTakeStart(t *testing.T) {
	args := os.Args
	t.Cleanup(func() { os.Args = args })
	t.Setenv(envSwitch, `{"args":["caddy","run","--config=/x.json"]}`)
	got := takeStart([]string{"caddy", "run", "--config", "-"}, os.Environ())
	if diff := cmp.Diff([]string{"caddy", "run", "--config", "-"}, got.args); diff != "" {
		t.Errorf("the process's own arguments (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"caddy", "run", "--config=/x.json"}, os.Args); diff != "" {
		t.Errorf("os.Args (-want +got):\n%s", diff)
	}
	for _, kv := range append(got.env, os.Environ()...) {
		if strings.HasPrefix(kv, internalEnv) {
			t.Errorf("%s is left in the environment", kv)
		}
	}
}

func TestTakeStartIgnores(t *testing.T) {
	args := os.Args
	for _, bad := range []string{"", "{", `{"args":[]}`, `{"args":["caddy","fmt"]}`} {
		t.Setenv(envSwitch, bad)
		takeStart([]string{"caddy", "run"}, os.Environ())
		if diff := cmp.Diff(args, os.Args); diff != "" {
			t.Errorf("%q changes os.Args (-want +got):\n%s", bad, diff)
		}
	}
}

func TestRunFlags(t *testing.T) {
	for _, test := range []struct {
		name, file string
		args, want []string
	}{
		{"nothing", "", nil, []string{"caddy", "run"}},
		{"caddy start", "", []string{"--pingback", "127.0.0.1:1", "-c", "f", "--pidfile", "p"}, []string{"caddy", "run", "--config=f", "--pidfile=p"}},
		{"another configuration", "/live.json", []string{"--config", "f", "-a", "yaml", "-w", "-r", "--environ", "--envfile", "a", "--envfile=b", "--pidfile=p"},
			[]string{"caddy", "run", "--envfile=a", "--envfile=b", "--environ=true", "--pidfile=p", "--config=/live.json"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			startedAs(t, append([]string{"caddy", "run"}, test.args...)...)
			f, err := parseRun(started.args[2:])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, f.args(test.file)); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanStart(t *testing.T) {
	_, c := newSite(t, "", `respond "fine"`)
	file := loadFile(t, c)
	n, err := planStart(t.Context(), "/not/needed")
	if err != nil {
		t.Fatal(err)
	}
	if n.args != nil || n.file != "" || !sameJSON(n.config, n.live) {
		t.Errorf("the configuration is the file's, and yet the arguments are %q", n.args)
	}
	// Edited, not loaded: what runs goes on running.
	if err := os.WriteFile(file, []byte(`{"apps":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err = planStart(t.Context(), "/not/needed")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"caddy", "run", "--config=" + n.file}, n.args); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	b, err := os.ReadFile(n.file)
	if err != nil || !sameJSON(b, n.live) {
		t.Errorf("the file for the next start has %.200s (%v), not the running configuration", b, err)
	}
	if info, err := os.Stat(n.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v (%v)", info.Mode(), err)
	}
	n.discard()
	if _, err := os.Stat(n.file); !errors.Is(err, os.ErrNotExist) {
		t.Error("it is left behind when the switch fails")
	}
	startedAs(t, "caddy", "run", "--watch", "--config", file)
	if _, err := planStart(t.Context(), "/not/needed"); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a watched file that is not what runs: %v", err)
	}
}

// After Stop the listeners are closed, requests in flight finish, and the
// configuration is there; Resume serves again.
func TestSwitchServer(t *testing.T) {
	s, c := newSite(t, "evergreen off", `
	handle /echo {
		misbehave echo
	}
	respond "fine"
	`)
	file := loadFile(t, c)
	live, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	plain, end := client(t, "plain")
	defer end()
	get(t, plain, "GET", s.url("plain", "/"), nil)

	pr, pw := io.Pipe()
	answered := make(chan string, 1)
	go func() {
		// The body is read when the server has said that it goes on, which is when
		// the handler asks for it.
		tr := &http.Transport{ExpectContinueTimeout: time.Minute}
		defer tr.CloseIdleConnections()
		req, err := http.NewRequest("POST", s.url("plain", "/echo"), pr)
		if err != nil {
			answered <- err.Error()
			return
		}
		req.Header.Set("Expect", "100-continue")
		resp, err := tr.RoundTrip(req)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answered <- string(b)
	}()
	if _, err := pw.Write([]byte("in ")); err != nil {
		t.Fatal(err)
	}

	sw := newSwitchServer(live)
	if want := 2 * time.Second; sw.configuredGrace != want {
		t.Errorf("the grace period is %v, want the configuration's %v", sw.configuredGrace, want)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- sw.Stop(t.Context()) }()
	eventually(t, "nobody listens", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+s.http)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if err := sw.Abort(); err != nil {
		t.Errorf("a stop of the servers alone gives the switch up: %v", err)
	}
	if got, err := liveConfig(t.Context()); err != nil || !sameJSON(got, live) {
		t.Errorf("the configuration is %.100s (%v) while the servers are stopped", got, err)
	}
	if openConnections() == 0 {
		t.Error("the upload in flight is cut off")
	}
	_, _ = pw.Write([]byte("flight"))
	_ = pw.Close()
	if got := <-answered; got != "in flight" {
		t.Errorf("the upload in flight got %q", got)
	}
	if err := <-stopped; err != nil || openConnections() != 0 {
		t.Errorf("after the upload: %d connections, %v", openConnections(), err)
	}
	if err := sw.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, body := get(t, plain, "GET", s.url("plain", "/"), nil); status != 200 || body != "fine" {
		t.Errorf("after Resume: %d %q", status, body)
	}
	// All of it again, down to the last words, and exec fails.
	sw = newSwitchServer(live)
	if err := sw.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	said := false
	if err := sw.lastWords(func() error { said = true; return nil }); err != nil || !said {
		t.Fatalf("last words: %v, said %v", err, said)
	}
	if err := sw.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, body := get(t, plain, "GET", s.url("plain", "/"), nil); status != 200 || body != "fine" {
		t.Errorf("after an exec that failed: %d %q", status, body)
	}
}

// A configuration that is loaded meanwhile is what is served from then on.
func TestSwitchGivenUpByReload(t *testing.T) {
	s, c := newSite(t, "", `respond "first"`)
	file := loadFile(t, c)
	live, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sw := newSwitchServer(live)
	if err := sw.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(bytes.ReplaceAll(live, []byte("first"), []byte("second")), false); err != nil {
		t.Fatal(err)
	}
	if err := sw.Abort(); !errors.Is(err, errReloaded) {
		t.Errorf("after a reload: %v", err)
	}
	if err := sw.lastWords(nil); !errors.Is(err, errReloaded) {
		t.Errorf("last words after a reload: %v", err)
	}
	if err := sw.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	plain, end := client(t, "plain")
	defer end()
	if _, body := get(t, plain, "GET", s.url("plain", "/"), nil); body != "second" {
		t.Errorf("after a reload %q is served", body)
	}
}

func TestRetiring(t *testing.T) {
	t.Cleanup(func() { retiring.Store(false) })
	for _, global := range []string{"evergreen", "evergreen off"} {
		s, c := newSite(t, global, `respond "fine"`)
		mustLoad(t, c)
		for _, protocol := range []string{"plain", "http/1.1", "http/2"} {
			cl, end := client(t, protocol)
			for _, on := range []bool{false, true, false} {
				retiring.Store(on)
				resp, err := cl.Get(s.url(protocol, "/"))
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if want := on && resp.ProtoMajor == 1; resp.Close != want {
					t.Errorf("%s over %s, retiring %v: Connection: close is %v", global, protocol, on, resp.Close)
				}
			}
			end()
		}
		stop(t, s)
	}
}

// Where updates are off Caddy's servers are left as they are.
func TestNotRetirable(t *testing.T) {
	t.Setenv("EVERGREEN_UPDATES", "off")
	s, c := newSite(t, "evergreen off", `respond "fine"`)
	mustLoad(t, c)
	cl, end := client(t, "plain")
	defer end()
	before := openConnections()
	get(t, cl, "GET", s.url("plain", "/"), nil)
	if openConnections() != before {
		t.Error("connections are counted")
	}
}

func TestSwitchTo(t *testing.T) {
	if err := switchTo(t.Context(), switchTarget{Executable: "/nowhere"}, switchOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no executable: %v", err)
	}
	file := filepath.Join(t.TempDir(), "caddy")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := switchTo(t.Context(), switchTarget{Executable: file}, switchOptions{}); err == nil || !strings.Contains(err.Error(), "no executable") {
		t.Errorf("a file that can't be executed: %v", err)
	}
}
