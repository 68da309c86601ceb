//go:build e2e

package e2e

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Plugins that are proven with every Caddy here, and a module that each brings.
var provenPlugins = []struct{ path, version, module string }{
	{"github.com/caddy-dns/cloudflare", "v0.2.1", "dns.providers.cloudflare"},
	{"github.com/mholt/caddy-ratelimit", "v0.1.0", "http.handlers.rate_limit"},
	{"github.com/caddyserver/replace-response", "v0.0.0-20250618171559-80962887e4c6", "http.handlers.replace_response"},
}

// buildCaddy runs `evergreen build` in a folder of its own.
func buildCaddy(t *testing.T, args ...string) (exe string, about artifact.Build) {
	t.Helper()
	checkout, err := build.FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	exe = filepath.Join(dir, "caddy")
	cmd := exec.Command(evergreen, append([]string{"build", "--source", checkout, "-o", exe, "--json", filepath.Join(dir, "about.json")}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("evergreen build %q: %v\n%s", args, err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "about.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &about); err != nil {
		t.Fatal(err)
	}
	return exe, about
}

// TestE2EBuilds builds Caddys with none, one and three plugins, and runs them.
func TestE2EBuilds(t *testing.T) {
	for _, version := range []string{"v2.11.3", "v2.11.8", "v2.11.9"} {
		for _, n := range []int{0, 1, 3} {
			t.Run(fmt.Sprintf("%s with %d plugins", version, n), func(t *testing.T) {
				args := []string{"--service", "http://127.0.0.1:1", "caddy@" + version}
				for _, p := range provenPlugins[:n] {
					args = append(args, p.path+"@"+p.version)
				}
				exe, about := buildCaddy(t, args...)

				// The executable, the build and the file agree on its modules.
				info, err := buildinfo.ReadFile(exe)
				if err != nil {
					t.Fatal(err)
				}
				got := map[string]string{}
				for _, d := range info.Deps {
					got[d.Path] = d.Version
				}
				for _, m := range about.List.Modules {
					if got[m.Path] != m.Version {
						t.Errorf("%s is %q in the executable", m, got[m.Path])
					}
				}
				if len(got) != len(about.List.Modules) || got[wire.CaddyPath] != version {
					t.Errorf("%d modules, Caddy %s; the build list has %d", len(got), got[wire.CaddyPath], len(about.List.Modules))
				}
				spec, err := build.ReadSpec(exe)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(about.Spec, spec); d != "" {
					t.Error(d)
				}

				out, err := exec.Command(exe, "list-modules").Output()
				if err != nil {
					t.Fatal(err)
				}
				listed := map[string]bool{}
				for _, l := range strings.Fields(string(out)) {
					listed[l] = true
				}
				for i, p := range provenPlugins {
					if listed[p.module] != (i < n) {
						t.Errorf("%s is listed: %v", p.module, listed[p.module])
					}
				}
				if !listed["evergreen"] {
					t.Error("our module is not listed")
				}
				served(t, exe)
			})
		}
	}
}

// served runs a Caddy that answers one request.
func served(t *testing.T, exe string) {
	t.Helper()
	addr := freeAddr(t)
	config := fmt.Sprintf(`{"admin":{"disabled":true,"config":{"persist":false}},"apps":{"http":{"servers":{"s":{"listen":[%q],"routes":[{"handle":[{"handler":"static_response","body":"hello"}]}]}}}}}`, addr)
	cmd := exec.Command(exe, "run", "--config", "-")
	cmd.Stdin = strings.NewReader(config)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_DATA_HOME="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	eventually(t, 30*time.Second, func() error {
		resp, err := http.Get("http://" + addr)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "hello" {
			return fmt.Errorf("it answers %q (%v)", b, err)
		}
		return nil
	})
}

// TestE2EReproducible builds the same spec again with empty caches, elsewhere,
// and compares all bytes.
func TestE2EReproducible(t *testing.T) {
	exe, about := buildCaddy(t, "--service", "https://evergreen.example", "caddy@v2.11.9", "github.com/caddy-dns/cloudflare@v0.2.1")
	checkout, err := build.FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(evergreen, "build", "--fresh", "--source", checkout, "--verify", exe)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "SHA-256 "+about.SHA256) {
		t.Errorf("%v\n%s", err, out)
	}
}
