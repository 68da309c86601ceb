package evergreen

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-evergreen/evergreen/bridge"
)

// A helper is asked through its sockets what it would be asked on its ports.
func TestCheckup(t *testing.T) {
	dir, err := os.MkdirTemp("", socketsFolder) // a test's own folder is too long a path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, c := newSite(t, "evergreen", `
	error /* 503
	`)
	c["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any)["calm"] = map[string]any{
		"listen": []any{"127.0.0.1:" + freePort(t)},
		"routes": []any{map[string]any{"handle": []any{map[string]any{"handler": "static_response", "body": "{http.request.remote.host}"}}}},
	}
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	helpers, err := helperConfig(config, helperRewrite{Sockets: dir})
	if err != nil {
		t.Fatal(err)
	}
	startedAs(t, "caddy", "run")
	started.helper = new(bridge.Helper)
	var as map[string]any
	if err := json.Unmarshal(helpers, &as); err != nil {
		t.Fatal(err)
	}
	mustLoad(t, as)
	check := newCheckup(dir, config)
	// The site that fails does so in this process, too.
	if err := check.healthy(t.Context(), 0); err != nil {
		t.Errorf("a helper that answers as this process does: %v", err)
	}
	sockets, err := filepath.Glob(filepath.Join(dir, "0-*"))
	if err != nil || len(sockets) != 1 {
		t.Fatalf("the server has the sockets %q (%v)", sockets, err)
	}
	_, port, _ := parseSocketName(sockets[0])
	if status, err := askSite(t.Context(), "unix", sockets[0], "", port, false); err != nil || status != 200 {
		t.Errorf("the helper answers through its socket %d (%v)", status, err)
	}
	for _, other := range []string{"1-*", "2-*"} { // one of them with TLS
		names, err := filepath.Glob(filepath.Join(dir, other))
		if err != nil || len(names) != 1 {
			t.Fatalf("a server has the sockets %q (%v)", names, err)
		}
		_, port, _ := parseSocketName(names[0])
		if status, err := askSite(t.Context(), "unix", names[0], "localhost", port, strconv.Itoa(port) == s.https); err != nil || status != 503 {
			t.Errorf("port %d: the helper answers through its socket %d (%v)", port, status, err)
		}
	}

	// Another one answers worse than this process.
	for _, test := range []struct {
		name, want string
		handle     http.HandlerFunc
	}{
		{"5xx", "status 500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }},
		{"nothing", "EOF", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		bad, err := os.MkdirTemp("", socketsFolder)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(bad) })
		ln, err := net.Listen("unix", filepath.Join(bad, filepath.Base(sockets[0])))
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: test.handle}
		go srv.Serve(ln) //nolint:errcheck // ends with Close
		check.dir = bad
		if err := check.healthy(t.Context(), 0); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "calm") {
			t.Errorf("a helper that answers %s: %v", test.name, err)
		}
		srv.Close()
	}
	check.dir = t.TempDir()
	if err := check.healthy(t.Context(), 0); err == nil {
		t.Error("a helper without any socket is well")
	}
}

// In a configuration of the user's the listener wrapper does nothing.
func TestHelperListenerElsewhere(t *testing.T) {
	l := &HelperListener{Socket: filepath.Join(t.TempDir(), "0")}
	if err := l.Provision(withoutContext); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:"+freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if got := l.WrapListener(ln); got != ln {
		t.Errorf("in a process that is no helper it makes a %T", got)
	}
}

// Both listeners' connections are accepted; after Close none is.
func TestMergedListener(t *testing.T) {
	dir := t.TempDir()
	listen := func(name string) (net.Listener, func() net.Conn) {
		path := filepath.Join(dir, name)
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		return ln, func() net.Conn {
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	}
	a, dialA := listen("a")
	b, dialB := listen("b")
	m := mergeListeners(a, b)
	var wg sync.WaitGroup
	for _, dial := range []func() net.Conn{dialA, dialB, dialB, dialA} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c := dial()
			defer c.Close()
			if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
				t.Errorf("%q, %v", got, err)
			}
		}()
		c, err := m.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "hello")
		c.Close()
	}
	wg.Wait()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := m.Accept(); err == nil {
		t.Error("a closed listener accepts")
	}
}
