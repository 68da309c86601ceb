package build

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/mod/module"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/build/sandbox"
	"github.com/caddy-evergreen/evergreen/wire"
)

func TestMain(m *testing.M) {
	sandbox.Enter()
	if dir := os.Getenv(childOf); dir != "" {
		serveUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// The modules of testdata/modules.txtar are real ones to `go`, which gets them
// from a folder: a Caddy with nothing in it, plugins, and plugins that try
// what no plugin should.
func offerModules(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	a, err := txtar.ParseFile("testdata/modules.txtar")
	if err != nil {
		t.Fatal(err)
	}
	type mod struct{ files []txtar.File }
	mods := map[string]*mod{}
	var order []string
	for _, f := range a.Files {
		at, name, ok := strings.Cut(f.Name, "!/")
		if !ok {
			t.Fatalf("%s: want MODULE@VERSION!/FILE", f.Name)
		}
		if mods[at] == nil {
			mods[at] = &mod{}
			order = append(order, at)
		}
		mods[at].files = append(mods[at].files, txtar.File{Name: name, Data: f.Data})
	}
	for _, at := range order {
		modPath, version, _ := strings.Cut(at, "@")
		escaped, err := module.EscapePath(modPath)
		if err != nil {
			t.Fatal(err)
		}
		var archive bytes.Buffer
		z := zip.NewWriter(&archive)
		goMod := []byte("module " + modPath + "\n")
		for _, f := range mods[at].files {
			h := &zip.FileHeader{Name: at + "/" + f.Name, Method: zip.Deflate}
			data := f.Data
			if name, ok := strings.CutSuffix(f.Name, ".symlink"); ok {
				h.Name = at + "/" + name
				h.SetMode(0o777 | fs.ModeSymlink)
				data = bytes.TrimSpace(data)
			}
			w, err := z.CreateHeader(h)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(data); err != nil {
				t.Fatal(err)
			}
			if f.Name == "go.mod" {
				goMod = data
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.FromSlash(escaped), "@v")
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		info, _ := json.Marshal(map[string]string{"Version": version})
		for name, b := range map[string][]byte{version + ".info": info, version + ".mod": goMod, version + ".zip": archive.Bytes()} {
			if err := os.WriteFile(filepath.Join(to, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		f, err := os.OpenFile(filepath.Join(to, "list"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(version + "\n"); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// fakeMaker makes a Maker that gets modules from testdata alone. What it
// compiles goes to the cache of whoever runs the test, lest the standard
// library be compiled again.
func fakeMaker(t *testing.T, change func(*MakerConfig)) *Maker {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg := MakerConfig{
		Folder: dir, GoCache: strings.TrimSpace(string(out)), Proxy: "file://" + filepath.ToSlash(offerModules(t)), NoSumDB: "*",
		MinFree: 1 << 20, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	m, err := NewMaker(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unprotect(dir) })
	return m
}

// unprotect lets a folder be removed, which `go` has protected.
func unprotect(dir string) {
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(p, 0o755)
		}
		return nil
	})
}

func fakeSpec(m *Maker, plugins ...string) artifact.Spec {
	s := artifact.Spec{Go: m.goVer, System: wire.System{OS: "linux", Arch: "amd64"}, Caddy: "v2.9.0", Service: "https://service.example"}
	for _, p := range plugins {
		p, v, ok := strings.Cut(p, "@")
		if !ok {
			v = "v1.0.0"
		}
		s.Plugins = append(s.Plugins, wire.ModuleVersion{Path: path.Join("plugin.example", p), Version: v})
	}
	return s
}
