package build

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/build/sandbox"
	"github.com/caddy-evergreen/evergreen/wire"
)

// When a release is tagged, what was handed out most is built with it.
func TestReleased(t *testing.T) {
	f := newFixture(t, nil)
	stop := f.start(t)
	specs := []artifact.Spec{fakeSpec(f.m, "good"), fakeSpec(f.m), fakeSpec(f.m, "library")}
	for i, s := range specs {
		f.ask(t, s, PriorityUpdate)
		if _, err := f.Wait(t.Context(), s.ID()); err != nil {
			t.Fatal(err)
		}
		for range i {
			if err := f.Handed(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	release := wire.Release{Path: wire.CaddyPath, Version: "v2.9.1", Channel: wire.ChannelStable}
	for _, r := range []wire.Release{
		{Path: wire.CaddyPath, Version: "v2.9.2", Channel: wire.ChannelBeta},
		{Path: wire.CaddyPath, Version: "v2.9.3", Channel: wire.ChannelStable, Yanked: "it is broken"},
		release, release,
	} {
		if err := f.Released(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for _, s := range specs {
		for _, v := range []string{"v2.9.1", "v2.9.2", "v2.9.3"} {
			s.Caddy = v
			if p, err := f.Progress(t.Context(), s.ID()); err == nil {
				got[s.ID()] = p.State
			}
		}
	}
	want := map[string]string{}
	for _, s := range specs[1:] { // nobody took the first
		s.Caddy = "v2.9.1"
		want[s.ID()] = "queued"
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRaise(t *testing.T) {
	s := artifact.Spec{
		Go: "go1.26.8", Caddy: "v2.11.8", Evergreen: "v0.1.0", Plugins: []wire.ModuleVersion{{Path: "a.example/p", Version: "v1.2.0"}},
		Requires: []wire.ModuleVersion{{Path: "a.example/r", Version: "v0.3.0"}},
	}
	for _, c := range []struct {
		path, version string
		change        func(*artifact.Spec) // nil: it stays
	}{
		{wire.CaddyPath, "v2.11.9", func(s *artifact.Spec) { s.Caddy = "v2.11.9" }},
		{wire.CaddyPath, "v2.11.8", nil},
		{wire.CaddyPath, "v2.11.7", nil},
		{wire.Toolchain, "go1.26.11", func(s *artifact.Spec) { s.Go = "go1.26.11" }},
		{wire.Toolchain, "go1.27rc1", func(s *artifact.Spec) { s.Go = "go1.27rc1" }},
		{wire.Toolchain, "go1.26rc2", nil},
		{wire.Toolchain, "go1.25.9", nil},
		{Module, "v0.2.0", func(s *artifact.Spec) { s.Evergreen = "v0.2.0" }},
		{"a.example/p", "v1.10.0", func(s *artifact.Spec) { s.Plugins[0].Version = "v1.10.0" }},
		{"a.example/r", "v0.4.0", func(s *artifact.Spec) { s.Requires[0].Version = "v0.4.0" }},
		{"a.example/none", "v1.0.0", nil},
	} {
		want := s.Canonical()
		if c.change != nil {
			c.change(&want)
		}
		got, ok := raise(s, wire.Release{Path: c.path, Version: c.version})
		if ok != (c.change != nil) {
			t.Errorf("%s %s: raised: %v", c.path, c.version, ok)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s %s: %s", c.path, c.version, d)
		}
	}
}

// A server that root runs builds as somebody else, with folders of theirs.
func TestMakeAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can become another user")
		return
	}
	const user = 65533
	m := fakeMaker(t, func(c *MakerConfig) { c.User, c.GoCache = user, "" })
	spec := fakeSpec(m, "good")
	b, err := m.Make(t.Context(), spec, filepath.Join(t.TempDir(), "caddy"), nil)
	if err != nil {
		t.Fatal(err)
	}
	shared := fakeMaker(t, nil)
	again, err := shared.Make(t.Context(), spec, filepath.Join(t.TempDir(), "caddy"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b, again); d != "" {
		t.Errorf("another user with other caches builds other bytes: %s", d)
	}
	if m.Isolation() == sandbox.Namespaces {
		info, err := os.Stat(filepath.Join(m.cfg.ModCache, "plugin.example"))
		if err != nil || ownerOfFile(info) != user {
			t.Errorf("the modules are not the builds' user's (%v)", err)
		}
	}
}
