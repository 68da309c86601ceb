//go:build e2e

package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/wire"
)

// startBuilder runs a server that builds, with the compiler's and the modules'
// caches of whoever runs the test.
func startBuilder(t *testing.T, control string) *server {
	t.Helper()
	checkout, err := build.FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "env", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	caches := strings.Fields(string(out))
	s := newServer(t)
	config, err := json.Marshal(map[string]any{
		"listen": s.Addr, "data": filepath.Join(s.Dir, "data"), "roles": []string{"updates", "build"},
		"updates": map[string]any{"url": "https://evergreen.example", "control": control, "source": checkout, "mod_cache": caches[0], "go_cache": caches[1],
			"plugins": map[string]string{provenPlugins[0].path: "DNS challenges by Cloudflare"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Config = config
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

// TestE2EDownload asks a server for a Caddy as scripts ask Caddy's own, kills
// the server in the midst of it, and gets it from the next.
func TestE2EDownload(t *testing.T) {
	s := startBuilder(t, "")
	body := `{"caddy": "v2.11.9", "os": "linux", "arch": "amd64", "plugins": ["github.com/caddy-dns/cloudflare@v0.2.1"]}`
	resp, err := http.Post(s.URL()+"/api/v1/builds", wire.TypeJSON, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a build.Answer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("%s: %+v (%v)", resp.Status, a, err)
	}
	until(t, s, a.Events, "compiling", "linking", "done")
	s.Kill()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, s, a.Events, "done")

	q := url.Values{"os": {"linux"}, "arch": {"amd64"}, "p": {"github.com/caddy-dns/cloudflare@v0.2.1"}, "caddy": {"v2.11.9"}, "idempotency": {"1"}}
	resp, err = http.Get(s.URL() + wire.PathDownload + "?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Evergreen-Build") != a.ID {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s, build %q: %.500s", resp.Status, resp.Header.Get("Evergreen-Build"), b)
	}
	exe := filepath.Join(t.TempDir(), "caddy")
	f, err := os.OpenFile(exe, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, resp.Body); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	served(t, exe)
	spec, err := build.ReadSpec(exe)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a.Spec, spec); d != "" || spec.Service != "https://evergreen.example" {
		t.Errorf("service %q: %s", spec.Service, d)
	}

	// What is not registered is not built, and the page says what is.
	if resp, err = http.Get(s.URL() + wire.PathDownload + "?os=linux&arch=amd64&p=github.com/mholt/caddy-ratelimit@v0.1.0"); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a plugin that is not registered: %s", resp.Status)
	}
	if resp, err = http.Get(s.URL() + "/build"); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if page, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(page), "DNS challenges by Cloudflare") {
		t.Errorf("the page does not offer the plugin: %s (%v)", page, err)
	}
	s.stop(t)

}

// TestE2EBuildersShare has two servers share the work and what is known of it
// in PostgreSQL: what one has built, the other has.
func TestE2EBuildersShare(t *testing.T) {
	control := startPostgres(t)(t)
	servers := []*server{startBuilder(t, control), startBuilder(t, control)}
	sums := map[string]bool{}
	for i, s := range servers {
		resp, err := http.Get(s.URL() + wire.PathDownload + "?caddy=v2.11.9&telemetry=off&os=linux&arch=amd64")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		h := sha256.New()
		if _, err := io.Copy(h, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("server %d: %s (%v)", i, resp.Status, err)
		}
		sum := hex.EncodeToString(h.Sum(nil))
		if resp.Header.Get("ETag") != `"`+sum+`"` {
			t.Errorf("server %d: SHA-256 %s, ETag %s", i, sum, resp.Header.Get("ETag"))
		}
		sums[sum] = true
	}
	if len(sums) != 1 {
		t.Errorf("the servers give different executables: %v", sums)
	}
	for i, s := range servers {
		resp, err := http.Get(s.URL() + "/api/v1/builds")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var o build.Offers
		if err := json.NewDecoder(resp.Body).Decode(&o); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(build.Counts{BuiltOut: 1, HandedOut: 2}, o.Counts); d != "" {
			t.Errorf("server %d: %s", i, d)
		}
	}
}

// until follows a build's events until one of the states.
func until(t *testing.T, s *server, events string, states ...string) {
	t.Helper()
	resp, err := http.Get(s.URL() + events)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	last := ""
	for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
		data, ok := strings.CutPrefix(sc.Text(), "data: ")
		if !ok {
			continue
		}
		var a build.Answer
		if err := json.Unmarshal([]byte(data), &a); err != nil {
			t.Fatal(err)
		}
		last = fmt.Sprintf("%s %s", a.State, a.Error)
		for _, want := range states {
			if a.State == want {
				return
			}
		}
	}
	t.Fatalf("the build is %s, and never became one of %q", last, states)
}
