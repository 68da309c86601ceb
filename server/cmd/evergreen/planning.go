package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/server/goenv"
	"github.com/caddy-evergreen/evergreen/server/gomods"
	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/server/vulndb"
	"github.com/caddy-evergreen/evergreen/wire"
)

// goVulnDB is where the Go project publishes its database.
const goVulnDB = "https://vuln.go.dev"

// planFlags are those that planning and auditing share.
type planFlags struct {
	scope, channel   string
	pins             pins
	vulndb, scores   string
	platform, kernel string
	json, compile    bool
	cache            string
	maxAge           time.Duration
	stderr           io.Writer
}

// pins are given as PATH@VERSION.
type pins map[string]string

func (p pins) String() string { return "" }

func (p pins) Set(s string) error {
	path, version, ok := strings.Cut(s, "@")
	if !ok || path == "" || version == "" {
		return fmt.Errorf("%q is not PATH@VERSION", s)
	}
	p[path] = version
	return nil
}

func (f *planFlags) register(fs *flag.FlagSet) {
	f.pins = pins{}
	f.stderr = fs.Output()
	fs.StringVar(&f.scope, "scope", "", "what to fix: none, critical, important, feature or all (default important)")
	fs.StringVar(&f.channel, "channel", "", "which `RELEASES` to take: stable or beta (default stable)")
	fs.Var(f.pins, "pin", "keep a module, or \"toolchain\", at a version: `PATH@VERSION`; may be given several times")
	fs.StringVar(&f.vulndb, "vulndb", goVulnDB, "the vulnerability database: a folder, a zip or a `URL`")
	fs.StringVar(&f.scores, "scores", "", "OSV entries with scores, which give severities: a folder, a zip or a `URL`")
	fs.StringVar(&f.platform, "platform", "", "`OS/ARCH` of the build (default: as the executable says, else this machine's)")
	fs.StringVar(&f.kernel, "kernel", "", "`RELEASE` of the kernel that it runs on, for versions that need a newer one")
	fs.StringVar(&f.cache, "cache", "", "`FOLDER` for what is fetched (default: evergreen in the user's cache folder)")
	fs.BoolVar(&f.compile, "compile", false, "try whether the plan compiles, and plan around what does not (needs Go; minutes at first)")
	fs.BoolVar(&f.json, "json", false, "print JSON")
}

// complete puts what the flags say in a check.
func (f *planFlags) complete(c *wire.Check) error {
	if f.scope != "" {
		s, err := wire.ParseScope(f.scope)
		if err != nil {
			return fmt.Errorf("%w: %w", err, errUsage)
		}
		c.Scope = s
	}
	if c.Scope == "" {
		c.Scope = wire.ScopeImportant
	}
	switch wire.Channel(f.channel) {
	case "":
	case wire.ChannelStable, wire.ChannelBeta:
		c.Channel = wire.Channel(f.channel)
	default:
		return fmt.Errorf("--channel is stable or beta, not %q: %w", f.channel, errUsage)
	}
	if c.Channel == "" {
		c.Channel = wire.ChannelStable
	}
	for path, v := range f.pins {
		if c.Pins == nil {
			c.Pins = map[string]string{}
		}
		c.Pins[path] = v
	}
	if f.platform != "" {
		goos, arch, ok := strings.Cut(f.platform, "/")
		if !ok {
			return fmt.Errorf("--platform is OS/ARCH, such as linux/amd64, not %q: %w", f.platform, errUsage)
		}
		arch, variant, _ := strings.Cut(arch, "/")
		c.System = wire.System{OS: goos, Arch: arch, Variant: variant, Kernel: c.System.Kernel}
	}
	if c.System.OS == "" {
		c.System.OS, c.System.Arch = runtime.GOOS, runtime.GOARCH
	}
	if f.kernel != "" {
		c.System.Kernel = f.kernel
	}
	return nil
}

// folder is where fetched things are kept.
func (f *planFlags) folder() (string, error) {
	if f.cache != "" {
		return f.cache, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a folder for what is fetched: %w (give --cache)", err)
	}
	return filepath.Join(dir, "evergreen"), nil
}

// planner makes one that asks the module proxy and the vulnerability database
// itself, as the environment says (GOPROXY, GOSUMDB, GONOSUMDB, GOPRIVATE).
func (f *planFlags) planner(ctx context.Context, c wire.Check) (*plan.Planner, error) {
	dir, err := f.folder()
	if err != nil {
		return nil, err
	}
	mods, err := moduleSource(filepath.Join(dir, "mod"))
	if err != nil {
		return nil, err
	}
	modules := []string{wire.Stdlib, wire.Toolchain}
	for _, m := range c.Build.Modules {
		modules = append(modules, m.Path)
	}
	db, err := vulndb.Open(ctx, f.vulndb, vulndb.Options{Cache: dir, Modules: modules, Scores: f.scores})
	if err != nil {
		return nil, fmt.Errorf("%w (give another database with --vulndb)", err)
	}
	cfg := plan.Config{Advisories: func() plan.Advisories { return db }, GoMods: mods, Versions: mods}
	if f.compile {
		// Our own module is in a build list with the version of its source.
		own, _, err := build.FindOwn("", ".")
		if err != nil {
			own = nil // builds without it can be tried all the same
		}
		maker, _, err := (&buildFlags{}).maker(ctx, own, f.stderr)
		if err != nil {
			return nil, err
		}
		cfg.Compiler = compiler{maker}
	}
	p, err := plan.New(cfg)
	if err != nil || c.Scope != wire.ScopeFeature && c.Scope != wire.ScopeAll {
		return p, err
	}
	// The versions that the proxy lists are releases, of Caddy and the plugins;
	// which those are, a plan that changes nothing tells.
	c.Scope = wire.ScopeNone
	now, err := p.Plan(ctx, c)
	if err != nil {
		return nil, err
	}
	modules = []string{wire.CaddyPath}
	for _, m := range now.Roots {
		if m.Plugin {
			modules = append(modules, m.Path)
		}
	}
	found, err := plan.FoundReleases(ctx, mods, modules)
	if err != nil {
		return nil, err
	}
	cfg.Releases = func() plan.Releases { return found }
	return plan.New(cfg)
}

// moduleSource reads go.mod files as the go command would.
func moduleSource(dir string) (*gomods.Source, error) {
	return gomods.New(gomods.Config{
		Dir:     dir,
		Proxies: gomods.Proxies(goenv.Get("GOPROXY")),
		SumDB:   goenv.Get("GOSUMDB"),
		NoSumDB: goenv.Get("GONOSUMDB"),
	})
}
