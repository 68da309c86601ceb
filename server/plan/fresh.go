package plan

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/mod/module"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Fresh is the build list that a release of Caddy has without plugins, as `go`
// resolves it: with Go's lowest version that it can be built with, and with all
// modules that its go.mod names. The executable has fewer: those that only tests
// need, and those for other systems, are not linked.
func (p *Planner) Fresh(ctx context.Context, caddy string) (wire.BuildList, error) {
	s := &session{
		Planner: p, ctx: ctx, have: map[string]string{wire.CaddyPath: caddy}, held: map[string]string{},
		absent: map[string]bool{}, resolved: map[string]*resolved{},
	}
	g, err := s.load(module.Version{Path: wire.CaddyPath, Version: caddy})
	if err != nil {
		return wire.BuildList{}, err
	}
	if g.missing {
		return wire.BuildList{}, fmt.Errorf("the module proxy has no Caddy %s", caddy)
	}
	for _, r := range g.require {
		s.have[r.Path] = r.Version
	}
	at, err := s.resolve(nil)
	if err != nil {
		return wire.BuildList{}, err
	}
	b := wire.BuildList{Go: goName(goSemver("go" + at.goLine))}
	for path := range s.have {
		b.Modules = append(b.Modules, wire.ModuleVersion{Path: path, Version: at.selected[path]})
	}
	b.Sort()
	return b, nil
}

// Resolve selects the versions of everything that a go.mod reaches which
// requires roots: what `go list -m all` prints for it.
func (p *Planner) Resolve(ctx context.Context, roots []wire.ModuleVersion) ([]wire.ModuleVersion, error) {
	s := &session{Planner: p, ctx: ctx, have: map[string]string{}, held: map[string]string{}, absent: map[string]bool{}, resolved: map[string]*resolved{}}
	bounds := map[string]string{}
	for _, r := range roots {
		bounds[r.Path] = r.Version
		if r.Path == wire.CaddyPath {
			s.have[r.Path] = r.Version
		}
	}
	if s.have[wire.CaddyPath] == "" {
		return nil, fmt.Errorf("resolving: the roots have no %s", wire.CaddyPath)
	}
	at, err := s.resolve(bounds)
	if err != nil {
		return nil, err
	}
	var all []wire.ModuleVersion
	for _, path := range slices.Sorted(maps.Keys(at.selected)) {
		all = append(all, wire.ModuleVersion{Path: path, Version: at.selected[path]})
	}
	return all, nil
}
