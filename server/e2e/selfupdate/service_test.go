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
	"slices"
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

// Plugins with two versions each, in testdata: the first does nothing. The
// second misbehaves as BADPLUGIN says, or needs a kernel that nobody has.
const (
	badPath    = "github.com/caddy-evergreen/badplugin"
	kernelPath = "github.com/caddy-evergreen/newkernel"
)

// A service is the update service of all tests, its module proxy, and the
// Caddys that were ordered of it.
type service struct {
	*testbed.Updates
	proxy *httptest.Server
	stale []byte            // the timestamp metadata of before anything was built
	first map[string]string // module path → version
	next  map[string]string

	mu      sync.Mutex
	ordered map[string]*order
}

type order struct {
	once   sync.Once
	exe    string
	answer build.Answer
	err    error
}

var theService struct {
	once sync.Once
	s    *service
	err  error
}

// theUpdates starts the service at the first use.
func theUpdates(t *testing.T) *service {
	t.Helper()
	theService.once.Do(func() {
		theService.s, theService.err = startService(shared, "1h")
		if s := theService.s; s != nil {
			theService.err = s.tag([][]string{
				{wire.CaddyPath + "@" + newCaddy, "--severity", "important"},
				{badPath + "@" + s.next[badPath], "--severity", "critical"},
				{kernelPath + "@" + s.next[kernelPath], "--severity", "critical", "--min-kernel", "linux=99.0"},
			})
		}
	})
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
		s.end()
	}
}

func (s *service) end() {
	s.Kill()
	s.proxy.Close()
}

// tag is what a maintainer does with `evergreen release tag`.
func (s *service) tag(all [][]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, args := range all {
		if err := s.Maintain(ctx, nil, slices.Concat([]string{"release", "tag"}, args, []string{"--notes", "a test's"})...); err != nil {
			return err
		}
	}
	return nil
}

// startService starts one below a folder, which tells Caddys how often to ask.
func startService(dir, every string) (*service, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	s := &service{ordered: map[string]*order{}, first: map[string]string{}, next: map[string]string{}}
	var err error
	if s.proxy, err = s.modules(ctx, filepath.Join(dir, "modules")); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "service")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	s.Updates, err = testbed.StartUpdates(ctx, evergreen, data, map[string]any{"check_every": every, "builds_per_hour": 1000},
		"GOPROXY="+s.proxy.URL, "GONOSUMDB=github.com/caddy-evergreen")
	if err != nil {
		return nil, err
	}
	if s.stale, err = s.Get(ctx, wire.PathTUF+"timestamp.json"); err != nil {
		s.Kill()
		return nil, err
	}
	return s, nil
}

// modules serves the versions of the plugins in testdata, and sends whoever
// wants another module to the proxy that this machine uses.
func (s *service) modules(ctx context.Context, dir string) (*httptest.Server, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOPROXY").Output()
	if err != nil {
		return nil, err
	}
	upstream := release.ProxyOf(strings.TrimSpace(string(out)))
	if upstream == "" {
		return nil, fmt.Errorf("GOPROXY is %s, which names no proxy", out)
	}
	for _, p := range []string{badPath, kernelPath} {
		if err := s.publish(dir, p); err != nil {
			return nil, fmt.Errorf("publishing %s: %w", p, err)
		}
	}
	files := http.FileServer(http.Dir(dir))
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for p := range s.first {
			if strings.HasPrefix(path.Clean(r.URL.Path), "/"+p+"/") {
				files.ServeHTTP(w, r)
				return
			}
		}
		http.Redirect(w, r, strings.TrimSuffix(upstream, "/")+r.URL.EscapedPath(), http.StatusFound)
	})), nil
}

// publish writes both versions of a plugin as a module proxy has them. A
// version has the content's hash in it: caches of modules outlive a test.
func (s *service) publish(dir, modpath string) error {
	source, err := os.ReadFile(filepath.Join("testdata", path.Base(modpath), "plugin.go"))
	if err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join("testdata", path.Base(modpath), "go.mod"))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(slices.Concat(source, mod))
	patch := binary.BigEndian.Uint32(sum[:])
	s.first[modpath], s.next[modpath] = fmt.Sprintf("v1.0.%d", patch), fmt.Sprintf("v1.1.%d", patch)
	at := filepath.Join(dir, modpath, "@v")
	for version, text := range map[string][]byte{
		s.first[modpath]: source, s.next[modpath]: bytes.Replace(source, []byte("const bad = false"), []byte("const bad = true"), 1),
	} {
		from := filepath.Join(dir, "source", modpath, version)
		for name, b := range map[string][]byte{"plugin.go": text, "go.mod": mod} {
			if err := write(filepath.Join(from, name), b); err != nil {
				return err
			}
		}
		var zipped bytes.Buffer
		if err := modzip.CreateFromDir(&zipped, module.Version{Path: modpath, Version: version}, from); err != nil {
			return err
		}
		for name, b := range map[string][]byte{version + ".zip": zipped.Bytes(), version + ".mod": mod, version + ".info": []byte(`{"Version":"` + version + `"}`)} {
			if err := write(filepath.Join(at, name), b); err != nil {
				return err
			}
		}
	}
	return write(filepath.Join(at, "list"), []byte(s.first[modpath]+"\n"+s.next[modpath]+"\n"))
}

func write(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}

// order is what the service was asked to build, once for all tests, with
// plugins as "path@version".
func (s *service) order(t *testing.T, version string, plugins ...string) *order {
	t.Helper()
	key := version + " " + strings.Join(plugins, " ")
	s.mu.Lock()
	o := s.ordered[key]
	if o == nil {
		o = &order{exe: filepath.Join(s.Dir, fmt.Sprintf("caddy-%d", len(s.ordered)))}
		s.ordered[key] = o
	}
	s.mu.Unlock()
	o.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
		defer cancel()
		o.answer, o.err = s.Order(ctx, build.Request{Caddy: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Plugins: plugins}, o.exe)
	})
	if o.err != nil {
		t.Fatal(o.err)
	}
	return o
}

// copied is an executable for a test to do with as it likes.
func (o *order) copied(t *testing.T) (exe string) {
	t.Helper()
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
func (s *service) oldWithPlugins(t *testing.T) (exe string) {
	t.Helper()
	var with []string
	for _, p := range plugins {
		with = append(with, p.path+"@"+p.version)
	}
	return s.order(t, oldCaddy, with...).copied(t)
}

// before is a Caddy that the service has an update for, of one plugin.
func (s *service) before(t *testing.T) *order {
	t.Helper()
	return s.order(t, newCaddy, badPath+"@"+s.first[badPath], kernelPath+"@"+s.first[kernelPath])
}

// after is what that is updated to.
func (s *service) after(t *testing.T) *order {
	t.Helper()
	return s.order(t, newCaddy, badPath+"@"+s.next[badPath], kernelPath+"@"+s.first[kernelPath])
}
