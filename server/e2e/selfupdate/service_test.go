//go:build e2e && linux

package selfupdate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	oldCaddy = "v2.11.3"
	newCaddy = "v2.11.9"
)

// The two plugins of the good update.
var plugins = []struct{ path, version, module string }{
	{"github.com/caddy-dns/cloudflare", "v0.2.1", "dns.providers.cloudflare"},
	{"github.com/mholt/caddy-ratelimit", "v0.1.0", "http.handlers.rate_limit"},
}

const badPath = "github.com/caddy-evergreen/badplugin"

// A service is the update service of all tests, its module proxy, and the
// Caddys that were ordered of it.
type service struct {
	*testbed.Updates
	proxy     *httptest.Server
	good, bad string // versions of the plugin

	mu      sync.Mutex
	ordered map[string]*order
}

type order struct {
	once sync.Once
	exe  string
	err  error
}

var theService struct {
	once sync.Once
	s    *service
	err  error
}

// theUpdates starts the service at the first use.
func theUpdates(t *testing.T) *service {
	t.Helper()
	theService.once.Do(func() { theService.s, theService.err = startService(shared) })
	if theService.err != nil {
		t.Fatal(theService.err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the service's log:\n%s", theService.s.LogTail(30))
		}
	})
	return theService.s
}

func endService() {
	if s := theService.s; s != nil {
		s.Kill()
		s.proxy.Close()
	}
}

func startService(dir string) (*service, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	s := &service{ordered: map[string]*order{}}
	var err error
	if s.proxy, err = s.modules(ctx, filepath.Join(dir, "modules")); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "service")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	s.Updates, err = testbed.StartUpdates(ctx, evergreen, data, map[string]any{"check_every": "1h", "builds_per_hour": 1000},
		"GOPROXY="+s.proxy.URL, "GONOSUMDB=github.com/caddy-evergreen")
	if err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"release", "tag", wire.CaddyPath + "@" + newCaddy, "--severity", "important", "--notes", "a test's"},
		{"release", "tag", badPath + "@" + s.bad, "--severity", "critical", "--notes", "a test's"},
	} {
		if err := s.Maintain(ctx, nil, args...); err != nil {
			s.Kill()
			return nil, err
		}
	}
	return s, nil
}

// modules serves the bad plugin's versions, and sends whoever wants another
// module to the proxy that this machine uses. A version has the content's hash
// in it: caches of modules outlive a test.
func (s *service) modules(ctx context.Context, dir string) (*httptest.Server, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOPROXY").Output()
	if err != nil {
		return nil, err
	}
	upstream := release.ProxyOf(strings.TrimSpace(string(out)))
	if upstream == "" {
		return nil, fmt.Errorf("GOPROXY is %s, which names no proxy", out)
	}
	source, err := os.ReadFile("testdata/badplugin/plugin.go")
	if err != nil {
		return nil, err
	}
	mod, err := os.ReadFile("testdata/badplugin/go.mod")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append(append([]byte(nil), source...), mod...))
	patch := binary.BigEndian.Uint32(sum[:])
	s.good, s.bad = fmt.Sprintf("v1.0.%d", patch), fmt.Sprintf("v1.1.%d", patch)
	at := filepath.Join(dir, badPath, "@v")
	for version, text := range map[string][]byte{s.good: source, s.bad: bytes.Replace(source, []byte("const bad = false"), []byte("const bad = true"), 1)} {
		from := filepath.Join(dir, "source", version)
		for name, b := range map[string][]byte{"plugin.go": text, "go.mod": mod} {
			if err := write(filepath.Join(from, name), b); err != nil {
				return nil, err
			}
		}
		var zipped bytes.Buffer
		if err := modzip.CreateFromDir(&zipped, module.Version{Path: badPath, Version: version}, from); err != nil {
			return nil, err
		}
		for name, b := range map[string][]byte{version + ".zip": zipped.Bytes(), version + ".mod": mod, version + ".info": []byte(`{"Version":"` + version + `"}`)} {
			if err := write(filepath.Join(at, name), b); err != nil {
				return nil, err
			}
		}
	}
	if err := write(filepath.Join(at, "list"), []byte(s.good+"\n"+s.bad+"\n")); err != nil {
		return nil, err
	}
	files := http.FileServer(http.Dir(dir))
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(path.Clean(r.URL.Path), "/"+badPath+"/") {
			files.ServeHTTP(w, r)
			return
		}
		http.Redirect(w, r, strings.TrimSuffix(upstream, "/")+r.URL.EscapedPath(), http.StatusFound)
	})), nil
}

func write(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}

// caddy is a Caddy that the service built, with plugins as "path@version",
// ordered once for all tests and copied to where the test may do with it as it
// likes.
func (s *service) caddy(t *testing.T, version string, plugins ...string) (exe string) {
	t.Helper()
	key := version + " " + strings.Join(plugins, " ")
	s.mu.Lock()
	o := s.ordered[key]
	if o == nil {
		o = &order{exe: filepath.Join(shared, fmt.Sprintf("caddy-%d", len(s.ordered)))}
		s.ordered[key] = o
	}
	s.mu.Unlock()
	o.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
		defer cancel()
		_, o.err = s.Order(ctx, build.Request{Caddy: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Plugins: plugins}, o.exe)
	})
	if o.err != nil {
		t.Fatal(o.err)
	}
	exe = filepath.Join(t.TempDir(), "caddy")
	b, err := os.ReadFile(o.exe)
	if err == nil {
		err = os.WriteFile(exe, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// oldWithPlugins is the Caddy of the good update before it.
func (s *service) oldWithPlugins(t *testing.T) string {
	t.Helper()
	var with []string
	for _, p := range plugins {
		with = append(with, p.path+"@"+p.version)
	}
	return s.caddy(t, oldCaddy, with...)
}

// withGoodPlugin is the Caddy before a bad candidate.
func (s *service) withGoodPlugin(t *testing.T) string {
	t.Helper()
	return s.caddy(t, newCaddy, badPath+"@"+s.good)
}
