// Package plan finds the smallest change of a build that fixes what an operator
// wants fixed.
//
// In goes a wire.Check: which modules an executable was built from, with which
// Go, for which system, and what its operator wants (scope, channel, pins). Out
// comes a wire.Plan: the modules that change, why each of them does, the build
// list that `go` resolves afterwards, and what stays unfixed and why.
//
// Smallest means, in this order: fewest modules changed among Caddy and the
// plugins, least distance in versions, fewest dependencies changed. Go selects
// minimal versions, so versions only go up, and so does "the smallest version at
// least v that nothing is wrong with". Raising each module that something is
// wrong with to that version, again and again until nothing moves, therefore
// ends at the least of all build lists that fix as much; raises that another one
// made redundant are dropped at the end. Only then is Go's toolchain chosen: the
// smallest patch without fault that the modules accept.
//
// Guaranteed: the answer is determined by the check and by what the planner
// knows (advisories, releases, lists of versions, go.mod files, what is known
// not to compile); no version goes down; nothing changes that neither a reason
// nor the change of another module asks for; what can be fixed within the scope
// is; planning for the planned build list plans nothing more, unless a release
// had to be stepped through first. What was found not to compile is planned
// around, and remembered.
package plan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/server/linked"
	"github.com/caddy-evergreen/evergreen/wire"
)

// ErrNotReleased says that there is nothing to plan from: the running Caddy is
// of no released version.
var ErrNotReleased = errors.New("this Caddy was not built from a released version")

// Advisories is a vulnerability database at one moment.
type Advisories interface {
	// Advisories are those of a module, of wire.Stdlib or of wire.Toolchain.
	Advisories(path string) []wire.Advisory
	// AsOf is when the database was published.
	AsOf() time.Time
}

// Releases are what is known of versions at one moment.
type Releases interface {
	Releases(path string) []wire.Release
}

// GoMods are go.mod files. An error that is fs.ErrNotExist says that a version
// can't be had; any other ends planning.
type GoMods interface {
	GoMod(ctx context.Context, path, version string) ([]byte, error)
}

// Versions lists the known versions of a module, in any order; none if they
// can't be listed.
type Versions interface {
	Versions(ctx context.Context, path string) ([]string, error)
}

// A Compiler tries whether a build list compiles, without linking. Its error is
// a *CompileError if the compiler refused; any other ends planning.
type Compiler interface {
	Compiles(ctx context.Context, roots []wire.ModuleVersion, goVersion string, system wire.System) error
}

// A CompileError is that code does not compile.
type CompileError struct {
	Words string // the compiler's own
}

func (e *CompileError) Error() string { return "it does not compile: " + e.Words }

// A Memory keeps what is known not to compile.
type Memory interface {
	Forbidden(ctx context.Context) ([]Pair, error)
	Forbid(ctx context.Context, p Pair) error
}

// A Pair is two modules of which the second does not compile with the first.
type Pair struct {
	Module wire.ModuleVersion `json:"module"` // what was raised
	With   wire.ModuleVersion `json:"with"`   // what uses it
	Words  string             `json:"words"`  // the compiler's
}

// Config is what a planner knows. GoMods is required.
type Config struct {
	// Advisories and Releases return a snapshot, which one plan uses throughout.
	// Nil: there is none.
	Advisories func() Advisories
	Releases   func() Releases
	GoMods     GoMods
	// Versions may be nil: then advisories and releases name the versions.
	Versions Versions
	// Compiler may be nil: then it is not tried whether a plan compiles.
	Compiler Compiler
	// Memory may be nil: then what does not compile is forgotten on exit.
	Memory Memory
	// Linked returns what is in the executable that a check is of, where somebody
	// knows, such as who built it; nil where nobody does. It may be nil.
	Linked func(ctx context.Context, c wire.Check) *linked.Names
	// MaxGoMods is how many go.mod files that were not asked for before one plan
	// may read, 10,000 if it is 0: a hostile build list can't make the planner
	// read the whole of a proxy.
	MaxGoMods int
	// Host is the platform of the toolchains that builds are made with;
	// "linux-amd64".
	Host string
}

// A Planner plans. It may be used by several goroutines.
type Planner struct {
	cfg Config

	mu       sync.Mutex
	mods     map[module.Version]*goMod // parsed go.mod files
	compiled map[string]bool           // roots that compiled
}

// New makes a planner.
func New(cfg Config) (*Planner, error) {
	if cfg.GoMods == nil {
		return nil, errors.New("a planner needs a source of go.mod files")
	}
	if cfg.Host == "" {
		cfg.Host = "linux-amd64"
	}
	if cfg.MaxGoMods == 0 {
		cfg.MaxGoMods = 10_000
	}
	if cfg.Memory == nil {
		cfg.Memory = &memory{}
	}
	return &Planner{cfg: cfg, mods: map[module.Version]*goMod{}, compiled: map[string]bool{}}, nil
}

// Plan answers a check.
func (p *Planner) Plan(ctx context.Context, c wire.Check) (wire.Plan, error) {
	var names *linked.Names
	if p.cfg.Linked != nil {
		names = p.cfg.Linked(ctx, c)
	}
	return p.PlanLinked(ctx, c, names)
}

// PlanWithout answers a check as if the releases in held were not there: they
// are neither reasons nor what anything is raised to, unless they run already.
func (p *Planner) PlanWithout(ctx context.Context, c wire.Check, held []wire.ModuleVersion) (wire.Plan, error) {
	var names *linked.Names
	if p.cfg.Linked != nil {
		names = p.cfg.Linked(ctx, c)
	}
	return p.plans(ctx, c, names, held)
}

// tries is how many plans that do not compile are planned around.
const tries = 12

// PlanLinked answers a check of an executable whose functions are known; nil
// are not.
func (p *Planner) PlanLinked(ctx context.Context, c wire.Check, names *linked.Names) (wire.Plan, error) {
	return p.plans(ctx, c, names, nil)
}

func (p *Planner) plans(ctx context.Context, c wire.Check, names *linked.Names, without []wire.ModuleVersion) (wire.Plan, error) {
	for try := 0; ; try++ {
		s, err := p.session(ctx, c, names)
		if err != nil {
			return wire.Plan{}, err
		}
		for _, m := range without {
			if m.Path == wire.Toolchain {
				m.Version = goSemver(m.Version)
			}
			s.heldBack[wire.ModuleVersion{Path: m.Path, Version: m.Version}] = true
		}
		found, err := s.search()
		if err != nil {
			return wire.Plan{}, err
		}
		plan, err := s.plan(found)
		if err != nil || len(plan.Changes) == 0 || p.cfg.Compiler == nil {
			return plan, err
		}
		broken, err := s.compile(plan, found)
		if err != nil || broken == nil {
			return plan, err
		}
		if try == tries {
			return wire.Plan{}, fmt.Errorf("none of %d plans compiles; the last because of %s with %s: %s", tries, broken.Module, broken.With, broken.Words)
		}
		if err := p.cfg.Memory.Forbid(ctx, *broken); err != nil {
			return wire.Plan{}, fmt.Errorf("remembering that %s does not compile with %s: %w", broken.Module, broken.With, err)
		}
	}
}

// memory keeps pairs for as long as the process runs.
type memory struct {
	mu    sync.Mutex
	pairs []Pair
}

func (m *memory) Forbidden(context.Context) ([]Pair, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pairs[:len(m.pairs):len(m.pairs)], nil
}

func (m *memory) Forbid(_ context.Context, p Pair) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pairs = append(m.pairs, p)
	return nil
}

// A session is the making of one plan.
type session struct {
	*Planner
	ctx        context.Context
	check      wire.Check
	advisories Advisories // nil: none
	releases   Releases   // nil: none
	pairs      []Pair
	heldBack   map[wire.ModuleVersion]bool // not to be had for now
	names      *linked.Names

	have    map[string]string // the modules of the build list that have a go.mod file
	opaque  []wire.ModuleVersion
	plugins []string          // paths, sorted
	held    map[string]string // dependencies that are higher than Caddy and the plugins ask for
	base    *resolved         // what `go` resolves today
	absent  map[string]bool   // go.mod files that were missing today already

	ceilings map[string]ceiling
	reasoned map[wire.ModuleVersion][]reason
	listed   map[string][]candidate
	resolved map[string]*resolved
	rejected map[string][]rejection
	fetched  int                       // go.mod files that were not known before
	visits   int                       // go.mod files that were looked at
	gone     map[module.Version]*goMod // those that can't be had
	// crooked says that the least version of each module is not sure to be part
	// of the least build list: something was refused, or raised more than once.
	crooked  bool
	raising  string                     // module whose raise is being tried
	partners map[string]map[string]bool // path → whom its better versions do not compile with
}

// A ceiling is a version that a module must not exceed.
type ceiling struct{ version, why string }

// A rejection is why a module was not brought to a version.
type rejection struct{ version, why string }

func (p *Planner) session(ctx context.Context, c wire.Check, names *linked.Names) (*session, error) {
	if err := c.Build.Check(); err != nil {
		return nil, fmt.Errorf("the build list: %w", err)
	}
	if c.Scope == "" {
		c.Scope = wire.ScopeNone
	}
	if _, err := wire.ParseScope(string(c.Scope)); err != nil {
		return nil, err
	}
	switch c.Channel {
	case "":
		c.Channel = wire.ChannelStable
	case wire.ChannelStable, wire.ChannelBeta:
	default:
		return nil, fmt.Errorf("channel is %.40q: it is stable or beta", c.Channel)
	}
	for path, v := range c.Pins {
		if !semver.IsValid(v) && (path != wire.Toolchain || goSemver(v) == "") {
			return nil, fmt.Errorf("%.100q is pinned to %.100q, which is no version", path, v)
		}
	}
	s := &session{
		Planner: p, ctx: ctx, check: c, names: names,
		have: map[string]string{}, held: map[string]string{}, absent: map[string]bool{}, heldBack: map[wire.ModuleVersion]bool{},
		ceilings: map[string]ceiling{}, reasoned: map[wire.ModuleVersion][]reason{}, listed: map[string][]candidate{},
		resolved: map[string]*resolved{}, rejected: map[string][]rejection{}, partners: map[string]map[string]bool{},
	}
	if p.cfg.Advisories != nil {
		s.advisories = p.cfg.Advisories()
	}
	if p.cfg.Releases != nil {
		s.releases = p.cfg.Releases()
	}
	var err error
	if s.pairs, err = p.cfg.Memory.Forbidden(ctx); err != nil {
		return nil, fmt.Errorf("reading what does not compile: %w", err)
	}
	for _, m := range c.Build.Modules {
		if module.CanonicalVersion(m.Version) != m.Version || module.Check(m.Path, m.Version) != nil {
			s.opaque = append(s.opaque, m)
			continue
		}
		s.have[m.Path] = m.Version
	}
	if s.have[wire.CaddyPath] == "" {
		return nil, fmt.Errorf("%w: its version is %.100q", ErrNotReleased, c.Build.Version(wire.CaddyPath))
	}
	if goSemver(c.Build.Go) == "" {
		return nil, fmt.Errorf("%w: Go's is %.100q", ErrNotReleased, c.Build.Go)
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	s.setCeilings()
	return s, nil
}

// start finds the plugins, what is held higher than they ask for, and what `go`
// resolves today.
func (s *session) start() error {
	for _, m := range s.check.Build.Modules {
		if m.Plugin && s.have[m.Path] != "" && m.Path != wire.CaddyPath {
			s.plugins = append(s.plugins, m.Path)
		}
	}
	var err error
	if len(s.plugins) == 0 {
		if s.plugins, err = s.guessPlugins(); err != nil {
			return err
		}
	}
	now, err := s.resolve(nil)
	if err != nil {
		return err
	}
	for path, v := range s.have {
		if w, ok := now.selected[path]; !ok || semver.Compare(v, w) > 0 {
			s.held[path] = v
		}
	}
	clear(s.resolved) // they were made without what is held
	s.base, err = s.resolve(nil)
	return err
}

// guessPlugins finds the plugins of a build list that does not name them: they
// are what neither Caddy nor another module asks for.
func (s *session) guessPlugins() ([]string, error) {
	caddy, err := s.resolve(nil)
	if err != nil {
		return nil, err
	}
	clear(s.resolved)
	var strange []string
	for path := range s.have {
		if _, ok := caddy.selected[path]; !ok {
			strange = append(strange, path)
		}
	}
	asked := map[string]bool{}
	for _, path := range strange {
		m, err := s.load(module.Version{Path: path, Version: s.have[path]})
		if err != nil {
			return nil, err
		}
		for _, r := range m.require {
			asked[r.Path] = true
		}
	}
	var plugins []string
	for _, path := range sorted(strange) {
		if !asked[path] {
			plugins = append(plugins, path)
		}
	}
	return plugins, nil
}

// isRoot tells whether a module is Caddy or a plugin.
func (s *session) isRoot(path string) bool { return s.kind(path) != wire.ChangeDependency }

func (s *session) kind(path string) wire.ChangeKind {
	if path == wire.CaddyPath {
		return wire.ChangeCaddy
	}
	if path == wire.Toolchain {
		return wire.ChangeToolchain
	}
	for _, p := range s.plugins {
		if p == path {
			return wire.ChangePlugin
		}
	}
	return wire.ChangeDependency
}

// setCeilings notes which versions must not be exceeded.
func (s *session) setCeilings() {
	for path, v := range s.check.Pins {
		why := "pinned to " + v
		if path == wire.Toolchain && !strings.HasPrefix(v, "v") {
			v = goSemver(v)
		}
		s.ceilings[path] = ceiling{v, why}
	}
	if s.releases == nil {
		return
	}
	for _, path := range append([]string{wire.CaddyPath}, s.plugins...) {
		var step string
		for _, r := range s.releases.Releases(path) {
			if r.Step && r.Yanked == "" && semver.Compare(r.Version, s.have[path]) > 0 && s.offered(r) && (step == "" || semver.Compare(r.Version, step) < 0) {
				step = r.Version
			}
		}
		if c, ok := s.ceilings[path]; step != "" && (!ok || semver.Compare(step, c.version) < 0) {
			s.ceilings[path] = ceiling{step, step + " must run first"}
		}
	}
}
