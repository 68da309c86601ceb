//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestE2ETUFJS publishes a real Caddy, serves the repository, and lets tuf-js
// verify and download it: once as it begins, and once after all keys of the
// server and one of the root's were replaced.
func TestE2ETUFJS(t *testing.T) {
	js := npmCI(t, "tufjs")
	dir := t.TempDir()
	storage, err := artifact.OpenStorage(t.Context(), filepath.Join(dir, "tuf"))
	if err != nil {
		t.Fatal(err)
	}
	defer storage.Close()
	var keys []*artifact.Key
	for _, role := range append([]string{artifact.RoleRoot, artifact.RoleTargets}, artifact.Roles...) {
		k, err := artifact.NewKey(role)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	if err := artifact.Init(t.Context(), storage, artifact.Ceremony{Keys: keys, RootThreshold: 2, TargetsThreshold: 2, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	open := func() *artifact.Repository {
		t.Helper()
		r, err := artifact.Open(t.Context(), artifact.Options{Storage: storage, Keys: func() ([]*artifact.Key, error) { return keys, nil }})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	repo := open()
	mux := http.NewServeMux()
	repo.Register(mux)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	defer s.Close()

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
	target, err := repo.Publish(t.Context(), artifact.Build{
		Spec:   spec,
		SHA256: fmt.Sprintf("%x", sum.Sum(nil)), Size: size,
	}, file)
	if err != nil {
		t.Fatal(err)
	}
	check := func(client string) {
		t.Helper()
		root := filepath.Join(dir, "tuf", "1.root.json")
		cmd := exec.CommandContext(t.Context(), "node", filepath.Join(js, "verify.mjs"), root, "http://"+l.Addr().String()+strings.TrimSuffix(wire.PathTUF, "/"), filepath.Join(dir, client),
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
		cmd = exec.CommandContext(t.Context(), "node", filepath.Join(js, "provenance.mjs"), filepath.Join(dir, "tuf", "1.targets.json"), provenance, file)
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

	for _, role := range []string{artifact.RoleTimestamp, artifact.RoleSnapshot, artifact.RoleBuilds, artifact.RoleRoot} {
		k, err := artifact.NewKey(role)
		if err != nil {
			t.Fatal(err)
		}
		var old string
		for _, o := range keys {
			if o.Role == role {
				old = o.ID
			}
		}
		keys = append(keys, k)
		drafts, err := artifact.Rotate(t.Context(), storage, artifact.Rotation{Role: role, Add: []*metadata.Key{k.Public}, Remove: []string{old}, Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range drafts {
			signed, _, err := artifact.SignDraft(d, keys)
			if err != nil {
				t.Fatal(err)
			}
			if err := artifact.Stage(t.Context(), storage, signed); err != nil {
				t.Fatal(err)
			}
		}
		if err := repo.Close(); err != nil {
			t.Fatal(err)
		}
		repo = open()
	}
	check("first")
	check("second")
	if err := repo.Close(); err != nil {
		t.Error(err)
	}
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
