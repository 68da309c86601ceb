package plan

import (
	"fmt"
	"maps"
	"slices"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A result is what the search ended at.
type result struct {
	want map[string]string // raises that are needed: path → version
	at   *resolved
	goes string // toolchain, as a semantic version
}

// maxRounds bounds the search; each round raises something, so it ends by
// itself.
const maxRounds = 500

// search raises what something is wrong with until nothing moves.
func (s *session) search() (result, error) {
	r, err := s.modules(len(s.ceilings) > 0 || len(s.pairs) > 0 || len(s.heldBack) > 0 || s.check.System.Kernel != "")
	if err != nil {
		return result{}, err
	}
	if r.at.missing != "" {
		// A raise asks for what can't be had: find out which, trying each.
		clear(s.rejected)
		clear(s.listed)
		if r, err = s.modules(true); err != nil {
			return result{}, err
		}
	}
	var had bool
	if r.goes, had, err = s.toolchain(r.at); err != nil || had {
		return r, err
	}
	// A raise asks for a Go that can't be had: do without it.
	s.ceilings[wire.Toolchain] = ceiling{goSemver(s.check.Build.Go), goName(r.goes) + " can't be had"}
	clear(s.listed)
	if r, err = s.modules(true); err != nil {
		return result{}, err
	}
	r.goes, _, err = s.toolchain(r.at)
	return r, err
}

// modules searches among modules. With try, the build list of each raise is
// resolved before it is made, since there is something that it could violate.
func (s *session) modules(try bool) (result, error) {
	want, escaped, err := s.settle(map[string]string{}, try, true)
	if err != nil {
		return result{}, err
	}
	at, err := s.resolve(want)
	if err != nil {
		return result{}, err
	}
	if escaped || s.crooked || s.brings(at) {
		if want, at, err = s.polish(want, at); err != nil {
			return result{}, err
		}
	}
	return result{want: want, at: at}, nil
}

// settle raises, beginning with want, until nothing moves, and drops what is
// redundant then.
func (s *session) settle(want map[string]string, try, escape bool) (_ map[string]string, escaped bool, err error) {
	at, err := s.resolve(want)
	if err != nil {
		return nil, false, err
	}
	stuck := map[wire.ModuleVersion]bool{}
	for range maxRounds {
		moved, err := s.raise(want, at, stuck, try)
		if err != nil {
			return nil, false, err
		}
		if !moved && escape {
			if moved, err = s.escape(want, at, stuck); err != nil {
				return nil, false, err
			}
			escaped = escaped || moved
		}
		if !moved {
			break
		}
		if at, err = s.resolve(want); err != nil {
			return nil, false, err
		}
	}
	want, err = s.drop(want)
	return want, escaped, err
}

// hits are the linked modules that something is wrong with: Caddy, the plugins
// and the dependencies, each by path.
func (s *session) hits(at *resolved) (roots, dependencies []string) {
	for _, path := range slices.Sorted(maps.Keys(at.selected)) {
		if !at.linked[path] || len(s.reasons(path, at.selected[path])) == 0 {
			continue
		}
		if s.isRoot(path) {
			roots = append(roots, path)
		} else {
			dependencies = append(dependencies, path)
		}
	}
	return roots, dependencies
}

// raise puts the least version that helps in want, for each module that
// something is wrong with: for Caddy and the plugins first, because what they
// bring may be all that a dependency needs.
func (s *session) raise(want map[string]string, at *resolved, stuck map[wire.ModuleVersion]bool, try bool) (moved bool, err error) {
	roots, dependencies := s.hits(at)
	for _, paths := range [][]string{roots, dependencies} {
		for _, path := range paths {
			m := wire.ModuleVersion{Path: path, Version: at.selected[path]}
			if stuck[m] {
				continue
			}
			v, err := s.best(path, want, at, try)
			if err != nil {
				return false, err
			}
			if v == "" {
				stuck[m] = true
				continue
			}
			s.crooked = s.crooked || want[path] != ""
			want[path], moved = v, true
		}
		if moved {
			return true, nil
		}
	}
	return false, nil
}

// best is the least bad version that a module can be brought to, and among
// equals the lowest; "" if none is better than what it is at.
func (s *session) best(path string, want map[string]string, at *resolved, try bool) (string, error) {
	now := s.badnessOf(path, at.selected[path])
	cs, err := s.candidates(path, at.selected[path])
	if err != nil {
		return "", err
	}
	for _, c := range cs {
		if c.badness.cmp(now) >= 0 {
			break
		}
		g, err := s.load(module.Version{Path: path, Version: c.version})
		if err != nil {
			return "", err
		}
		if g.missing {
			why := c.version + " can't be had"
			if g.renamed != "" {
				why = c.version + " is of " + g.renamed + ", which it was renamed to"
			}
			s.reject(path, c.version, why)
			continue
		}
		if try {
			with := maps.Clone(want)
			with[path] = c.version
			then, err := s.resolve(with)
			if err != nil {
				return "", err
			}
			s.raising = path
			if why := s.violates(then); why != "" {
				s.reject(path, c.version, why)
				continue
			}
		}
		return c.version, nil
	}
	return "", nil
}

// violates says why a build list must not be; "" if it may. What is so today
// already is no violation.
func (s *session) violates(r *resolved) string {
	why := s.violation(r)
	s.crooked = s.crooked || why != ""
	return why
}

func (s *session) violation(r *resolved) string {
	if r.missing != "" {
		return "it asks for " + r.missing + ", which can't be had"
	}
	for _, path := range slices.Sorted(maps.Keys(s.ceilings)) {
		c, v := s.ceilings[path], r.selected[path]
		if path == wire.Toolchain {
			if needs := goSemver("go" + r.goLine); semver.Compare(needs, c.version) > 0 && semver.Compare(needs, goSemver(s.check.Build.Go)) > 0 {
				return fmt.Sprintf("it needs %s (%s)", goName(needs), c.why)
			}
			continue
		}
		if semver.Compare(v, c.version) > 0 && semver.Compare(v, s.base.selected[path]) > 0 {
			return fmt.Sprintf("it needs %s %s (%s)", path, v, c.why)
		}
	}
	for _, p := range s.pairs {
		if s.at(r, p.Module) && s.at(r, p.With) && !(s.at(s.base, p.Module) && s.at(s.base, p.With)) {
			for _, path := range []string{p.Module.Path, s.raising} {
				if s.partners[path] == nil {
					s.partners[path] = map[string]bool{}
				}
				s.partners[path][p.With.Path] = path != p.With.Path
			}
			return fmt.Sprintf("%s %s does not compile with %s", p.Module.Path, p.Module.Version, p.With)
		}
	}
	if s.check.System.Kernel != "" || len(s.heldBack) > 0 {
		for _, path := range slices.Sorted(maps.Keys(r.selected)) {
			if v := r.selected[path]; v != s.base.selected[path] {
				if why := s.unusable(path, v); why != "" {
					return path + " " + why
				}
			}
		}
	}
	return ""
}

func (s *session) at(r *resolved, m wire.ModuleVersion) bool { return r.selected[m.Path] == m.Version }

// total counts everything that is wrong with a build list.
func (s *session) total(r *resolved) badness {
	var b badness
	for path, v := range r.selected {
		if r.linked[path] {
			b.add(s.reasons(path, v))
		}
	}
	return b
}

// drop leaves out the raises that nothing is worse without: Caddy's and the
// plugins' first, since those matter most.
func (s *session) drop(want map[string]string) (map[string]string, error) {
	at, err := s.resolve(want)
	if err != nil {
		return nil, err
	}
	for again := true; again; {
		again = false
		paths := slices.Sorted(maps.Keys(want))
		slices.SortStableFunc(paths, func(a, b string) int { return rank(s.isRoot(a)) - rank(s.isRoot(b)) })
		for _, path := range paths {
			if s.needed(path, at) {
				continue
			}
			with := maps.Clone(want)
			delete(with, path)
			then, err := s.resolve(with)
			if err != nil {
				return nil, err
			}
			if s.violates(then) == "" && s.total(then).cmp(s.total(at)) <= 0 {
				if v, ok := then.selected[path]; ok && s.badnessOf(path, v).cmp(s.badnessOf(path, at.selected[path])) > 0 {
					s.crooked = true // it was no use, since it brought as much
				}
				want, at, again = with, then, true
			}
		}
	}
	return want, nil
}

// needed tells in short that a raise can't be left out: nobody asks for more
// than a version that is worse, and no other fault came with it.
func (s *session) needed(path string, at *resolved) bool {
	lower := s.have[path]
	if lower == "" || s.brings(at) {
		return false
	}
	for p, g := range at.asking {
		if p == path {
			continue
		}
		for _, r := range g.require {
			if r.Path == path && semver.Compare(r.Version, lower) > 0 {
				lower = r.Version
			}
		}
	}
	return s.badnessOf(path, lower).cmp(s.badnessOf(path, at.selected[path])) > 0
}

// brings tells whether a build list has a fault that today's has not.
func (s *session) brings(at *resolved) bool {
	for path, v := range at.selected {
		if !at.linked[path] {
			continue
		}
		before := s.reasons(path, s.base.selected[path])
		for _, r := range s.reasons(path, v) {
			if _, ok := s.have[path]; !ok || !slices.ContainsFunc(before, func(o reason) bool { return o.ID == r.ID && o.Kind == r.Kind }) {
				return true
			}
		}
	}
	return false
}
