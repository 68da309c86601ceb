package wire_test

import (
	"testing"

	"github.com/caddy-evergreen/evergreen/wire"
)

func TestScopeCovers(t *testing.T) {
	covered := map[wire.Scope]int{wire.ScopeNone: 0, wire.ScopeCritical: 1, wire.ScopeImportant: 2, wire.ScopeFeature: 3, wire.ScopeAll: 4}
	for _, s := range wire.Scopes {
		for i, v := range wire.Severities {
			if got, want := s.Covers(v), i < covered[s]; got != want {
				t.Errorf("%s covers %s: %v, want %v", s, v, got, want)
			}
		}
		if s.Covers(wire.SeverityUnrated) {
			t.Errorf("%s covers what is unrated", s)
		}
	}
	if _, err := wire.ParseScope("al"); err == nil {
		t.Error("al is a scope")
	}
}

func TestBuildListCheck(t *testing.T) {
	good := wire.BuildList{Go: "go1.26.3", Modules: []wire.ModuleVersion{
		{Path: wire.CaddyPath, Version: "v2.11.3"}, {Path: "golang.org/x/net", Version: "v0.53.0"},
	}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	if v := good.Version("golang.org/x/net"); v != "v0.53.0" {
		t.Errorf("x/net is %q", v)
	}
	for name, b := range map[string]wire.BuildList{
		"no go":    {Modules: good.Modules},
		"no caddy": {Go: "go1.26.3", Modules: good.Modules[1:]},
		"unsorted": {Go: "go1.26.3", Modules: []wire.ModuleVersion{good.Modules[1], good.Modules[0]}},
		"twice":    {Go: "go1.26.3", Modules: []wire.ModuleVersion{good.Modules[0], good.Modules[0]}},
		"no path":  {Go: "go1.26.3", Modules: []wire.ModuleVersion{{}, good.Modules[0]}},
	} {
		if b.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
