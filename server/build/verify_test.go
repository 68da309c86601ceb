package build

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

func TestVerify(t *testing.T) {
	m := fakeMaker(t, nil)
	file := filepath.Join(t.TempDir(), "caddy")
	b, err := m.Make(t.Context(), fakeSpec(m, "good"), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Another builder, with a lockfile and modules of its own.
	other := fakeMaker(t, nil)
	again, err := other.Verify(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b, again); d != "" {
		t.Error(d)
	}

	exe, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]struct {
		bytes []byte
		want  error
	}{
		"a byte more":    {append(exe[:len(exe):len(exe)], 0), ErrDiffers},
		"another plugin": {[]byte(strings.Replace(string(exe), "good with", "evil with", 1)), ErrDiffers},
		"no spec":        {[]byte(strings.ReplaceAll(string(exe), specMark(), "xvergreen:spec:1:{")), ErrNoSpec},
	} {
		changed := filepath.Join(t.TempDir(), "caddy")
		if err := os.WriteFile(changed, change.bytes, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Verify(t.Context(), changed, nil); !errors.Is(err, change.want) {
			t.Errorf("%s: %v, want %v", name, err, change.want)
		}
	}
	spec := fakeSpec(m)
	spec.Evergreen = unreleased + "0123456789ab"
	if err := m.hasSource(spec); err == nil || !strings.Contains(err.Error(), "never released") {
		t.Error(err)
	}
}

func TestDifference(t *testing.T) {
	list := func(goVersion string, modules ...string) wire.BuildList {
		l := wire.BuildList{Go: goVersion}
		for _, m := range modules {
			p, v, _ := strings.Cut(m, "@")
			l.Modules = append(l.Modules, wire.ModuleVersion{Path: p, Version: v})
		}
		l.Sort()
		return l
	}
	got := difference(list("go1.26.8", "a@v1", "b@v1", "c@v1"), list("go1.26.11", "a@v1", "b@v2", "d@v1"))
	want := "  b: v1, and v2 when built again\n  c: v1, and none when built again\n  d: none, and v1 when built again\n  go: go1.26.8, and go1.26.11 when built again"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
