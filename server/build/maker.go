package build

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/modfile"

	"github.com/caddy-evergreen/evergreen/internal/filelock"
	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/build/sandbox"
	"github.com/caddy-evergreen/evergreen/wire"
)

// MakerConfig is what a Maker needs. Folder is required.
type MakerConfig struct {
	Folder string // for lockfiles, work and caches
	// ModCache and GoCache are of `go`; "" is below Folder.
	ModCache, GoCache string
	Go                string  // the command; "" finds it in PATH
	Source            *Source // our module's; nil gets it from the proxy
	// Proxy and SumDB are as GOPROXY and GOSUMDB; "" is Go's own. No version
	// control system is ever asked, so that "direct" is left out of Proxy.
	Proxy, SumDB string
	NoSumDB      string // as GONOSUMDB: modules that the checksum database does not know
	// User is the user and group id that builds run as when the server is
	// root; 0 stays root, without its capabilities.
	User int
	// Isolate refuses to build without namespaces.
	Isolate bool
	// Bounds of one build; 0 takes the default.
	ResolveTime, CompileTime time.Duration
	Memory                   int64 // of one process, bytes
	MinFree                  int64 // of the disk, bytes
	Parallel                 int   // compilers at once; 0 is one per CPU
	Logger                   *slog.Logger
}

const (
	defaultResolveTime = 10 * time.Minute
	defaultCompileTime = 30 * time.Minute
	defaultMemory      = 4 << 30
	defaultMinFree     = 2 << 30
	maxWork            = 8 << 30   // below a build's folder: with the linker's own files
	maxFile            = 1 << 30   // of one file
	maxPrinted         = 128 << 20 // `go list` of a thousand packages is a few MB
	maxWords           = 32 << 10  // that are kept of what a failed command said
)

// A Maker makes executables from specs. It keeps lockfiles and caches, and no
// executables. Several calls may run at once.
type Maker struct {
	cfg    MakerConfig
	box    *sandbox.Sandbox
	goroot string // of the `go` in PATH
	goVer  string
	offer  string // GOPROXY entry with our own module; "" is none

	checks chan struct{} // one Compiles at a time: builds go on meanwhile

	mu         sync.Mutex
	toolchains map[string]string // GOROOT by version
}

// NewMaker prepares folders, and finds out what the machine has: `go`, and
// namespaces. It logs why there are none.
func NewMaker(ctx context.Context, cfg MakerConfig) (*Maker, error) {
	if cfg.Folder == "" {
		return nil, errors.New("building needs a folder")
	}
	for _, d := range []struct {
		at *time.Duration
		to time.Duration
	}{{&cfg.ResolveTime, defaultResolveTime}, {&cfg.CompileTime, defaultCompileTime}} {
		if *d.at == 0 {
			*d.at = d.to
		}
	}
	for _, d := range []struct {
		at *int64
		to int64
	}{{&cfg.Memory, defaultMemory}, {&cfg.MinFree, defaultMinFree}} {
		if *d.at == 0 {
			*d.at = d.to
		}
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = runtime.NumCPU()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if os.Geteuid() != 0 {
		cfg.User = 0
	}
	var err error
	if cfg.Folder, err = filepath.Abs(cfg.Folder); err != nil {
		return nil, err
	}
	own := func(at *string, name string) {
		if *at == "" {
			*at = filepath.Join(cfg.Folder, name)
		}
	}
	own(&cfg.ModCache, "modules")
	own(&cfg.GoCache, "compiled")
	m := &Maker{cfg: cfg, toolchains: map[string]string{}, checks: make(chan struct{}, 1)}
	var why error
	if m.box, why = sandbox.New(ctx); why != nil {
		if cfg.Isolate {
			return nil, fmt.Errorf("builds are to be isolated, but there are %w", why)
		}
		cfg.Logger.Warn("builds are not isolated from this machine: limits hold, walls do not", "why", why)
		m.cfg.User = 0 // another user could not reach the folders
	}
	for _, dir := range []string{m.locks(), m.work()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("making a folder to build in: %w", err)
		}
	}
	for _, dir := range []string{cfg.ModCache, cfg.GoCache} {
		if err := m.give(dir); err != nil {
			return nil, err
		}
	}
	// What a process left that was killed.
	left, err := os.ReadDir(m.work())
	if err != nil {
		return nil, err
	}
	for _, d := range left {
		if err := removeStale(filepath.Join(m.work(), d.Name())); err != nil {
			return nil, fmt.Errorf("removing what an earlier build left: %w", err)
		}
	}
	if err := m.findGo(ctx); err != nil {
		return nil, err
	}
	if cfg.Source != nil {
		if m.offer, err = cfg.Source.offer(m.proxy()); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Maker) locks() string { return filepath.Join(m.cfg.Folder, "locks") }
func (m *Maker) work() string  { return filepath.Join(m.cfg.Folder, "work") }
func (m *Maker) proxy() string { return filepath.Join(m.cfg.Folder, "own") }

// Isolation is how much builds are kept apart from the machine.
func (m *Maker) Isolation() sandbox.Isolation { return m.box.Isolation() }

// GoVersion is the toolchain that is there without being downloaded: "go1.26.11".
func (m *Maker) GoVersion() string { return m.goVer }

// give makes a folder that builds may write to.
func (m *Maker) give(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making a folder to build in: %w", err)
	}
	if m.cfg.User == 0 {
		return nil
	}
	if err := os.Chown(dir, m.cfg.User, m.cfg.User); err != nil {
		return fmt.Errorf("giving a folder to the builds' user: %w", err)
	}
	return nil
}

// removeStale removes a build's folder whose process has ended. Another
// process may share the folders.
func removeStale(dir string) error {
	lock, err := filelock.Take(filepath.Join(dir, "lock"))
	if err != nil {
		return nil
	}
	if err := lock.Close(); err != nil {
		return err
	}
	// What ran in there was killed with its server, but may take a moment to end.
	for range 20 {
		if err = os.RemoveAll(dir); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

func (m *Maker) findGo(ctx context.Context) error {
	name := m.cfg.Go
	if name == "" {
		name = "go"
	}
	cmd := exec.CommandContext(ctx, name, "env", "GOROOT", "GOVERSION")
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOFLAGS=", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("asking `go` where it is: %w (install Go 1.25 or newer and put it on PATH)", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 2 {
		return fmt.Errorf("asking `go` where it is: it answers %.100q", out)
	}
	m.goroot, m.goVer = strings.TrimSpace(lines[0]), strings.TrimSpace(lines[1])
	return nil
}

// Steps are what a Maker tells while it works; they are states of
// wire.BuildProgress.
const (
	stepResolving = "resolving"
	stepCompiling = "compiling"
	stepLinking   = "linking"
)

// Make makes the executable of a spec as the file out, which appears when it
// is whole. The error of what can't be built is a *Failure. Steps are told to
// on, which may be nil.
func (m *Maker) Make(ctx context.Context, spec artifact.Spec, out string, on func(step string)) (*artifact.Build, error) {
	if on == nil {
		on = func(string) {}
	}
	spec = spec.Canonical()
	if err := Check(spec); err != nil {
		return nil, err
	}
	if err := m.hasSource(spec); err != nil {
		return nil, err
	}
	files, err := program(spec)
	if err != nil {
		return nil, err
	}
	w, err := m.begin(ctx, spec.Go, spec.System, files)
	if err != nil {
		return nil, err
	}
	defer w.close()

	on(stepResolving)
	locked, err := w.readLock(spec.ID(), goMod(spec))
	if err != nil {
		return nil, err
	}
	list, err := w.resolve(ctx, locked)
	if err != nil {
		return nil, err
	}
	if err := matches(spec, list); err != nil {
		return nil, &Failure{Step: stepResolving, Words: err.Error(), Remember: true}
	}
	if !locked {
		if err := w.keepLock(spec.ID()); err != nil {
			return nil, err
		}
	}

	on(stepCompiling)
	if err := w.compile(ctx, on); err != nil {
		return nil, err
	}
	return w.deliver(spec, out)
}

// deliver looks at what the linker made and puts it in its place.
func (w *workplace) deliver(spec artifact.Spec, out string) (*artifact.Build, error) {
	made := filepath.Join(w.dir, "tmp", "caddy")
	b := &artifact.Build{Spec: spec}
	info, err := buildinfo.ReadFile(made)
	if err != nil {
		return nil, fmt.Errorf("reading the build list of what was made: %w", err)
	}
	b.List = buildList(info, spec.Plugins)
	if err := matches(spec, b.List); err != nil {
		return nil, fmt.Errorf("what was made is not what was asked for: %w", err)
	}
	if found, err := ReadSpec(made); err != nil || found.ID() != spec.ID() {
		return nil, fmt.Errorf("what was made does not hold its spec (%v)", err)
	}
	for _, f := range []struct {
		name string
		to   *string
	}{{"go.mod", &b.GoMod}, {"go.sum", &b.GoSum}} {
		text, err := os.ReadFile(filepath.Join(w.dir, f.name))
		if err != nil {
			return nil, err
		}
		*f.to = string(text)
	}
	if b.SHA256, b.Size, err = place(made, out); err != nil {
		return nil, fmt.Errorf("keeping the build: %w", err)
	}
	return b, nil
}

// Compiles tells whether a main package that imports the roots that are
// plugins, and Caddy, compiles for a system with a toolchain: it does not
// link; one call at a time works. What does not is a *Failure with Remember set; other errors tell
// nothing about the modules.
func (m *Maker) Compiles(ctx context.Context, roots []wire.ModuleVersion, toolchain string, system wire.System) error {
	spec := artifact.Spec{Go: toolchain, System: system}
	for _, r := range roots {
		switch {
		case r.Path == wire.CaddyPath:
			spec.Caddy = r.Version
		case r.Path == Module:
			spec.Evergreen = r.Version
		case r.Plugin:
			spec.Plugins = append(spec.Plugins, r)
		default:
			spec.Requires = append(spec.Requires, r)
		}
	}
	spec = spec.Canonical()
	if err := Check(spec); err != nil {
		return err
	}
	if err := m.hasSource(spec); err != nil {
		return err
	}
	files, err := program(spec)
	if err != nil {
		return err
	}
	select {
	case m.checks <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-m.checks }()
	w, err := m.begin(ctx, spec.Go, spec.System, files)
	if err != nil {
		return err
	}
	defer w.close()
	if err := os.WriteFile(filepath.Join(w.dir, "go.mod"), goMod(spec), 0o644); err != nil {
		return err
	}
	if _, err := w.resolve(ctx, false); err != nil {
		return err
	}
	return w.check(ctx)
}

// A workplace is the folder of one build.
type workplace struct {
	m      *Maker
	dir    string
	lock   *filelock.Lock
	goroot string
	system wire.System
}

func (m *Maker) begin(ctx context.Context, toolchain string, system wire.System, files map[string][]byte) (*workplace, error) {
	dir, err := os.MkdirTemp(m.work(), "build-")
	if err != nil {
		return nil, fmt.Errorf("making a folder to build in: %w", err)
	}
	w := &workplace{m: m, dir: dir, system: system}
	if w.lock, err = filelock.Take(filepath.Join(dir, "lock")); err != nil {
		return nil, errors.Join(fmt.Errorf("taking a folder to build in: %w", err), os.RemoveAll(dir))
	}
	if err := w.prepare(ctx, toolchain, files); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *workplace) prepare(ctx context.Context, toolchain string, files map[string][]byte) (err error) {
	for _, d := range []string{w.dir, filepath.Join(w.dir, "tmp")} {
		if err := w.m.give(d); err != nil {
			return err
		}
	}
	for name, b := range files {
		name = filepath.Join(w.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, b, 0o644)); err != nil {
			return fmt.Errorf("writing the program: %w", err)
		}
	}
	w.goroot, err = w.toolchain(ctx, toolchain)
	return err
}

func (w *workplace) close() {
	if err := errors.Join(w.lock.Close(), os.RemoveAll(w.dir)); err != nil {
		w.m.cfg.Logger.Warn("a build's folder stays", "err", err)
	}
}

// toolchain finds the GOROOT of a version, and downloads it as `go` does: as a
// module, checked against the checksum database.
func (w *workplace) toolchain(ctx context.Context, version string) (string, error) {
	m := w.m
	if version == m.goVer {
		return m.goroot, nil
	}
	m.mu.Lock()
	root := m.toolchains[version]
	m.mu.Unlock()
	if root != "" {
		return root, nil
	}
	w.goroot = m.goroot
	err := w.command(ctx, stepResolving, goCommand{args: []string{"version"}, network: true, toolchain: version})
	if err != nil {
		return "", fmt.Errorf("getting the toolchain: %w", err)
	}
	root = filepath.Join(m.cfg.ModCache, "golang.org", "toolchain@v0.0.1-"+version+"."+runtime.GOOS+"-"+runtime.GOARCH)
	if _, err := os.Stat(filepath.Join(root, "bin")); err != nil {
		return "", fmt.Errorf("getting the toolchain %s: `go` did not keep it where it should: %w", version, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.toolchains[version] = root
	return root, nil
}

// A lockfile is what a spec was resolved to, so that it is resolved once.
type lockfile struct {
	GoMod string `json:"go_mod"`
	GoSum string `json:"go_sum"`
}

func (w *workplace) readLock(id string, fresh []byte) (locked bool, err error) {
	var l lockfile
	b, err := os.ReadFile(filepath.Join(w.m.locks(), id+".json"))
	if err == nil {
		err = json.Unmarshal(b, &l)
		locked = true
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
		l.GoMod = string(fresh)
	}
	if err != nil {
		return false, fmt.Errorf("reading the lockfile: %w (delete it, and the spec is resolved again)", err)
	}
	return locked, errors.Join(
		os.WriteFile(filepath.Join(w.dir, "go.mod"), []byte(l.GoMod), 0o644),
		os.WriteFile(filepath.Join(w.dir, "go.sum"), []byte(l.GoSum), 0o644),
		w.giveFiles("go.mod", "go.sum"))
}

// giveFiles lets `go` rewrite them.
func (w *workplace) giveFiles(names ...string) error {
	if w.m.cfg.User == 0 {
		return nil
	}
	for _, n := range names {
		if err := os.Chown(filepath.Join(w.dir, n), w.m.cfg.User, w.m.cfg.User); err != nil {
			return err
		}
	}
	return nil
}

func (w *workplace) keepLock(id string) error {
	var l lockfile
	for _, f := range []struct {
		name string
		to   *string
	}{{"go.mod", &l.GoMod}, {"go.sum", &l.GoSum}} {
		b, err := readSmall(filepath.Join(w.dir, f.name), 4<<20)
		if err != nil {
			return fmt.Errorf("keeping the lockfile: %w", err)
		}
		*f.to = string(b)
	}
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(w.m.locks(), id+".json"), b); err != nil {
		return fmt.Errorf("keeping the lockfile: %w", err)
	}
	return nil
}

// adoptLock takes a lockfile that another server has made, unless there is one.
func (m *Maker) adoptLock(id string, l lockfile) error {
	name := filepath.Join(m.locks(), id+".json")
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := writeFile(name, b); err != nil {
		return fmt.Errorf("keeping the lockfile: %w", err)
	}
	return nil
}

func readSmall(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has more than %d bytes", filepath.Base(name), most)
	}
	return b, err
}

// fixGoMod takes out what another toolchain would do differently.
func (w *workplace) fixGoMod() error {
	name := filepath.Join(w.dir, "go.mod")
	b, err := readSmall(name, 4<<20)
	if err != nil {
		return err
	}
	f, err := modfile.Parse("go.mod", b, nil)
	if err != nil {
		return err
	}
	if f.Toolchain == nil {
		return nil
	}
	f.DropToolchainStmt()
	f.Cleanup()
	if b, err = f.Format(); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}
