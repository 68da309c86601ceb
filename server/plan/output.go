package plan

import (
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/wire"
)

// plan writes down what a search ended at.
func (s *session) plan(found result) (wire.Plan, error) {
	p := wire.Plan{Changes: []wire.Change{}, Build: s.check.Build}
	if s.advisories != nil {
		p.AdvisoriesAsOf = s.advisories.AsOf()
	}
	now := goSemver(s.check.Build.Go)
	if len(found.want) > 0 || found.goes != now {
		p.Changes = s.changes(found)
		p.Build = s.buildList(found)
	}
	roots, err := s.roots(found)
	if err != nil {
		return wire.Plan{}, err
	}
	p.Roots = roots
	for _, c := range p.Changes {
		for _, r := range c.Reasons {
			if p.Severity == "" || graver(r.Severity, p.Severity) {
				p.Severity = r.Severity
			}
		}
	}
	p.Unfixed = s.unfixed(found, len(p.Changes) > 0)
	return p, nil
}

func graver(a, b wire.Severity) bool {
	return slices.Index(wire.Severities, a) >= 0 && slices.Index(wire.Severities, a) < slices.Index(wire.Severities, b)
}

// changes are the linked modules that are at another version, and the toolchain:
// Caddy, the plugins, the dependencies that were raised, the toolchain, and what
// follows from those.
func (s *session) changes(found result) []wire.Change {
	changes := []wire.Change{}
	paths := map[string]bool{}
	for path := range found.at.linked {
		paths[path] = true
	}
	for path := range s.have {
		paths[path] = true
	}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		from, to := s.have[path], found.at.selected[path]
		if from == to {
			continue
		}
		c := wire.Change{Path: path, From: from, To: to, Kind: s.kind(path)}
		if from != "" {
			c.Reasons = s.fixed(path, from, to)
		}
		changes = append(changes, c)
	}
	if now := goSemver(s.check.Build.Go); found.goes != now {
		changes = append(changes, wire.Change{
			Path: wire.Toolchain, From: goName(now), To: goName(found.goes), Kind: wire.ChangeToolchain,
			Reasons: s.fixed(wire.Toolchain, now, found.goes),
		})
	}
	order := []wire.ChangeKind{wire.ChangeCaddy, wire.ChangePlugin, wire.ChangeToolchain, wire.ChangeDependency}
	slices.SortStableFunc(changes, func(a, b wire.Change) int {
		if d := slices.Index(order, a.Kind) - slices.Index(order, b.Kind); d != 0 {
			return d
		}
		return rank(found.want[a.Path] != "") - rank(found.want[b.Path] != "")
	})
	return changes
}

// fixed are the reasons that a version has and another has not; "" is a module
// that is gone, which has none.
func (s *session) fixed(path, from, to string) []wire.Reason {
	var rs []wire.Reason
	for _, r := range s.reasons(path, from) {
		if to == "" || !slices.ContainsFunc(s.reasons(path, to), func(o reason) bool { return o.Kind == r.Kind && o.ID == r.ID }) {
			rs = append(rs, r.Reason)
		}
	}
	return rs
}

// buildList is what `go` resolves, with the modules that were linked, and those
// that nothing asked for before: they may be.
func (s *session) buildList(found result) wire.BuildList {
	b := wire.BuildList{Go: goName(found.goes), Modules: slices.Clone(s.opaque)}
	for path, v := range found.at.selected {
		if found.at.linked[path] {
			b.Modules = append(b.Modules, wire.ModuleVersion{Path: path, Version: v, Plugin: s.kind(path) == wire.ChangePlugin})
		}
	}
	b.Sort()
	return b
}

// roots are what the planned go.mod requires. A dependency that is held or
// raised is among them only where that matters.
func (s *session) roots(found result) ([]wire.ModuleVersion, error) {
	roots := []wire.ModuleVersion{{Path: wire.CaddyPath, Version: found.at.selected[wire.CaddyPath]}}
	for _, p := range s.plugins {
		roots = append(roots, wire.ModuleVersion{Path: p, Version: found.at.selected[p], Plugin: true})
	}
	asked := map[string]string{}
	for p, g := range found.at.asking {
		for _, r := range g.require {
			if r.Path != p && semver.Compare(r.Version, asked[r.Path]) > 0 {
				asked[r.Path] = r.Version
			}
		}
	}
	bounds := maps.Clone(s.held)
	maps.Copy(bounds, found.at.floors)
	for path, v := range found.want {
		if semver.Compare(v, bounds[path]) > 0 {
			bounds[path] = v
		}
	}
	for _, path := range slices.Sorted(maps.Keys(bounds)) {
		if s.isRoot(path) || semver.Compare(bounds[path], found.at.selected[path]) < 0 {
			continue
		}
		if _, raised := found.want[path]; !raised && semver.Compare(asked[path], bounds[path]) >= 0 && !s.circular(path, found.at) {
			continue
		}
		roots = append(roots, wire.ModuleVersion{Path: path, Version: bounds[path]})
	}
	return roots, nil
}

// circular tells whether only modules that are themselves held ask for a module
// at its version: then they could all fall together.
func (s *session) circular(path string, at *resolved) bool {
	for p, g := range at.asking {
		if _, held := s.held[p]; held || p == path {
			continue
		}
		for _, r := range g.require {
			if r.Path == path && r.Version == at.selected[path] {
				return false
			}
		}
	}
	return true
}

// unfixed are the reasons that stay.
func (s *session) unfixed(found result, changed bool) []wire.Unfixed {
	var us []wire.Unfixed
	add := func(path, version string) {
		for _, r := range s.reasons(path, version) {
			us = append(us, wire.Unfixed{Path: path, Reason: r.Reason, Why: s.why(r, version)})
		}
	}
	at := found.at
	for _, path := range slices.Sorted(maps.Keys(at.selected)) {
		switch v, ok := s.have[path]; {
		case !at.linked[path]:
		case !changed && ok:
			add(path, v)
		default:
			add(path, at.selected[path])
		}
	}
	add(wire.Toolchain, found.goes)
	slices.SortStableFunc(us, func(a, b wire.Unfixed) int {
		return slices.Index(wire.Severities, a.Reason.Severity) - slices.Index(wire.Severities, b.Reason.Severity)
	})
	return us
}

// words is the first complaint of what a compiler wrote, for a sentence.
func words(s string) string {
	line := ""
	for l := range strings.Lines(s) {
		if line = strings.TrimSpace(l); line != "" && !strings.HasPrefix(line, "#") {
			break
		}
	}
	return line
}
