//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestE2EUpdatesKilled kills the whole server with kill -9 while it resolves,
// compiles, links and signs, and at any moment of publishing. Each time the
// next server goes on with the queue, and all that the metadata vouches for can
// be downloaded as it was signed.
func TestE2EUpdatesKilled(t *testing.T) {
	s := startUpdates(t)
	without := false
	var published []wire.TargetFile
	for _, c := range []struct {
		request build.Request
		kills   []string // a build is given up after three servers that ended
	}{
		{build.Request{Caddy: "v2.11.9", OS: "linux", Arch: "amd64"}, []string{"resolving", "compiling"}},
		{build.Request{Caddy: "v2.11.9", OS: "linux", Arch: "amd64", Telemetry: &without}, []string{"linking", "signing"}},
		{build.Request{Caddy: "v2.11.8", OS: "linux", Arch: "amd64"}, []string{"signing", "signing"}},
		{build.Request{Caddy: "v2.11.3", OS: "linux", Arch: "amd64", Plugins: []string{provenPlugins[0].path + "@" + provenPlugins[0].version}}, []string{"signing", "signing"}},
	} {
		c.request.Go = runtime.Version() // whose compiler's cache is warm
		a := s.ask(t, c.request)
		for _, state := range c.kills {
			until(t, s.server, a.Events, state, "done")
			if state == "signing" {
				// Somewhere between the first byte of a blob and the new timestamp.
				time.Sleep(rand.N(1500 * time.Millisecond))
			}
			s.Kill()
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			s.vouched(t, published)
		}
		until(t, s.server, a.Events, "done")
		published = append(published, s.vouched(t, published, a.ID)...)
	}
	s.stop(t)
}

// vouched verifies the metadata as a new client does, downloads all that was
// published, and looks for what the builds with ids published.
func (s *updateServer) vouched(t *testing.T, published []wire.TargetFile, ids ...string) (found []wire.TargetFile) {
	t.Helper()
	c := s.client(t)
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatalf("the metadata after kill -9: %v", err)
	}
	verified := func(f wire.TargetFile) {
		t.Helper()
		target, err := c.Target(t.Context(), f.Name)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "file")
		if err := c.Download(t.Context(), target, name); err != nil {
			t.Fatal(err)
		}
		if got := hashed(t, name); got != f.SHA256 {
			t.Errorf("%s is %s, not %s", f.Name, got, f.SHA256)
		}
	}
	for _, f := range published {
		verified(f)
	}
	for _, id := range ids {
		var a build.Answer
		b, err := s.Get(t.Context(), "/api/v1/builds/"+id)
		if err == nil {
			err = json.Unmarshal(b, &a)
		}
		if err == nil && a.Attestation == "" {
			err = errors.New("it has no attestation, so it was not published")
		}
		if err != nil {
			t.Fatal(err)
		}
		// All of its files have the name of the attestation, but for the end.
		name := strings.TrimSuffix(a.Attestation[strings.Index(a.Attestation, "targets/")+len("targets/"):], ".provenance.json")
		dir, base := filepath.Split(name)
		if _, rest, ok := strings.Cut(base, "."); ok && len(base)-len(rest) == 65 {
			base = rest // without the hash of a consistent snapshot
		}
		for _, end := range []string{"", ".zst"} {
			target, err := c.Target(t.Context(), dir+base+end)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "file")
			if err := c.Download(t.Context(), target, file); err != nil {
				t.Fatal(err)
			}
			f := wire.TargetFile{Name: target.Name, Size: target.Size, SHA256: hashed(t, file)}
			if end == "" && f.SHA256 != a.SHA256 {
				t.Errorf("%s is not what was built", f.Name)
			}
			found = append(found, f)
		}
	}
	return found
}

// TestE2EUpdatesPrivate asks with a Caddy that has a module which nobody else
// can have: it is told what it needs, and nothing is built.
func TestE2EUpdatesPrivate(t *testing.T) {
	checkout, err := build.FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.go": `package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "corp.invalid/plugin"
	_ "github.com/caddy-evergreen/evergreen"
)

func main() { caddycmd.Main() }
`,
		"plugin/go.mod": "module corp.invalid/plugin\n\ngo 1.25.0\n\nrequire github.com/caddyserver/caddy/v2 v2.11.3\n",
		"plugin/plugin.go": `package plugin

import "github.com/caddyserver/caddy/v2"

func init() { caddy.RegisterModule(Secret{}) }

type Secret struct{}

func (Secret) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "corp.secret", New: func() caddy.Module { return new(Secret) }}
}
`,
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(checkout, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"mod", "edit", "-module", "caddy", "-require", wire.EvergreenPath + "@v0.0.0", "-replace", wire.EvergreenPath + "=" + checkout,
			"-require", "corp.invalid/plugin@v1.0.0", "-replace", "corp.invalid/plugin=./plugin"},
		{"build", "-mod=mod", "-trimpath", "-o", "caddy", "."},
	} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	s := startUpdates(t)
	s.maintain(t, nil, "release", "tag", wire.CaddyPath+"@v2.11.8", "--severity", "critical")
	exe := filepath.Join(dir, "caddy")
	a := s.checkItself(t, exe, wire.ScopeCritical)
	if !a.NeedsUpdate || a.Plan == nil || a.Target != nil || a.Build != nil {
		t.Errorf("%+v", a)
	}
	for _, m := range a.Plan.Build.Modules {
		if strings.Contains(m.Path, "corp") {
			t.Errorf("the service knows of %s", m)
		}
	}
	cmd := exec.CommandContext(t.Context(), exe, "evergreen", "check", "--service", s.URL())
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "modules that are not public") {
		t.Errorf("it prints %q (%v)", out, err)
	}
	s.stop(t)
}
