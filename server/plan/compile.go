package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// compile tries a plan. It returns the pair of modules that does not compile;
// nil if all of it does.
func (s *session) compile(p wire.Plan, found result) (*Pair, error) {
	failed, err := s.compiles(p.Roots, p.Build.Go)
	if err != nil || failed == nil {
		return nil, err
	}
	// What does not compile as it is today is nobody's raise, and must not be
	// remembered as if it were.
	now := result{at: s.base, goes: found.goes}
	roots, err := s.roots(now)
	if err != nil {
		return nil, err
	}
	today, err := s.compiles(roots, goName(now.goes))
	if err != nil {
		return nil, err
	}
	if today != nil {
		return nil, fmt.Errorf("nothing can be planned for a build that does not compile as it is: %w", today)
	}
	return s.blame(found, failed)
}

// compiles asks the compiler, once for equal roots.
func (s *session) compiles(roots []wire.ModuleVersion, goes string) (*CompileError, error) {
	key := goes + " " + s.check.System.String()
	for _, r := range roots {
		key += "\n" + r.String()
	}
	s.mu.Lock()
	ok := s.compiled[key]
	s.mu.Unlock()
	if ok {
		return nil, nil
	}
	err := s.cfg.Compiler.Compiles(s.ctx, roots, goes, s.check.System)
	var failed *CompileError
	switch {
	case errors.As(err, &failed):
		return failed, nil
	case err != nil:
		return nil, fmt.Errorf("trying whether the plan compiles: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.compiled) > 10_000 {
		clear(s.compiled)
	}
	s.compiled[key] = true
	return nil, nil
}

// blame finds which raise broke what. The compiler names the package that it
// gave up at; its module is what uses the one that was raised, and what is
// raised of what it asks for is under suspicion. If that is several, each is
// tried alone.
func (s *session) blame(found result, failed *CompileError) (*Pair, error) {
	with := s.failing(failed.Words, found.at)
	var suspects []string
	if g := found.at.asking[with]; g != nil {
		for _, r := range g.require {
			if v := found.at.selected[r.Path]; v != s.base.selected[r.Path] && found.at.linked[r.Path] {
				suspects = append(suspects, r.Path)
			}
		}
	}
	slices.Sort(suspects)
	if _, raised := found.want[with]; len(suspects) == 0 && raised {
		// It broke by itself.
		suspects, with = []string{with}, wire.CaddyPath
	}
	if suspects = named(suspects, failed.Words); len(suspects) != 1 {
		// The likeliest first: each try takes some seconds.
		slices.SortStableFunc(suspects, func(a, b string) int {
			return cmp.Or(
				rank(strings.Contains(failed.Words, usualName(a)))-rank(strings.Contains(failed.Words, usualName(b))),
				rank(found.want[a] != "")-rank(found.want[b] != ""))
		})
		var err error
		if suspects, err = s.alone(found, suspects); err != nil {
			return nil, err
		}
	}
	if len(suspects) == 0 {
		if found.at.selected[wire.CaddyPath] == s.base.selected[wire.CaddyPath] {
			return nil, fmt.Errorf("the build does not compile, and nothing that was raised explains it: %w", failed)
		}
		// Caddy's new version is the change; what it does not suit is the module
		// that failed.
		suspects = []string{wire.CaddyPath}
	}
	if with == suspects[0] || with == "" {
		with = wire.CaddyPath
	}
	return &Pair{
		Module: wire.ModuleVersion{Path: suspects[0], Version: found.at.selected[suspects[0]]},
		With:   wire.ModuleVersion{Path: with, Version: found.at.selected[with]},
		Words:  words(failed.Words),
	}, nil
}

// failing is the module of the package that the compiler names, in a line such
// as "# example.com/m/pkg"; Caddy's if it names none.
func (s *session) failing(text string, at *resolved) string {
	for line := range strings.Lines(text) {
		pkg, ok := strings.CutPrefix(strings.TrimSpace(line), "# ")
		if !ok {
			continue
		}
		best := ""
		for path := range at.selected {
			if len(path) > len(best) && (pkg == path || strings.HasPrefix(pkg, path+"/")) {
				best = path
			}
		}
		if best != "" {
			return best
		}
	}
	return wire.CaddyPath
}

// named are the suspects whose path the compiler writes in a type; if there is
// none, those whose package it uses by its usual name; else all.
func named(suspects []string, text string) []string {
	for _, is := range []func(string) bool{
		func(path string) bool { return strings.Contains(text, path) },
		func(path string) bool { return strings.Contains(text, usualName(path)+".") },
	} {
		if found := slices.DeleteFunc(slices.Clone(suspects), func(p string) bool { return !is(p) }); len(found) > 0 {
			return found
		}
	}
	return suspects
}

// usualName is how code refers to the package at a module's top: "cel" for
// github.com/google/cel-go.
func usualName(path string) string {
	elements := strings.Split(path, "/")
	name := elements[len(elements)-1]
	if len(elements) > 1 && strings.HasPrefix(name, "v") && strings.Trim(name[1:], "0123456789") == "" {
		name = elements[len(elements)-2]
	}
	return strings.TrimSuffix(strings.TrimPrefix(name, "go-"), "-go")
}

// alone tries the raises one by one and returns the first that does not compile
// by itself: those of suspects first, then those that the plan asks for.
func (s *session) alone(found result, suspects []string) ([]string, error) {
	rest := slices.Sorted(maps.Keys(found.want))
	slices.SortStableFunc(rest, func(a, b string) int { return rank(!s.isRoot(a)) - rank(!s.isRoot(b)) })
	for _, path := range append(suspects, rest...) {
		want := map[string]string{path: found.at.selected[path]}
		at, err := s.resolve(want)
		if err != nil {
			return nil, err
		}
		one := result{want: want, at: at}
		if one.goes, _, err = s.toolchain(at); err != nil {
			return nil, err
		}
		roots, err := s.roots(one)
		if err != nil {
			return nil, err
		}
		failed, err := s.compiles(roots, goName(one.goes))
		if err != nil {
			return nil, err
		}
		if failed != nil {
			return []string{path}, nil
		}
	}
	// Only together; then the last of them is left for another time.
	if len(suspects) > 0 {
		return suspects[len(suspects)-1:], nil
	}
	if len(rest) > 0 {
		return rest[len(rest)-1:], nil
	}
	return nil, nil
}
