package plan

import (
	"errors"
	"fmt"
	"go/version"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A goMod is what a go.mod file says about a build that it is not the main
// module of. Its replace and exclude lines do not count there.
type goMod struct {
	goLine  string // "1.25.0"; "" if it has none
	pruned  bool   // since Go 1.17 a go.mod names all that its packages need
	require []module.Version
	direct  []bool                    // of each of require: its own packages or tests import it
	retract []modfile.VersionInterval // versions that its author took back
	missing bool                      // it can't be had
	renamed string                    // under which name it can be had, if it is missing for that
}

// parseGoMod reads a go.mod file as `go` reads that of a dependency, which must
// have the name that it is asked for by.
func parseGoMod(of module.Version, b []byte) (*goMod, error) {
	f, err := modfile.ParseLax(of.String()+"/go.mod", b, nil)
	if err != nil {
		return nil, err
	}
	m := &goMod{}
	if f.Module != nil && f.Module.Mod.Path != of.Path {
		return &goMod{missing: true, renamed: f.Module.Mod.Path}, nil
	}
	if f.Go != nil {
		m.goLine = f.Go.Version
		m.pruned = version.Compare("go"+m.goLine, "go1.17") >= 0
	}
	for _, r := range f.Retract {
		m.retract = append(m.retract, r.VersionInterval)
	}
	for _, r := range f.Require {
		if module.Check(r.Mod.Path, r.Mod.Version) == nil {
			m.require = append(m.require, r.Mod)
			m.direct = append(m.direct, !r.Indirect)
		}
	}
	return m, nil
}

// maxMods is how many parsed go.mod files are kept; Caddy's builds need some
// hundreds, of all its versions some thousands.
const maxMods = 50_000

// load returns a module's go.mod.
func (s *session) load(m module.Version) (*goMod, error) {
	s.mu.Lock()
	g, ok := s.mods[m]
	s.mu.Unlock()
	if ok {
		return g, nil
	}
	b, err := s.cfg.GoMods.GoMod(s.ctx, m.Path, m.Version)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Not kept: it may appear.
		return &goMod{missing: true}, nil
	case err != nil:
		return nil, fmt.Errorf("resolving: %w", err)
	}
	g, err = parseGoMod(m, b)
	if err != nil {
		// Nobody can build with it either.
		return &goMod{missing: true}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mods) >= maxMods {
		clear(s.mods)
	}
	s.mods[m] = g
	return g, nil
}

// resolved is what `go` selects.
type resolved struct {
	selected map[string]string // path → version, linked or not
	goLine   string            // the lowest Go that all of them accept: "1.25.0"
	// asking are the modules whose go.mod files were read, at the versions that
	// were selected, with whom they require.
	asking map[string]*goMod
	// floors are dependencies that would have gone down, had they not been made
	// roots at today's version: what was raised no longer asks for it.
	floors map[string]string
	// linked are modules of selected that are taken to have a package in the
	// build: those of the build list, and of what is new what they ask for.
	linked map[string]bool
	// missing is a module whose go.mod can't be had, and was not missing before
	// anything was raised; "" if there is none.
	missing string
}

// resolve selects versions with Caddy, the plugins and what is held as they are
// today, and with the versions of want as lower bounds.
//
// `go mod tidy` makes each module that has a package in the build a root, at the
// selected version; and the requirements of roots, and those of modules of
// before Go 1.17 all the way down, decide. That is repeated until the roots are
// what is selected.
func (s *session) resolve(want map[string]string) (*resolved, error) {
	roots := map[string]string{wire.CaddyPath: s.have[wire.CaddyPath]}
	for _, p := range s.plugins {
		roots[p] = s.have[p]
	}
	for _, bounds := range []map[string]string{s.held, want} {
		for path, v := range bounds {
			if semver.Compare(v, roots[path]) > 0 || roots[path] == "" {
				roots[path] = v
			}
		}
	}
	key := keyOf(roots)
	if r, ok := s.resolved[key]; ok {
		return r, nil
	}
	bounds := maps.Clone(roots)
	floors := map[string]string{}
	var r *resolved
	// Versions only go up from one round to the next but for what a root of the
	// round before asked for, so this ends; the bound is for hostile go.mod files.
	for range 30 {
		var err error
		if r, err = s.mvs(roots); err != nil {
			return nil, err
		}
		linked, err := s.linked(r)
		if err != nil {
			return nil, err
		}
		next := map[string]string{}
		for path, v := range r.selected {
			if have := s.have[path]; s.base != nil && semver.Compare(v, have) < 0 {
				v = have
				bounds[path], floors[path] = v, v
			}
			if _, ok := bounds[path]; ok || linked[path] {
				next[path] = v
			}
		}
		if maps.Equal(next, roots) {
			break
		}
		roots = next
	}
	r.floors = floors
	var err error
	if r.linked, err = s.linked(r); err != nil {
		return nil, err
	}
	s.resolved[key] = r
	return r, nil
}

// linked tells which modules are taken to have a package in the build. What was
// required today already and is not in the build list has none. What is new has
// one if Caddy or a plugin names it, whose go.mod files name all that they need
// (since Go 1.17), or if a dependency that is higher than those name imports it
// and did not before.
func (s *session) linked(r *resolved) (map[string]bool, error) {
	linked := map[string]bool{}
	for path := range s.have {
		if _, ok := r.selected[path]; ok {
			linked[path] = true
		}
	}
	if s.base == nil {
		return linked, nil
	}
	named := map[string]string{} // by Caddy and the plugins
	var add func(g *goMod, direct bool, not *goMod, deeper bool)
	add = func(g *goMod, direct bool, not *goMod, deeper bool) {
		if g == nil {
			return // it becomes a root, and is read then
		}
		for i, q := range g.require {
			if _, before := s.base.selected[q.Path]; before || linked[q.Path] || direct && !g.direct[i] || not != nil && asks(not, q.Path) {
				continue
			}
			linked[q.Path] = true
			if next := r.asking[q.Path]; deeper && next != nil {
				add(next, true, nil, !next.pruned)
			}
		}
	}
	for _, path := range append([]string{wire.CaddyPath}, s.plugins...) {
		g := r.asking[path]
		if g == nil {
			continue
		}
		for _, q := range g.require {
			if semver.Compare(q.Version, named[q.Path]) > 0 {
				named[q.Path] = q.Version
			}
		}
		add(g, false, nil, !g.pruned)
	}
	for path, have := range s.have {
		v := r.selected[path]
		if s.isRoot(path) || v == "" || v == have || semver.Compare(v, named[path]) <= 0 {
			continue
		}
		if semver.Compare(named[path], have) > 0 {
			have = named[path]
		}
		before, err := s.load(module.Version{Path: path, Version: have})
		if err != nil {
			return nil, err
		}
		add(r.asking[path], true, before, true)
	}
	return linked, nil
}

// mvs selects the greatest of all versions that anything reachable asks for.
func (s *session) mvs(roots map[string]string) (*resolved, error) {
	r := &resolved{selected: maps.Clone(roots), asking: map[string]*goMod{}}
	type visit struct {
		m module.Version
		// whole: its requirements' requirements count too
		whole bool
	}
	var wave []visit
	for _, path := range slices.Sorted(maps.Keys(roots)) {
		wave = append(wave, visit{module.Version{Path: path, Version: roots[path]}, false})
	}
	seen := map[visit]bool{}
	loaded := map[module.Version]*goMod{}
	for len(wave) > 0 {
		if err := s.loadAll(func(yield func(module.Version) bool) {
			for _, v := range wave {
				if !yield(v.m) {
					return
				}
			}
		}, loaded); err != nil {
			return nil, err
		}
		var next []visit
		for _, v := range wave {
			s.visits++
			g := loaded[v.m]
			if g.missing && r.missing == "" {
				switch {
				case s.base == nil:
					s.absent[v.m.String()] = true
				case !s.absent[v.m.String()]:
					r.missing = v.m.String()
				}
			}
			if version.Compare("go"+g.goLine, "go"+r.goLine) > 0 {
				r.goLine = g.goLine
			}
			for _, q := range g.require {
				if have, ok := r.selected[q.Path]; !ok || semver.Compare(q.Version, have) > 0 {
					r.selected[q.Path] = q.Version
				}
				if to := (visit{q, true}); (v.whole || !g.pruned) && !seen[to] {
					seen[to] = true
					next = append(next, to)
				}
			}
		}
		wave = next
	}
	for m, g := range loaded {
		if r.selected[m.Path] == m.Version {
			r.asking[m.Path] = g
		}
	}
	return r, nil
}

// loadAll loads modules into loaded, those that must be fetched at the same time.
func (s *session) loadAll(ms func(func(module.Version) bool), loaded map[module.Version]*goMod) error {
	var cold []module.Version
	s.mu.Lock()
	for m := range ms {
		if loaded[m] != nil {
			continue
		}
		g, ok := s.mods[m]
		if !ok {
			g, ok = s.gone[m]
		}
		if ok {
			loaded[m] = g
			continue
		}
		cold = append(cold, m)
		loaded[m] = &goMod{missing: true} // so that it is listed once
	}
	s.mu.Unlock()
	if s.fetched += len(cold); s.fetched > s.cfg.MaxGoMods {
		return fmt.Errorf("resolving: more than %d go.mod files would have to be read for this build list", s.cfg.MaxGoMods)
	}
	found := make([]*goMod, len(cold))
	errs := make([]error, len(cold))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i, m := range cold {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			found[i], errs[i] = s.load(m)
		}()
	}
	wg.Wait()
	for i, m := range cold {
		if errs[i] != nil {
			return errs[i]
		}
		loaded[m] = found[i]
		if found[i].missing {
			if s.gone == nil {
				s.gone = map[module.Version]*goMod{}
			}
			s.gone[m] = found[i]
		}
	}
	return nil
}

// keyOf is the same for equal maps.
func keyOf(m map[string]string) string {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(m)) {
		b.WriteString(path)
		b.WriteByte('@')
		b.WriteString(m[path])
		b.WriteByte('\n')
	}
	return b.String()
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}
