package release_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A moduleProxy answers as one does: with what it has, and with refusals.
type moduleProxy struct {
	mu    sync.Mutex
	files map[string]string // below the module's folder: "example.com/a/@v/list"
	// status is of files that are not given although they are there, or in
	// place of 404.
	status map[string]int
	after  string // Retry-After of 429
	asked  []string
	url    string
}

func startProxy(t *testing.T, files map[string]string, status map[string]int) *moduleProxy {
	p := &moduleProxy{files: files, status: status}
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

func (p *moduleProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/")
	body, ok := p.files[name]
	status, refused := p.status[name]
	etag := fmt.Sprintf(`"%d"`, len(body))
	switch {
	case refused:
		w.Header().Set("Retry-After", p.after)
	case !ok:
		status = http.StatusNotFound
	case r.Header.Get("If-None-Match") == etag:
		status = http.StatusNotModified
	default:
		w.Header().Set("ETag", etag)
		status = http.StatusOK
	}
	if !strings.Contains(name, wire.EvergreenPath) {
		p.asked = append(p.asked, fmt.Sprint(name, " ", status))
	}
	w.WriteHeader(status)
	if status == http.StatusOK {
		fmt.Fprint(w, body)
	}
}

// took is what was asked for since the last time, of one module.
func (p *moduleProxy) took(path string) (asked []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.asked {
		if below, ok := strings.CutPrefix(a, path+"/@"); ok {
			asked = append(asked, below)
		}
	}
	p.asked = slices.DeleteFunc(p.asked, func(a string) bool { return strings.HasPrefix(a, path+"/@") })
	return asked
}

func (p *moduleProxy) set(name, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[name] = body
}

// modules are what instances run.
type modules []wire.ModuleVersion

func (m modules) Modules(context.Context) ([]wire.ModuleVersion, error) { return m, nil }

func info(v string) string { return fmt.Sprintf(`{"Version": %q, "Time": "2026-11-01T00:00:00Z"}`, v) }

func (s *server) poll() {
	s.t.Helper()
	if err := s.PollDue(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) versions(path string) (vs []string) {
	for _, r := range s.Snapshot().Releases(path) {
		v := r.Version + " " + string(r.Severity)
		if r.Channel != wire.ChannelStable {
			v += " " + string(r.Channel)
		}
		if r.Yanked != "" {
			v += " yanked: " + r.Yanked
		}
		vs = append(vs, v)
	}
	return vs
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

const upper, upperInProxy = "github.com/Someone/plugin", "github.com/!someone/plugin"

func TestPollList(t *testing.T) {
	p := startProxy(t, map[string]string{
		upperInProxy + "/@v/list":       "v1.0.0\nv1.2.0 2026-01-01T00:00:00Z\nv1.1.9\nv1.3.0-rc.1\nv2.0.0\n1.0\nv0.0.0-20170512130425-ab89591268e0\n\x00\nv1.0.0\n",
		upperInProxy + "/@v/v1.2.0.mod": "module github.com/Someone/plugin\n\nretract v1.1.9 // loses\tdata\n",
	}, nil)
	s := start(t, release.Config{Proxy: p.url, Modules: modules{{Path: upper, Version: "v1.0.0"}}})
	s.poll()
	expect(t, "found", s.versions(upper), "v1.0.0 feature", "v1.1.9 minor yanked: retracted by its authors: loses data", "v1.2.0 feature", "v1.3.0-rc.1 feature beta")
	expect(t, "asked for", p.took(upperInProxy), "v/list 200", "v/v1.2.0.mod 200")

	// Not before its time, and then conditionally.
	s.poll()
	expect(t, "asked for at once", p.took(upperInProxy))
	s.clock.add(2 * time.Hour)
	before := s.Snapshot()
	s.poll()
	expect(t, "asked for later", p.took(upperInProxy), "v/list 304")
	if s.Snapshot() != before {
		t.Error("nothing changed, but there is another snapshot")
	}

	// What a maintainer said of a version is not undone by finding it again,
	// and what the authors take back is.
	s.ok(s.admin, "/api/v1/releases/tag", release.Tag{Path: upper, Version: "v1.0.0", Severity: wire.SeverityCritical}, nil)
	s.ok(s.admin, "/api/v1/releases/yank", release.YankRequest{Path: upper, Version: "v1.2.0", Reason: "is slow"}, nil)
	p.set(upperInProxy+"/@v/list", "v1.0.0\nv1.1.9\nv1.2.0\nv1.2.1\n")
	p.set(upperInProxy+"/@v/v1.2.1.mod", "module github.com/Someone/plugin\n\nretract v1.2.1\n")
	s.clock.add(2 * time.Hour)
	s.poll()
	expect(t, "found later", s.versions(upper), "v1.0.0 critical", "v1.1.9 minor", "v1.2.0 feature yanked: is slow", "v1.2.1 minor yanked: retracted by its authors", "v1.3.0-rc.1 feature beta")
	if _, _, err := s.VerifyAudit(t.Context()); err != nil {
		t.Error(err)
	}
	changes, err := s.Audit(t.Context(), upper, 0, 1)
	if err != nil || changes[0].Action != "retract" || changes[0].By != "module proxy" {
		t.Errorf("the log's last line is %+v, %v", changes, err)
	}
}

func TestPollWithoutList(t *testing.T) {
	p := startProxy(t, map[string]string{
		plugin + "/@v/list":        "v9.9.9",
		plugin + "/@v/v0.2.2.info": info("v0.2.2"),
		plugin + "/@v/v0.2.4.info": info("v0.2.4"), // v0.2.3 was never released
		plugin + "/@v/v0.4.0.info": info("v0.4.0"),
		plugin + "/@v/v0.4.1.info": info("v0.4.0"), // not what was asked for
		plugin + "/@v/v0.4.0.mod":  "module x",
		"example.com/b/@latest":    info("v1.5.0"),
		"example.com/c/@v/list":    "",
		"example.com/c/@latest":    info("v0.0.0-20240101000000-80962887e4c6"),
	}, map[string]int{plugin + "/@v/list": http.StatusForbidden, "example.com/b/@v/list": http.StatusGone})
	s := start(t, release.Config{Proxy: p.url, Private: "corp.example,*.corp.example", Modules: modules{
		{Path: plugin, Version: "v0.2.1"}, {Path: "example.com/b", Version: "v1.4.0"}, {Path: "example.com/c", Version: "v0.0.0-20230101000000-80962887e4c6"},
		{Path: "corp.example/secret", Version: "v1.0.0"}, {Path: "git.corp.example/secret", Version: "v1.0.0"},
		{Path: "../../../etc/passwd", Version: "v1.0.0"}, {Path: "example.com/d", Version: "latest"},
	}})
	s.poll()
	expect(t, "probed", s.versions(plugin), "v0.2.2 minor", "v0.2.4 minor", "v0.4.0 feature")
	expect(t, "asked for", p.took(plugin), "v/list 403", "latest 404",
		"v/v0.2.2.info 200", "v/v0.2.3.info 404", "v/v0.2.4.info 200", "v/v0.2.5.info 404", "v/v0.2.6.info 404",
		"v/v0.3.0.info 404", "v/v0.3.1.info 404", "v/v0.4.0.info 200", "v/v0.4.1.info 200", "v/v0.4.2.info 404",
		"v/v0.5.0.info 404", "v/v0.5.1.info 404", "v/v0.6.0.info 404", "v/v0.6.1.info 404", "v/v1.0.0.info 404", "v/v0.4.0.mod 200")
	expect(t, "only the latest", s.versions("example.com/b"), "v1.5.0 feature")
	expect(t, "never tagged", s.versions("example.com/c"), "v0.0.0-20240101000000-80962887e4c6 minor beta")
	for _, a := range p.asked {
		if strings.Contains(a, "corp.example") || strings.Contains(a, "passwd") || strings.Contains(a, "example.com/d") {
			t.Errorf("the proxy was asked for %s", a)
		}
	}
	// What was missing is left alone for a day.
	s.clock.add(2 * time.Hour)
	s.poll()
	expect(t, "asked for later", p.took(plugin), "v/list 403", "latest 404")
	s.clock.add(48 * time.Hour)
	p.set(plugin+"/@v/v0.4.1.info", info("v0.4.1"))
	s.poll()
	if got := s.versions(plugin); !slices.Contains(got, "v0.4.1 minor") {
		t.Errorf("two days later, of a new version there is nothing in %v", got)
	}
}

func TestPollToolchain(t *testing.T) {
	const dir = "golang.org/toolchain/@v/"
	platform := release.HostPlatform()
	in := func(v string) string { return "v0.0.1-" + v + "." + platform }
	p := startProxy(t, map[string]string{
		dir + "list":                   strings.Join([]string{in("go1.26.1"), in("go1.26.4"), in("go1.27rc1"), "v0.0.1-go1.28.0.plan9-mips", in("go1.25.3"), in("go1.2.2"), "v0.0.1"}, "\n"),
		dir + in("go1.26.3") + ".info": info(in("go1.26.3")),
		dir + in("go1.26.6") + ".info": info(in("go1.26.6")),
		dir + in("go1.25.0") + ".info": info(in("go1.25.0")),
		dir + in("go1.24.1") + ".info": info(in("go1.24.1")),
	}, nil)
	s := start(t, release.Config{Proxy: p.url})
	s.poll()
	expect(t, "found", s.versions(wire.Toolchain), "go1.2.2 minor", "go1.24.1 minor", "go1.25.0 feature", "go1.25.3 minor",
		"go1.26.1 minor", "go1.26.3 minor", "go1.26.4 minor", "go1.26.6 minor", "go1.27rc1 feature beta")
	if n := len(p.took("golang.org/toolchain")); n > 20 {
		t.Errorf("it took %d requests", n)
	}
	s.clock.add(2 * time.Hour)
	s.poll()
	// After what was found there may be more; what is missing is not asked for again.
	expect(t, "asked for later", p.took("golang.org/toolchain"), "v/list 304", "v/"+in("go1.26.8")+".info 404", "v/"+in("go1.26.7")+".info 404",
		"v/"+in("go1.24.3")+".info 404", "v/"+in("go1.24.2")+".info 404")
}

// TestPollBacksOff is of proxies that are ill, overloaded or hostile.
func TestPollBacksOff(t *testing.T) {
	many := "v1.0.0\n" + strings.Repeat("v1.0.1-x\n", 1<<20)
	p := startProxy(t, map[string]string{
		"example.com/b/@v/list":       many,
		"example.com/c/@v/list":       "v1.0.0",
		"example.com/c/@v/v1.0.0.mod": "module \x00",
	}, map[string]int{"example.com/a/@v/list": http.StatusInternalServerError})
	s := start(t, release.Config{Proxy: p.url, Modules: modules{
		{Path: "example.com/a", Version: "v1.0.0"}, {Path: "example.com/b", Version: "v1.0.0"}, {Path: "example.com/c", Version: "v1.0.0"},
	}})
	asks := func(path string, hours, least, most int) {
		t.Helper()
		n := 0
		for range hours {
			s.poll()
			for _, a := range p.took(path) {
				if strings.HasPrefix(a, "v/list") {
					n++
				}
			}
			s.clock.add(time.Hour)
		}
		if n < least || n > most {
			t.Errorf("in %d hours %s is asked for %d times, not %d to %d", hours, path, n, least, most)
		}
	}
	asks("example.com/a", 72, 3, 9)
	if got := s.versions("example.com/b"); got != nil {
		t.Errorf("a list without end gives %d versions", len(got))
	}
	if got := s.versions("example.com/c"); got != nil {
		t.Errorf("a go.mod that can't be read gives %v: it would never be asked for again", got)
	}
	// When the proxy is at its limit, everyone has to wait.
	p.mu.Lock()
	p.status["example.com/a/@v/list"], p.after, p.asked = http.StatusTooManyRequests, "3600", nil
	p.mu.Unlock()
	s.clock.add(100 * time.Hour)
	if err := s.PollDue(t.Context()); err == nil || !strings.Contains(err.Error(), "1h0m0s") {
		t.Errorf("the proxy's wish to be left alone gets %v", err)
	}
	s.clock.add(59 * time.Minute)
	s.poll()
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := p.asked[len(p.asked)-1]; last != "example.com/a/@v/list 429" {
		t.Errorf("after that, the proxy is asked for %s", last)
	}
}

func TestTagAsksProxy(t *testing.T) {
	p := startProxy(t, map[string]string{plugin + "/@v/v0.2.0.info": info("v0.2.0")}, map[string]int{plugin + "/@v/v0.3.0.info": http.StatusForbidden})
	s := start(t, release.Config{Proxy: p.url, Private: "corp.example"})
	s.ok(s.admin, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: "v0.2.0", Severity: wire.SeverityMinor}, nil)
	s.ok(s.admin, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: "v0.3.0", Severity: wire.SeverityMinor}, nil) // it can't be known
	s.ok(s.admin, "/api/v1/releases/tag", release.Tag{Path: "corp.example/x", Version: "v0.3.0", Severity: wire.SeverityMinor}, nil)
	s.refused(http.StatusUnprocessableEntity, "git tag", s.admin, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: "v0.9.0", Severity: wire.SeverityMinor})
	p.took(plugin)
	s.refused(http.StatusForbidden, "not known", release.NewToken(), "/api/v1/releases/tag", release.Tag{Path: plugin, Version: "v0.9.0", Severity: wire.SeverityMinor})
	expect(t, "asked for a stranger", p.took(plugin))
	for _, a := range p.took("corp.example/x") {
		t.Errorf("the proxy is asked for a private module: %s", a)
	}
}
