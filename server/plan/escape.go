package plan

import (
	"maps"
	"slices"

	"golang.org/x/mod/module"

	"github.com/caddy-evergreen/evergreen/wire"
)

// escape looks for ways out that raising the module itself is none of: raising
// what asks for it to versions that don't, or raising what its better versions
// do not compile with.
func (s *session) escape(want map[string]string, at *resolved, stuck map[wire.ModuleVersion]bool) (moved bool, err error) {
	roots, dependencies := s.hits(at)
	for _, path := range append(roots, dependencies...) {
		for _, way := range []func(string, map[string]string, *resolved) (map[string]string, error){s.aroundPartners, s.without} {
			with, err := way(path, want, at)
			if err != nil {
				return false, err
			}
			if with == nil {
				continue
			}
			maps.Copy(want, with)
			clear(stuck) // what is stuck may move with the new ones
			return true, nil
		}
	}
	return false, nil
}

// without raises those that ask for a module to the lowest versions that don't.
func (s *session) without(path string, want map[string]string, at *resolved) (map[string]string, error) {
	if s.isRoot(path) {
		return nil, nil
	}
	if _, ok := s.held[path]; ok {
		return nil, nil
	}
	with := maps.Clone(want)
	delete(with, path)
	asking := slices.DeleteFunc(slices.Sorted(maps.Keys(at.asking)), func(p string) bool {
		return !asks(at.asking[p], path)
	})
	// Those that can't be replaced end it at once, so they go first.
	slices.SortStableFunc(asking, func(a, b string) int { return rank(s.isRoot(a)) - rank(s.isRoot(b)) })
	for _, p := range asking {
		v, err := s.notAsking(p, path, at.selected[p])
		if err != nil {
			return nil, err
		}
		switch {
		case v != "":
			with[p] = v
		case s.isRoot(p):
			return nil, nil
		}
	}
	then, err := s.resolve(with)
	if err != nil {
		return nil, err
	}
	if s.violates(then) != "" || s.total(then).cmp(s.total(at)) >= 0 {
		return nil, nil
	}
	return with, nil
}

func rank(root bool) int {
	if root {
		return 0
	}
	return 1
}

func asks(g *goMod, path string) bool {
	return slices.ContainsFunc(g.require, func(r module.Version) bool { return r.Path == path })
}

// notAsking is the lowest version of p above one, no worse than it, that does
// not ask for a module; "" if there is none.
func (s *session) notAsking(p, path, above string) (string, error) {
	cs, err := s.candidates(p, above)
	if err != nil {
		return "", err
	}
	now := s.badnessOf(p, above)
	cs = slices.DeleteFunc(cs, func(c candidate) bool { return c.badness.cmp(now) > 0 })
	slices.SortFunc(cs, func(a, b candidate) int { return compareVersions(a.version, b.version) })
	for _, c := range cs {
		g, err := s.load(module.Version{Path: p, Version: c.version})
		if err != nil {
			return "", err
		}
		if !g.missing && !asks(g, path) {
			return c.version, nil
		}
	}
	return "", nil
}

// aroundPartners raises what better versions of a module do not compile with.
func (s *session) aroundPartners(path string, want map[string]string, at *resolved) (map[string]string, error) {
	partners := slices.Sorted(maps.Keys(s.partners[path]))
	// A dependency rather than Caddy or a plugin.
	slices.SortStableFunc(partners, func(a, b string) int { return rank(!s.isRoot(a)) - rank(!s.isRoot(b)) })
	for _, p := range partners {
		if !s.partners[path][p] {
			continue
		}
		cs, err := s.candidates(p, at.selected[p])
		if err != nil {
			return nil, err
		}
		cs = slices.Clone(cs)
		slices.SortFunc(cs, func(a, b candidate) int { return compareVersions(a.version, b.version) })
		for _, c := range cs {
			g, err := s.load(module.Version{Path: p, Version: c.version})
			if err != nil {
				return nil, err
			}
			if g.missing {
				continue
			}
			with := maps.Clone(want)
			with[p] = c.version
			then, err := s.resolve(with)
			if err != nil {
				return nil, err
			}
			if s.violates(then) != "" {
				continue
			}
			if _, ok := then.selected[path]; ok {
				v, err := s.best(path, with, then, true)
				if err != nil {
					return nil, err
				}
				if v != "" {
					with[path] = v
					if then, err = s.resolve(with); err != nil {
						return nil, err
					}
				}
			}
			if s.total(then).cmp(s.total(at)) < 0 {
				return with, nil
			}
		}
	}
	return nil, nil
}
