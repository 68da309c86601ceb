//go:build e2e

package e2e

import (
	"archive/zip"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"github.com/caddy-evergreen/evergreen/server/build"
)

// TestE2ERelease installs both modules as they would be released: from a
// module proxy, without go.work and without a replace.
func TestE2ERelease(t *testing.T) {
	source, err := build.FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	proxy := t.TempDir()
	publish(t, proxy, "github.com/caddy-evergreen/evergreen", "v0.1.0", source)
	publish(t, proxy, "github.com/caddy-evergreen/evergreen/server", "v0.1.0", filepath.Join(source, "server"))

	goproxy, err := exec.Command("go", "env", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	cmd := exec.Command("go", "install", "github.com/caddy-evergreen/evergreen/server/cmd/evergreen@v0.1.0")
	cmd.Dir = t.TempDir()
	// The modules go to a cache of their own: the shared one must not learn of a v0.1.0 that nobody released.
	modcache := t.TempDir()
	t.Cleanup(func() {
		clean := exec.Command("go", "clean", "-modcache")
		clean.Env = append(os.Environ(), "GOMODCACHE="+modcache)
		_ = clean.Run()
	})
	shared, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GOBIN="+bin, "GOMODCACHE="+modcache, "GONOSUMDB=github.com/caddy-evergreen",
		"GOPROXY=file://"+proxy+",file://"+strings.TrimSpace(string(shared))+"/cache/download,"+strings.TrimSpace(string(goproxy)))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go install: %v\n%s", err, out)
	}
	out, err := exec.Command(filepath.Join(bin, "evergreen"), "version").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "v0.1.0" {
		t.Errorf("the installed program's version is %q (%v)", out, err)
	}
}

// publish writes a module to a folder that `go` takes for a proxy.
func publish(t *testing.T, proxy, path, version, dir string) {
	t.Helper()
	at := filepath.Join(proxy, filepath.FromSlash(path), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := modzip.CreateFromDir(&b, module.Version{Path: path, Version: version}, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len())); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		version + ".zip": b.Bytes(), version + ".mod": mod, version + ".info": []byte(`{"Version":"` + version + `"}`), "list": []byte(version + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(at, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
