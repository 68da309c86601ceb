package plan

import (
	"maps"
	"slices"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/wire"
)

// maxVisits bounds how many go.mod files are looked at while other ways are
// tried, the same one each time that it is. It takes about a tenth of a second.
const maxVisits = 150_000

// polish looks for a smaller way near the one that was found, where a raise
// brought a fault or took a requirement away: then the least version of each
// module is not sure to be part of the least build list.
func (s *session) polish(want map[string]string, at *resolved) (map[string]string, *resolved, error) {
	best, err := s.score(at)
	if err != nil {
		return nil, nil, err
	}
	start := s.visits
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
			if s.visits-start > maxVisits {
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
		case have == v || !at.linked[path]:
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
