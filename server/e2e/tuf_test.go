//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestE2ETUFJS holds the key ceremony with the real program, publishes a real
// Caddy, and lets tuf-js verify and download it from a running server: once as it
// begins, and once after keys were replaced while the server ran.
func TestE2ETUFJS(t *testing.T) {
	js := npmCI(t, "tufjs")
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const secret = "correct horse battery staple"
	env := append(os.Environ(), "EVERGREEN_KEYS_PASSPHRASE_FILE="+write("passphrase", secret+"\n"))
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), evergreen, args...)
		cmd.Dir, cmd.Env = dir, env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("evergreen %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	run("keys", "init", "--repository", "data/tuf", "--keys", "data/keys", "--offline", "offline", "--targets-threshold", "2")

	file := caddyWith(t, "v2.11.9")
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		t.Fatal(err)
	}
	spec := artifact.Spec{Go: "go1.26.8", System: wire.System{OS: "linux", Arch: "amd64"}, Caddy: "v2.11.9"}
	storage, err := artifact.OpenStorage(t.Context(), filepath.Join(dir, "data", "tuf"))
	if err != nil {
		t.Fatal(err)
	}
	defer storage.Close()
	repo, err := artifact.Open(t.Context(), artifact.Options{Storage: storage, Keys: func() ([]*artifact.Key, error) {
		return artifact.LoadKeys(filepath.Join(dir, "data", "keys"), []byte(secret))
	}})
	if err != nil {
		t.Fatal(err)
	}
	target, err := repo.Publish(t.Context(), artifact.Build{Spec: spec, SHA256: fmt.Sprintf("%x", sum.Sum(nil)), Size: size}, file)
	if err := errors.Join(err, repo.Close()); err != nil {
		t.Fatal(err)
	}

	addr := freeAddr(t)
	log, err := os.Create(filepath.Join(dir, "serve.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	serve := exec.Command(evergreen, "serve", "--listen", addr, "--data", filepath.Join(dir, "data"), "--config", write("config.json", `{"roles": ["updates"]}`))
	serve.Env, serve.Stdout, serve.Stderr = env, log, log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serve.Process.Kill()
		_ = serve.Wait()
		if b, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("the server's log:\n%s", b)
		}
	})
	eventually(t, time.Minute, func() error {
		res, err := http.Get("http://" + addr + wire.PathTUF + "timestamp.json")
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})

	check := func(client string) {
		t.Helper()
		root := filepath.Join(dir, "data", "tuf", "1.root.json")
		cmd := exec.CommandContext(t.Context(), "node", filepath.Join(js, "verify.mjs"), root, "http://"+addr+strings.TrimSuffix(wire.PathTUF, "/"), filepath.Join(dir, client),
			target.Files[0].Name, target.Files[1].Name, target.Name+".provenance.json")
		cmd.Dir, cmd.Stderr = js, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("tuf-js: %v", err)
		}
		var got []string
		var provenance string // the last of them
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			got, provenance = append(got, f[0]+" "+f[1]), f[2]
		}
		var want []string
		for _, f := range target.Files {
			want = append(want, fmt.Sprintf("%s %d", f.SHA256, f.Size))
		}
		if len(got) != 3 {
			t.Fatalf("tuf-js downloaded %q", out)
		}
		if d := cmp.Diff(want, got[:2]); d != "" {
			t.Errorf("what tuf-js downloaded (-want +got):\n%s", d)
		}
		// The provenance is verified by sigstore's library, with the key of that time.
		cmd = exec.CommandContext(t.Context(), "node", filepath.Join(js, "provenance.mjs"), filepath.Join(dir, "data", "tuf", "1.targets.json"), provenance, file)
		cmd.Dir, cmd.Stderr = js, os.Stderr
		if out, err = cmd.Output(); err != nil {
			t.Fatalf("verifying provenance: %v", err)
		}
		var built artifact.Spec
		if err := json.Unmarshal(out, &built); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(spec, built); d != "" {
			t.Errorf("what it was built from (-want +got):\n%s", d)
		}
	}
	check("first")

	for i, role := range []string{artifact.RoleTimestamp, artifact.RoleBuilds} {
		draft := []string{"drafts/2.root.json", "drafts/2.targets.json"}[i]
		run("keys", "rotate", "--repository", "data/tuf", "--keys", "data/keys", "--role", role, "drafts")
		run("keys", "sign", "--offline", "offline", "--yes", draft)
		run("keys", "publish", "--repository", "data/tuf", "--keys", "data/keys", draft)
	}
	check("first")
	check("second")
}

// npmCI copies a folder of JavaScript and installs what its lock file names.
func npmCI(t *testing.T, folder string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return dir
}
