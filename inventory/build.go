package inventory

import (
	"path"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	caddyPath     = wire.CaddyPath
	evergreenPath = wire.EvergreenPath
	otherPath     = "other"
	devel         = "devel"
)

// publicHosts are the forges and vanity hosts below which a module path is
// taken for public. A host that is not here may be a company's own.
var publicHosts = map[string]bool{
	"github.com": true, "gitlab.com": true, "bitbucket.org": true, "codeberg.org": true, "git.sr.ht": true,
	"gitea.com": true, "gopkg.in": true, "go.googlesource.com": true,
	"golang.org": true, "google.golang.org": true, "cloud.google.com": true, "cel.dev": true, "gvisor.dev": true,
	"go.uber.org": true, "go.opentelemetry.io": true, "go.opencensus.io": true, "go.etcd.io": true, "go.step.sm": true,
	"go.yaml.in": true, "go.mongodb.org": true, "go.starlark.net": true, "go.mozilla.org": true, "go.dedis.ch": true,
	"k8s.io": true, "sigs.k8s.io": true, "connectrpc.com": true, "gocloud.dev": true, "tailscale.com": true, "storj.io": true,
	"filippo.io": true, "dario.cat": true, "howett.net": true, "modernc.org": true, "lukechampine.com": true,
	"zombiezen.com": true, "golang.zx2c4.com": true, "honnef.co": true, "mvdan.cc": true, "rsc.io": true,
	"pgregory.net": true, "nhooyr.io": true, "mellium.im": true, "software.sslmate.com": true, "src.agwa.name": true,
	"tinygo.org": true, "gotest.tools": true, "gonum.org": true, "layeh.com": true, "moul.io": true,
}

// A registration is a Caddy module and the Go package that its type is from.
type registration struct{ id, pkg string }

func registrations() []registration {
	var rs []registration
	for _, id := range caddy.Modules() {
		safely(func() { // New is the plugin's own code
			info, err := caddy.GetModule(id)
			if err != nil {
				return
			}
			if t := structOf(reflect.TypeOf(info.New())); t != nil {
				rs = append(rs, registration{id, t.PkgPath()})
			}
		})
	}
	return rs
}

// structOf follows pointers to a named type.
func structOf(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// buildList fills in the modules, and the version of this one.
func (c *Collector) buildList(f *wire.Facts) {
	info, ok := c.build()
	if !ok || info == nil {
		return
	}
	mods := make([]*debug.Module, 0, len(info.Deps)+1)
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m != nil && m.Path != "" {
			mods = append(mods, m)
		}
	}
	plugins := map[string]bool{}
	for _, r := range c.modules() {
		if p := moduleOf(r.pkg, mods); p != "" {
			plugins[p] = true
		}
	}
	for _, p := range c.plugins {
		plugins[p] = true
	}
	private := strings.Join([]string{c.env("GOPRIVATE"), c.env("GONOPROXY")}, ",")

	others := map[bool]bool{}
	for _, m := range mods {
		plugin := m.Path != caddyPath && plugins[m.Path]
		name, version := reported(m, private)
		switch {
		case m == &info.Main && name == otherPath && !plugin:
			// the program's own module: xcaddy's "caddy", or somebody's main.
			// It is no dependency, and says nothing.
			continue
		case name == otherPath && others[plugin]:
			continue
		case name == otherPath:
			others[plugin] = true
		}
		if m.Path == evergreenPath {
			f.EvergreenVersion = version
		}
		f.Modules = append(f.Modules, &wire.Module{Path: name, Version: version, Plugin: plugin})
	}
	slices.SortStableFunc(f.Modules, func(a, b *wire.Module) int { return strings.Compare(a.Path, b.Path) })
	if len(f.Modules) > wire.MaxModules {
		// Caddy and the plugins first: they are what a report is read for.
		slices.SortStableFunc(f.Modules, func(a, b *wire.Module) int { return rank(a) - rank(b) })
		f.Modules = f.Modules[:wire.MaxModules]
	}
}

// Version is this module's own, as a report has it; empty if it is not known.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m != nil && m.Path == evergreenPath {
			_, version := reported(m, "")
			return version
		}
	}
	return ""
}

func rank(m *wire.Module) int {
	if m.Plugin || m.Path == caddyPath {
		return 0
	}
	return 1
}

// moduleOf is the path of the module that a package is in: the longest that is
// a prefix of it.
func moduleOf(pkg string, mods []*debug.Module) string {
	best := ""
	for _, m := range mods {
		if len(m.Path) > len(best) && (pkg == m.Path || strings.HasPrefix(pkg, m.Path+"/")) {
			best = m.Path
		}
	}
	return best
}

// moduleVersion is a released version or a pseudo-version, with what Go appends to it.
var moduleVersion = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+incompatible|\+dirty|\+incompatible\.dirty)?$`)

// reported is the path and version to report of m. Caddy's own path and ours are
// public whatever was compiled; a checkout of them has the version "devel".
func reported(m *debug.Module, private string) (name, version string) {
	if r := m.Replace; r != nil {
		if m.Path == caddyPath || m.Path == evergreenPath {
			if r.Path != m.Path || !moduleVersion.MatchString(r.Version) {
				return m.Path, devel
			}
		}
		m = r
	}
	known := m.Path == caddyPath || m.Path == evergreenPath
	host, _, _ := strings.Cut(m.Path, "/")
	switch {
	case len(m.Path)+len(m.Version) > wire.MaxFactString:
		return otherPath, ""
	case known && !moduleVersion.MatchString(m.Version):
		return m.Path, devel
	case known:
		return m.Path, m.Version
	case !publicHosts[host], !moduleVersion.MatchString(m.Version), matchesPrefix(private, m.Path):
		return otherPath, ""
	}
	return m.Path, m.Version
}

// matchesPrefix reports whether one of the comma-separated globs matches a
// path prefix of target, as the go command matches GOPRIVATE.
func matchesPrefix(globs, target string) bool {
	for glob := range strings.SplitSeq(globs, ",") {
		glob = strings.TrimSuffix(strings.TrimSpace(glob), "/")
		if glob == "" {
			continue
		}
		elements := strings.Split(target, "/")
		n := strings.Count(glob, "/") + 1
		if n > len(elements) {
			continue
		}
		ok, err := path.Match(glob, strings.Join(elements[:n], "/"))
		if ok || err != nil { // what we can't read is meant to hide something
			return true
		}
	}
	return false
}

var (
	releaseVersion  = regexp.MustCompile(`^v?([0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}(-(alpha|beta|rc)\.?[0-9]{1,4})?)(_custom)?$`)
	goVersionPrefix = regexp.MustCompile(`^go[0-9]{1,3}\.[0-9]{1,4}(\.[0-9]{1,4}|(rc|beta)[0-9]{1,3})?`)
)

// caddyVersion is Caddy's version as v2.11.9, or "devel": a distributor may have
// set any text at build time.
func caddyVersion(simple, _ string) string {
	if m := releaseVersion.FindStringSubmatch(simple); m != nil && m[4] == "" {
		return "v" + m[1]
	}
	return devel
}

// goVersion is the toolchain's release without experiments and vendors' suffixes.
func goVersion(s string) string {
	if m := goVersionPrefix.FindString(s); m != "" {
		return m
	}
	return devel
}
