package build

import (
	"archive/zip"
	"bytes"
	"debug/buildinfo"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

func TestMake(t *testing.T) {
	m := fakeMaker(t, nil)
	spec := fakeSpec(m, "good")
	spec.System = wire.System{OS: runtime.GOOS, Arch: runtime.GOARCH}
	spec.Requires = []wire.ModuleVersion{{Path: "plugin.example/library", Version: "v1.1.0"}}
	out := filepath.Join(t.TempDir(), "caddy")
	var steps []string
	b, err := m.Make(t.Context(), spec, out, func(s string) { steps = append(steps, s) })
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"resolving", "compiling", "linking"}, steps); d != "" {
		t.Error(d)
	}
	want := wire.BuildList{Go: m.goVer, Modules: []wire.ModuleVersion{
		{Path: wire.CaddyPath, Version: "v2.9.0"},
		{Path: "plugin.example/good", Version: "v1.0.0", Plugin: true},
		{Path: "plugin.example/library", Version: "v1.1.0"},
	}}
	if d := cmp.Diff(want, b.List); d != "" {
		t.Error(d)
	}
	said, err := exec.Command(out).CombinedOutput()
	if err != nil || string(said) != "good with library 1.1.0\ncaddy 2.9.0\n" {
		t.Errorf("it says %q (%v)", said, err)
	}
	found, err := ReadSpec(out)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(spec.Canonical(), found); d != "" {
		t.Error(d)
	}

	// Again, from the lockfile, elsewhere: the same bytes.
	again := filepath.Join(t.TempDir(), "other", "name")
	b2, err := m.Make(t.Context(), spec, again, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b, b2); d != "" {
		t.Error(d)
	}
	left, err := os.ReadDir(m.work())
	if err != nil || len(left) > 0 {
		t.Errorf("%d folders are left (%v)", len(left), err)
	}
}

// An executable is for the system that it was asked for, of whatever kind.
func TestMakeForOthers(t *testing.T) {
	m := fakeMaker(t, nil)
	for _, c := range []struct {
		system wire.System
		magic  string
		want   map[string]string
	}{
		{wire.System{OS: "windows", Arch: "arm64"}, "MZ", map[string]string{"GOOS": "windows", "GOARCH": "arm64", "CGO_ENABLED": "0", "-trimpath": "true"}},
		{wire.System{OS: "darwin", Arch: "amd64"}, "\xcf\xfa\xed\xfe", map[string]string{"GOOS": "darwin", "GOARCH": "amd64", "GOAMD64": "v1"}},
		{wire.System{OS: "linux", Arch: "arm", Variant: "v6"}, "\x7fELF", map[string]string{"GOOS": "linux", "GOARCH": "arm", "GOARM": "6", "-tags": "nobadger,nomysql,nopgx"}},
	} {
		spec := fakeSpec(m, "good")
		spec.System = c.system
		out := filepath.Join(t.TempDir(), "caddy")
		if _, err := m.Make(t.Context(), spec, out, nil); err != nil {
			t.Errorf("%s: %v", c.system, err)
			continue
		}
		b, err := os.ReadFile(out)
		if err != nil || !strings.HasPrefix(string(b), c.magic) {
			t.Errorf("%s: it begins with %.4q (%v)", c.system, b, err)
		}
		info, err := buildinfo.ReadFile(out)
		if err != nil {
			t.Error(err)
			continue
		}
		got := map[string]string{}
		for _, s := range info.Settings {
			if _, ok := c.want[s.Key]; ok {
				got[s.Key] = s.Value
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.system, d)
		}
	}
}

// What a module tries does not succeed, and whoever asked for it is told.
func TestRefusals(t *testing.T) {
	m := fakeMaker(t, nil)
	for plugin, want := range map[string]string{
		"broken":    "undefined: undefinedFunction",
		"cgo":       "build constraints exclude all Go files",
		"embeds":    "invalid pattern syntax",
		"linker":    "only allowed in cgo-generated code",
		"objects":   "brings object files, whose source nobody sees: secret_linux_amd64.syso",
		"program":   "is a program",
		"future":    "requires go >= 1.999",
		"empty":     "does not contain package",
		"newer":     "github.com/caddyserver/caddy/v2 v2.9.0 was asked for, but another of the modules needs v2.9.1",
		"missing":   "plugin.example/missing@v1.0.0",
		"good@v1.7": "no module",
	} {
		_, err := m.Make(t.Context(), fakeSpec(m, plugin), filepath.Join(t.TempDir(), "caddy"), nil)
		var f *Failure
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", plugin, err, want)
		} else if !errors.Is(err, ErrSpec) && (!errors.As(err, &f) || !f.Remember) {
			t.Errorf("%s: it would be tried again: %v", plugin, err)
		} else if strings.Contains(err.Error(), strings.TrimPrefix(m.cfg.Folder, "/")) {
			t.Errorf("%s: it tells where on this machine: %v", plugin, err)
		}
	}
}

// A dependency's replace means nothing, nor does a link in a module's archive.
func TestMeansNothing(t *testing.T) {
	m := fakeMaker(t, nil)
	spec := fakeSpec(m, "replaces", "link")
	b, err := m.Make(t.Context(), spec, filepath.Join(t.TempDir(), "caddy"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.List.Version("plugin.example/library"); got != "v1.0.0" {
		t.Errorf("library %q", got)
	}
	info, err := os.Lstat(filepath.Join(m.cfg.ModCache, "plugin.example", "link@v1.0.0", "passwd"))
	if err != nil || !info.Mode().IsRegular() {
		t.Errorf("a link came out of an archive: %v (%v)", info, err)
	}
}

func TestMakeIsBounded(t *testing.T) {
	m := fakeMaker(t, func(c *MakerConfig) { c.CompileTime = time.Millisecond })
	_, err := m.Make(t.Context(), fakeSpec(m), filepath.Join(t.TempDir(), "caddy"), nil)
	var f *Failure
	if !errors.As(err, &f) || !f.Remember || !strings.Contains(f.Words, "took longer than 1ms") {
		t.Error(err)
	}
	m = fakeMaker(t, func(c *MakerConfig) { c.MinFree = 1 << 60; c.CompileTime = time.Minute })
	w, err := m.begin(t.Context(), m.goVer, wire.System{OS: "linux", Arch: "amd64"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if err := w.disk(); err == nil || !strings.Contains(err.Error(), "MiB left") {
		t.Error(err)
	}
}

func TestCompiles(t *testing.T) {
	m := fakeMaker(t, nil)
	sys := wire.System{OS: "freebsd", Arch: "arm64"}
	roots := []wire.ModuleVersion{{Path: wire.CaddyPath, Version: "v2.9.1"}, {Path: "plugin.example/good", Version: "v1.0.0", Plugin: true}}
	if err := m.Compiles(t.Context(), roots, m.goVer, sys); err != nil {
		t.Error(err)
	}
	roots[1] = wire.ModuleVersion{Path: "plugin.example/broken", Version: "v1.0.0", Plugin: true}
	var f *Failure
	if err := m.Compiles(t.Context(), roots, m.goVer, sys); !errors.As(err, &f) || !f.Remember || !strings.Contains(f.Words, "undefinedFunction") || !strings.Contains(f.Words, "# plugin.example/broken\n") {
		t.Error(err)
	}
}

// A network that is down is nobody's fault, and not remembered.
func TestPassingFailure(t *testing.T) {
	m := fakeMaker(t, func(c *MakerConfig) { c.Proxy = "http://127.0.0.1:1" })
	_, err := m.Make(t.Context(), fakeSpec(m), filepath.Join(t.TempDir(), "caddy"), nil)
	var f *Failure
	if !errors.As(err, &f) || f.Remember {
		t.Errorf("%v", err)
	}
}

// Our own module comes from its source, not from a proxy.
func TestOwnSource(t *testing.T) {
	checkout, err := FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	src, _, err := FindOwn("", ".")
	if err != nil {
		t.Fatal(err)
	}
	again, err := ReadSource(os.DirFS(checkout))
	if err != nil || again.Version != src.Version {
		t.Errorf("versions %s and %s (%v)", src.Version, again.Version, err)
	}
	if err := checkModule(wire.ModuleVersion{Path: Module, Version: src.Version}); err != nil {
		t.Error(err)
	}
	// What is embedded is the same source.
	var packed bytes.Buffer
	if err := src.WriteZip(&packed); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if unpacked, err := ReadSource(z); err != nil || unpacked.Version != src.Version {
		t.Errorf("versions %s and %s (%v)", src.Version, unpacked.Version, err)
	}
	for _, f := range src.files {
		if strings.HasPrefix(f.name, "server/") || strings.HasSuffix(f.name, "_test.go") {
			t.Errorf("%s is no part of it", f.name)
		}
	}
	// `go` takes it: as a module with wire in it, which needs no Caddy.
	address, err := src.offer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "mod", "download", "-json", Module+"@"+src.Version)
	cmd.Dir = dir
	cache := filepath.Join(dir, "modules")
	cmd.Env = append(os.Environ(), "GOPROXY="+address, "GONOSUMDB="+Module, "GOFLAGS=-modcacherw", "GOMODCACHE="+cache, "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(cache, Module+"@"+src.Version, "wire", "ja4.txt")); err != nil {
		t.Error(err)
	}
}

func TestProxies(t *testing.T) {
	t.Setenv("GOPROXY", "https://env.example,direct")
	for in, want := range map[string]string{
		"":                                  "https://env.example",
		"https://a.example,direct":          "https://a.example",
		"https://a.example|https://b,c":     "https://a.example|https://b,c",
		"direct":                            "off",
		" https://a.example , direct , off": "https://a.example",
	} {
		m := &Maker{cfg: MakerConfig{Proxy: in}}
		if got := m.proxies(); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	m := &Maker{offer: "file:///own"}
	if got := m.proxies(); got != "file:///own,https://env.example" {
		t.Error(got)
	}
}

func TestCheck(t *testing.T) {
	good := artifact.Spec{Go: "go1.26.11", System: wire.System{OS: "linux", Arch: "arm", Variant: "v7"}, Caddy: "v2.11.9", Service: "https://a.example"}
	for _, c := range []struct {
		change func(*artifact.Spec)
		want   string
	}{
		{func(s *artifact.Spec) {}, ""},
		{func(s *artifact.Spec) { s.Root = strings.Repeat("0a", 32) }, ""},
		{func(s *artifact.Spec) { s.Go = "go1.26; rm" }, "toolchain"},
		{func(s *artifact.Spec) { s.Go = "" }, "toolchain"},
		{func(s *artifact.Spec) { s.System.OS = "plan9" }, "there are no builds"},
		{func(s *artifact.Spec) { s.System.Variant = "" }, "there are no builds"},
		{func(s *artifact.Spec) { s.Caddy = "latest" }, "is no module"},
		{func(s *artifact.Spec) { s.Service = "https://a.example -X b=c" }, "should be a URL"},
		{func(s *artifact.Spec) { s.Service = "ftp://a.example" }, "should be a URL"},
		{func(s *artifact.Spec) { s.Root = "0A" }, "SHA-256"},
		{func(s *artifact.Spec) { s.Plugins = []wire.ModuleVersion{{Path: "../x", Version: "v1.0.0"}} }, "is no module"},
		{func(s *artifact.Spec) { s.Plugins = []wire.ModuleVersion{{Path: "a.example/\"x", Version: "v1.0.0"}} }, "is no module"},
		{func(s *artifact.Spec) { s.Plugins = []wire.ModuleVersion{{Path: Module, Version: "v1.0.0"}} }, "named twice"},
		{func(s *artifact.Spec) {
			s.Requires = []wire.ModuleVersion{{Path: "a.example/x", Version: "v1.0.0 // indirect"}}
		}, "is no module"},
	} {
		s := good
		c.change(&s)
		err := Check(s)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", s, err, c.want)
		}
	}
}
