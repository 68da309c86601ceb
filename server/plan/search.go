package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

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
	r, err := s.modules(len(s.ceilings) > 0 || len(s.pairs) > 0 || s.check.System.Kernel != "")
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
	r.goes, err = s.toolchain(r.at)
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

// maxPolish is how many other ways are tried where one way out brought faults of
// its own.
const maxPolish = 150

// polish looks for a smaller way near the one that was found, where a raise
// brought a fault or took a requirement away: then the least version of each
// module is not sure to be part of the least build list.
func (s *session) polish(want map[string]string, at *resolved) (map[string]string, *resolved, error) {
	best, err := s.score(at)
	if err != nil {
		return nil, nil, err
	}
	tries := 0
	for again := true; again; {
		again = false
		paths := slices.Collect(maps.Keys(want))
		for _, at := range []*resolved{s.base, at} {
			roots, dependencies := s.hits(at)
			paths = append(append(paths, roots...), dependencies...)
		}
		ways, err := s.ways(want, slices.Compact(sorted(paths)))
		if err != nil {
			return nil, nil, err
		}
		for _, way := range ways {
			if tries++; tries > maxPolish {
				break
			}
			if missing, err := s.missing(way); err != nil {
				return nil, nil, err
			} else if missing {
				continue
			}
			// As it is, and with all that it lacks: that may be a fault again.
			plain, err := s.drop(maps.Clone(way))
			if err != nil {
				return nil, nil, err
			}
			settled, _, err := s.settle(maps.Clone(way), true, true)
			if err != nil {
				return nil, nil, err
			}
			for _, way := range []map[string]string{plain, settled} {
				then, err := s.resolve(way)
				if err != nil {
					return nil, nil, err
				}
				if s.violates(then) != "" {
					continue
				}
				score, err := s.score(then)
				if err != nil {
					return nil, nil, err
				}
				if slices.Compare(score, best) < 0 {
					want, at, best, again = way, then, score, true
				}
			}
		}
	}
	return want, at, nil
}

// ways are other wants: nothing, want with one module left out or at another
// version, one module alone, and two.
func (s *session) ways(want map[string]string, paths []string) ([]map[string]string, error) {
	ways := []map[string]string{{}}
	var single []wire.ModuleVersion
	for _, path := range paths {
		if want[path] != "" {
			less := maps.Clone(want)
			delete(less, path)
			ways = append(ways, less)
		}
		vs, err := s.versions(path)
		if err != nil {
			return nil, err
		}
		for _, v := range vs {
			single = append(single, wire.ModuleVersion{Path: path, Version: v})
			if v != want[path] {
				other := maps.Clone(want)
				other[path] = v
				ways = append(ways, other)
			}
		}
	}
	for _, m := range single {
		ways = append(ways, map[string]string{m.Path: m.Version})
	}
	for i, m := range single {
		for _, n := range single[i+1:] {
			if n.Path != m.Path {
				ways = append(ways, map[string]string{m.Path: m.Version, n.Path: n.Version})
			}
		}
	}
	return ways, nil
}

// missing tells whether a version of want can't be had.
func (s *session) missing(want map[string]string) (bool, error) {
	for path, v := range want {
		if g, err := s.load(module.Version{Path: path, Version: v}); err != nil || g.missing {
			return g == nil || g.missing, err
		}
	}
	return false, nil
}

// score is what is wrong with a build list, and then how far it is from today's:
// less is better.
func (s *session) score(at *resolved) ([]int, error) {
	b := s.total(at)
	var roots, distance, dependencies int
	for path, v := range at.selected {
		switch have, ok := s.have[path]; {
		case have == v || !s.isLinked(path):
		case !ok || !s.isRoot(path):
			dependencies++
		default:
			roots++
			vs, err := s.versions(path)
			if err != nil {
				return nil, err
			}
			for _, k := range vs {
				if semver.Compare(k, v) <= 0 {
					distance++
				}
			}
		}
	}
	return append(b[:], roots, distance, dependencies), nil
}

// hits are the linked modules that something is wrong with: Caddy, the plugins
// and the dependencies, each by path.
func (s *session) hits(at *resolved) (roots, dependencies []string) {
	for _, path := range slices.Sorted(maps.Keys(at.selected)) {
		if !s.isLinked(path) || len(s.reasons(path, at.selected[path])) == 0 {
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
			s.reject(path, c.version, c.version+" can't be had")
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
				return fmt.Sprintf("it needs %s, and the toolchain is %s", goName(needs), c.why)
			}
			continue
		}
		if semver.Compare(v, c.version) > 0 && semver.Compare(v, s.base.selected[path]) > 0 {
			return fmt.Sprintf("it needs %s %s, and %s", path, v, c.why)
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
	if s.check.System.Kernel != "" {
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
		if s.isLinked(path) {
			b.add(s.reasons(path, v))
		}
	}
	return b
}

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
		if !s.isLinked(path) {
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

// toolchainModule is the module whose versions are toolchains:
// "v0.0.1-go1.26.3.linux-amd64".
const toolchainModule = "golang.org/toolchain"

// toolchains reads a list of the toolchain module's versions.
func (s *session) toolchains(versions []string) []string {
	var found []string
	for _, v := range versions {
		if name, ok := strings.CutPrefix(v, "v0.0.1-"); ok {
			if name, ok = strings.CutSuffix(name, "."+s.cfg.Host); ok {
				found = append(found, goSemver(name))
			}
		}
	}
	return found
}

// toolchain is the lowest toolchain that the modules accept, of those with the
// fewest faults, and never below today's.
func (s *session) toolchain(at *resolved) (string, error) {
	now := goSemver(s.check.Build.Go)
	least := now
	if needs := goSemver("go" + at.goLine); semver.Compare(needs, now) > 0 {
		least = needs
	}
	faults := s.badnessOf(wire.Toolchain, least)
	if least == now && faults == (badness{}) {
		return now, nil
	}
	cs, err := s.candidates(wire.Toolchain, now)
	if err != nil {
		return "", err
	}
	for _, c := range cs {
		if semver.Compare(c.version, least) < 0 || least == now && c.badness.cmp(faults) >= 0 {
			continue
		}
		ok, err := s.available(c.version)
		if err != nil {
			return "", err
		}
		if ok {
			return c.version, nil
		}
		s.reject(wire.Toolchain, c.version, goName(c.version)+" can't be had")
	}
	return least, nil
}

// available tells whether a toolchain can be had: lists of them have gaps.
func (s *session) available(v string) (bool, error) {
	g, err := s.load(module.Version{Path: toolchainModule, Version: "v0.0.1-" + goName(v) + "." + s.cfg.Host})
	if err != nil {
		return false, err
	}
	return !g.missing, nil
}
