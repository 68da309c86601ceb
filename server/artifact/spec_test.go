package artifact_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Whoever asks for the same executable asks for the same spec: a person on the
// build page, and a check whose build list tells plugins apart.
func TestSpecID(t *testing.T) {
	a := wire.ModuleVersion{Path: "example.com/a", Version: "v1.0.0"}
	b := wire.ModuleVersion{Path: "example.com/b", Version: "v1.0.0", Plugin: true}
	plain := b
	plain.Plugin = false
	want := artifact.Spec{Go: "go1.26.8", Caddy: "v2.11.9", System: wire.System{OS: "linux", Arch: "amd64"}, Plugins: []wire.ModuleVersion{a, plain}}
	same := want
	same.System.Kernel = "6.1"
	same.Plugins = []wire.ModuleVersion{b, a}
	if d := cmp.Diff(want, same.Canonical()); d != "" || same.ID() != want.ID() {
		t.Errorf("%s is not %s: %s", same.ID(), want.ID(), d)
	}
	if !same.Plugins[0].Plugin {
		t.Error("the spec itself was changed")
	}
	for name, change := range map[string]func(*artifact.Spec){
		"another version":       func(s *artifact.Spec) { s.Plugins = []wire.ModuleVersion{a, {Path: b.Path, Version: "v1.0.1"}} },
		"required, no plugin":   func(s *artifact.Spec) { s.Plugins, s.Requires = []wire.ModuleVersion{a}, []wire.ModuleVersion{b} },
		"another system":        func(s *artifact.Spec) { s.System.Arch = "arm64" },
		"another toolchain":     func(s *artifact.Spec) { s.Go = "go1.26.9" },
		"with our module":       func(s *artifact.Spec) { s.Evergreen = "v0.1.0" },
		"another root of trust": func(s *artifact.Spec) { s.Root = "ab" },
	} {
		other := want
		change(&other)
		if other.ID() == want.ID() {
			t.Errorf("%s has the same id", name)
		}
	}
}
