package plan_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A world is all modules there are, with what is known of them.
type world struct {
	mods       map[string][]version // path → versions, ascending
	order      []string             // paths; each asks only for later ones
	advisories map[string][]wire.Advisory
	releases   map[string][]wire.Release
	broken     []plan.Pair // what does not compile
	compiled   int
}

type version struct {
	v       string
	pruned  bool
	goLine  string
	renamed string
	retract string
	require map[string]string
}

var asOf = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func (w *world) Advisories(path string) []wire.Advisory { return w.advisories[path] }
func (w *world) AsOf() time.Time                        { return asOf }
func (w *world) Releases(path string) []wire.Release    { return w.releases[path] }

func (w *world) Versions(_ context.Context, path string) ([]string, error) {
	if path == "golang.org/toolchain" {
		return []string{"v0.0.1-go1.25.0.linux-amd64", "v0.0.1-go1.25.1.linux-amd64", "v0.0.1-go1.25.2.linux-amd64", "v0.0.1-go1.26.0.linux-amd64"}, nil
	}
	var vs []string
	for _, v := range w.mods[path] {
		vs = append(vs, v.v)
	}
	return vs, nil
}

func (w *world) GoMod(_ context.Context, path, v string) ([]byte, error) {
	if path == "golang.org/toolchain" && v < "v0.0.1-go1.27" {
		return []byte("module golang.org/toolchain\n"), nil
	}
	m := w.find(path, v)
	if m == nil {
		return nil, fmt.Errorf("%s@%s: %w", path, v, fs.ErrNotExist)
	}
	var b strings.Builder
	if m.renamed != "" {
		path = m.renamed
	}
	fmt.Fprintf(&b, "module %s\n", path)
	switch {
	case m.goLine != "":
		fmt.Fprintf(&b, "go %s\n", m.goLine)
	case m.pruned:
		b.WriteString("go 1.20\n")
	}
	if m.retract != "" {
		fmt.Fprintf(&b, "retract %s\n", m.retract)
	}
	for _, p := range slices.Sorted(maps.Keys(m.require)) {
		fmt.Fprintf(&b, "require %s %s\n", p, m.require[p])
	}
	return []byte(b.String()), nil
}

// Compiles plays the compiler: the world says what does not compile.
func (w *world) Compiles(_ context.Context, roots []wire.ModuleVersion, _ string, _ wire.System) error {
	w.compiled++
	want := map[string]string{}
	for _, r := range roots {
		want[r.Path] = r.Version
	}
	at := w.resolve(want, nil)
	for _, p := range w.broken {
		if at[p.Module.Path] == p.Module.Version && at[p.With.Path] == p.With.Version {
			return &plan.CompileError{Words: fmt.Sprintf("# %s/inner\ninner/file.go:1:1: undefined: %s.X", p.With.Path, p.Module.Path)}
		}
	}
	return nil
}

func (w *world) find(path, v string) *version {
	for i := range w.mods[path] {
		if w.mods[path][i].v == v {
			return &w.mods[path][i]
		}
	}
	return nil
}

// resolve is what `go` selects, in the plainest way: the modules in linked are
// roots, too, at what is selected. With a nil linked all are.
func (w *world) resolve(bounds map[string]string, linked map[string]bool) map[string]string {
	roots := maps.Clone(bounds)
	for {
		selected := maps.Clone(roots)
		type node struct{ path, v string }
		seen := map[node]bool{}
		var visit func(n node, whole bool)
		visit = func(n node, whole bool) {
			m := w.find(n.path, n.v)
			if m == nil || whole && seen[n] {
				return
			}
			seen[n] = seen[n] || whole
			for p, v := range m.require {
				if semver.Compare(v, selected[p]) > 0 || selected[p] == "" {
					selected[p] = v
				}
				if whole || !m.pruned {
					visit(node{p, v}, true)
				}
			}
		}
		for p, v := range roots {
			visit(node{p, v}, false)
		}
		next := map[string]string{}
		for p, v := range selected {
			if bounds[p] != "" || linked == nil || linked[p] {
				next[p] = v
			}
		}
		if maps.Equal(next, roots) {
			return selected
		}
		roots = next
	}
}

// name is the version of a module that comes i-th.
func name(path string, i int) string {
	if path == wire.CaddyPath {
		return fmt.Sprintf("v2.%d.0", i)
	}
	return fmt.Sprintf("v1.%d.0", i)
}

// A generated world is small enough to try every build list there could be.
func generate(r *rand.Rand) (*world, wire.Check) {
	w := &world{mods: map[string][]version{}, advisories: map[string][]wire.Advisory{}, releases: map[string][]wire.Release{}}
	w.order = []string{wire.CaddyPath}
	plugins := r.IntN(2)
	for i := range plugins {
		w.order = append(w.order, fmt.Sprintf("example.com/plugin%d", i))
	}
	for i := range 2 + r.IntN(3) {
		w.order = append(w.order, fmt.Sprintf("example.com/dep%d", i))
	}
	// From the last to the first, so that a pruned go.mod can name all that its
	// requirements resolve to.
	for i := len(w.order) - 1; i >= 0; i-- {
		path := w.order[i]
		asked := map[string]int{}
		for _, p := range w.order[i+1:] {
			if !strings.Contains(p, "plugin") && r.IntN(5) < 3 {
				asked[p] = 0
			}
		}
		if i > 0 && i <= plugins {
			asked[w.order[0]] = 0 // a plugin asks for Caddy
		}
		pruned := r.IntN(3) > 0
		for j := range 2 + r.IntN(2) {
			if j > 0 {
				for _, p := range slices.Sorted(maps.Keys(asked)) {
					switch {
					case p == w.order[0]:
					case r.IntN(6) == 0:
						delete(asked, p)
					case r.IntN(2) == 0:
						asked[p] = min(asked[p]+1, len(w.mods[p])-1)
					}
				}
			}
			v := version{v: name(path, j), pruned: pruned, require: map[string]string{}}
			for p, at := range asked {
				v.require[p] = name(p, at)
			}
			if pruned {
				v.require = w.resolve(v.require, nil)
			}
			w.mods[path] = append(w.mods[path], v)
		}
	}
	for i := range 1 + r.IntN(4) {
		path := w.order[r.IntN(len(w.order))]
		from, to := r.IntN(2), 1+r.IntN(4)
		a := wire.Advisory{ID: fmt.Sprintf("GO-2026-%04d", i), Path: path, Severity: wire.SeverityUnrated, Ranges: []wire.Range{{}}}
		if from > 0 {
			a.Ranges[0].Introduced = name(path, from)
		}
		if to > from && to < len(w.mods[path]) {
			a.Ranges[0].Fixed = name(path, to)
		}
		if r.IntN(3) == 0 {
			a.Severity = wire.Severities[r.IntN(3)]
		}
		w.advisories[path] = append(w.advisories[path], a)
	}
	if r.IntN(2) == 0 {
		w.advisories[wire.Stdlib] = []wire.Advisory{{ID: "GO-2026-9999", Path: wire.Stdlib, Severity: wire.SeverityUnrated, Ranges: []wire.Range{{Fixed: "v1.25.1"}}}}
	}
	bounds := map[string]string{}
	for _, p := range w.order[:1+plugins] {
		bounds[p] = name(p, 0)
		if r.IntN(4) == 0 {
			bounds[p] = name(p, 1)
		}
	}
	at := w.resolve(bounds, nil)
	if p := w.order[len(w.order)-1]; at[p] != "" && r.IntN(4) == 0 {
		bounds[p] = w.mods[p][len(w.mods[p])-1].v // somebody raised it by hand
		at = w.resolve(bounds, nil)
	}
	c := wire.Check{Build: wire.BuildList{Go: "go1.25.0"}, System: wire.System{OS: "linux", Arch: "amd64"}, Scope: wire.Scopes[1+r.IntN(len(wire.Scopes)-1)]}
	for p, v := range at {
		c.Build.Modules = append(c.Build.Modules, wire.ModuleVersion{Path: p, Version: v, Plugin: strings.Contains(p, "plugin")})
	}
	c.Build.Sort()
	return w, c
}

func (w *world) planner() *plan.Planner {
	p, err := plan.New(plan.Config{
		Advisories: func() plan.Advisories { return w }, Releases: func() plan.Releases { return w }, GoMods: w, Versions: w, Compiler: w,
	})
	if err != nil {
		panic(err)
	}
	return p
}

// wrong are the ids of what the scope covers of what is wrong with versions, by
// severity.
func (w *world) wrong(c wire.Check, at map[string]string) [4]int {
	var n [4]int
	for p, v := range at {
		for _, a := range w.advisories[p] {
			sev := a.Severity
			if sev == wire.SeverityUnrated {
				sev = wire.SeverityImportant
			}
			in := a.Ranges[0]
			if c.Scope.Covers(sev) && semver.Compare(v, in.Introduced) >= 0 && (in.Fixed == "" || semver.Compare(v, in.Fixed) < 0) {
				n[slices.Index(wire.Severities, sev)]++
			}
		}
	}
	return n
}

func versionsOf(b wire.BuildList) map[string]string {
	m := map[string]string{}
	for _, v := range b.Modules {
		m[v.Path] = v.Version
	}
	return m
}
