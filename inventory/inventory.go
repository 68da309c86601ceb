// Package inventory finds out what an instance is: the static facts that a
// report carries beside its windows.
//
// What arrives is the running configuration as JSON, the process (its build
// list, environment and executable) and a few files of the machine. What leaves
// is one [wire.Facts].
//
// # Guarantees
//
// Only verdicts leave. A fact is a name of the dictionary, a number, a version
// that looks like one, or the path of a Go module that is taken for public (see
// below). No host name, path, address, header, user name or any other value of
// the configuration is ever copied into a fact; a test feeds a configuration
// full of secrets and looks for each of them in the result. What could not be
// found out is empty; what was found out and has no name in the dictionary is
// "other".
//
// Collecting never fails and never panics, whatever the configuration looks
// like: each group of facts is found on its own, and one that fails stays empty.
// Nothing is written, no program is run, and no address is looked up.
//
// # Modules
//
// The build list is what the linker recorded. A module is named if all of these
// hold, and otherwise it is "other", without a version and once only:
//
//   - its path's host is in a short list of public forges and well-known vanity
//     hosts (publicHosts);
//   - it was not replaced by a folder, and its version is a released or
//     pseudo-version, not "(devel)". Where it was replaced by another module,
//     that one is judged and named, since its code is what runs;
//   - it does not match GOPRIVATE or GONOPROXY of the process' environment.
//
// A private repository on a public forge cannot be told from a public one by
// the binary: its owner sets GOPRIVATE in Caddy's environment to keep its path
// back. A plugin is a module that registers Caddy modules and is not Caddy.
//
// # Guesses
//
// An installation is dpkg's, apk's, pacman's or Portage's if their database
// lists the executable's path. The databases of rpm and FreeBSD's pkg are not
// text; there, the database's presence and a path that belongs to packages
// (/usr/bin, or /usr/local/bin on FreeBSD) decide, so that an executable copied
// there by hand is taken for a package's. A path that a package owns counts as
// the package's even if its content was replaced since.
//
// The configuration's format is what the process was started with (its command
// line, as Caddy itself reads it). Configurations loaded later through the admin
// API arrive at Caddy as JSON, whatever they were written in, so they change
// nothing; a start with --resume, or without a configuration file, has none.
package inventory

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Input is what facts are made of and may change from report to report.
type Input struct {
	// ConfigJSON is the running configuration (all of it, as GET /config/
	// answers), or empty if none runs.
	ConfigJSON []byte
	// AdapterName is the configuration's format if the caller knows it; empty
	// takes it from the command line.
	AdapterName string
	Started     time.Time // when the process started; zero: unknown
	Now         time.Time
	// Label is the operator's own, [a-z0-9-]{1,32}; anything else is left out.
	Label string
}

// A Collector collects facts, and keeps those that cannot change while the
// process runs. It is safe for concurrent use.
type Collector struct {
	root       string // where the machine's files are: "/", or a test's folder
	env        func(string) string
	goos       string
	executable func() (string, error)
	args       []string
	build      func() (*debug.BuildInfo, bool)
	modules    func() []registration
	plugins    []string // module paths that the executable's builder was asked for
	// real is whether root is this machine's own, so that what is not in a
	// file may be asked of the process.
	real bool

	once   sync.Once
	static *wire.Facts
}

// New makes a Collector for the machine whose file system is at root ("/") and
// the environment env, as of os.Getenv. It reads nothing yet.
func New(root string, env func(string) string) *Collector {
	if env == nil {
		env = func(string) string { return "" }
	}
	if root == "" {
		root = "/"
	}
	return &Collector{
		root:       root,
		env:        env,
		goos:       runtime.GOOS,
		executable: os.Executable,
		args:       os.Args,
		build:      debug.ReadBuildInfo,
		modules:    registrations,
		real:       filepath.Clean(root) == string(filepath.Separator),
	}
}

// WithPlugins names the modules that the executable was built with on purpose.
// Those that register Caddy modules are found without.
func (c *Collector) WithPlugins(paths []string) *Collector {
	c.plugins = paths
	return c
}

// Collect is New("/", os.Getenv).Facts(in), for a caller that asks once.
func Collect(in Input) *wire.Facts { return New("/", os.Getenv).Facts(in) }

// Facts collects. The result is the caller's.
func (c *Collector) Facts(in Input) *wire.Facts {
	c.once.Do(func() { c.static = c.collectStatic() })
	s := c.static
	f := &wire.Facts{
		CaddyVersion: s.CaddyVersion, GoVersion: s.GoVersion, EvergreenVersion: s.EvergreenVersion,
		Os: s.Os, Arch: s.Arch, Kernel: s.Kernel, Container: s.Container, Init: s.Init, Installation: s.Installation,
		CpuFeatures: append([]string(nil), s.CpuFeatures...),
	}
	for _, m := range s.Modules {
		f.Modules = append(f.Modules, &wire.Module{Path: m.Path, Version: m.Version, Plugin: m.Plugin})
	}
	// CPUs and memory can be given and taken while a container runs.
	safely(func() { f.Cpus = uint32(runtime.GOMAXPROCS(0)) })
	safely(func() { f.Memory = memoryClass(c.memory()) })
	safely(func() {
		if up := in.Now.Sub(in.Started); !in.Started.IsZero() && up > 0 {
			f.UptimeSeconds = uint64(up / time.Second)
		}
	})
	safely(func() { f.ConfigAdapter = c.adapter(in.AdapterName) })
	if labelPattern.MatchString(in.Label) {
		f.Label = in.Label
	}
	safely(func() { c.describe(f, in.ConfigJSON) })
	return f
}

func (c *Collector) collectStatic() *wire.Facts {
	f := new(wire.Facts)
	safely(func() { f.CaddyVersion = caddyVersion(caddy.Version()) })
	safely(func() { f.GoVersion = goVersion(runtime.Version()) })
	safely(func() { c.buildList(f) })
	safely(func() { f.Os, f.Arch = named(wire.OS, c.goos), named(wire.Arch, runtime.GOARCH) })
	safely(func() { f.Kernel = c.kernel() })
	safely(func() { f.CpuFeatures = cpuFeatures() })
	safely(func() { f.Container = c.container() })
	safely(func() { f.Init = c.starter(f.Container) })
	safely(func() { f.Installation = c.installation(f.Container) })
	return f
}

var labelPattern = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// safely keeps a group of facts that meets something unheard of from taking
// the others, or Caddy, with it.
func safely(collect func()) {
	defer func() { _ = recover() }()
	collect()
}

// named is s as the dictionary has it: "" stays unknown, what d lacks is "other".
func named(d *wire.Dimension, s string) string {
	if s == "" {
		return ""
	}
	return d.ValueName(d.Value(s))
}

func count(n int) uint32 { return uint32(min(max(n, 0), math.MaxInt32)) }
