//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/delta"
	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/server/rollout"
	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/trust"
	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

// advisories writes a vulnerability database in the layout that Go's is
// published in, with one entry: Caddy before 2.11.8 is vulnerable.
func advisories(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, text := range map[string]string{
		"index/db.json":      `{"modified": "2026-11-20T00:00:00Z"}`,
		"index/modules.json": `[{"path": "` + wire.CaddyPath + `", "vulns": [{"id": "GO-2026-9001", "modified": "2026-11-20T00:00:00Z", "fixed": "2.11.8"}]}]`,
		"ID/GO-2026-9001.json": `{
			"schema_version": "1.3.1", "id": "GO-2026-9001", "published": "2026-11-19T00:00:00Z", "modified": "2026-11-20T00:00:00Z", "summary": "A test's vulnerability",
			"affected": [{"package": {"name": "` + wire.CaddyPath + `", "ecosystem": "Go"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "2.11.8"}]}],
				"ecosystem_specific": {"imports": [{"path": "` + wire.CaddyPath + `/modules/caddyhttp"}]}}]}`,
	} {
		name = filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// An updateServer is an update service whose failures are a test's.
type updateServer struct {
	*server
	Token string // of its administrator
}

func startUpdates(t *testing.T) *updateServer {
	t.Helper()
	u, err := testbed.StartUpdates(t.Context(), evergreen, t.TempDir(), map[string]any{"advisories": advisories(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		u.Kill()
		if t.Failed() {
			t.Logf("the server's log:\n%s", u.LogTail(60))
		}
	})
	return &updateServer{&server{u.Server}, u.Token}
}

func (s *updateServer) updates() *testbed.Updates {
	return &testbed.Updates{Server: s.Server, Token: s.Token}
}

// maintain runs a maintainer's command, with --json, and reads what it prints.
func (s *updateServer) maintain(t *testing.T, into any, args ...string) {
	t.Helper()
	if err := s.updates().Maintain(t.Context(), into, args...); err != nil {
		t.Fatal(err)
	}
}

// order has the service build a Caddy with the first plugins of those proven,
// and downloads it.
func (s *updateServer) order(t *testing.T, version string, plugins int) (exe string, a build.Answer) {
	t.Helper()
	request := build.Request{Caddy: version, Go: runtime.Version(), OS: "linux", Arch: "amd64"}
	for _, p := range provenPlugins[:plugins] {
		request.Plugins = append(request.Plugins, p.path+"@"+p.version)
	}
	exe = filepath.Join(t.TempDir(), "caddy")
	a, err := s.updates().Order(t.Context(), request, exe)
	if err != nil {
		t.Fatal(err)
	}
	return exe, a
}

func (s *updateServer) ask(t *testing.T, r build.Request) build.Answer {
	t.Helper()
	a, err := s.updates().Ask(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// checkItself runs `caddy evergreen check` until the answer is no promise.
func (s *updateServer) checkItself(t *testing.T, exe string, scope wire.Scope) (a wire.Answer) {
	t.Helper()
	eventually(t, 10*time.Minute, func() error {
		cmd := exec.CommandContext(t.Context(), exe, "evergreen", "check", "--service", s.URL(), "--scope", string(scope), "--json")
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_DATA_HOME="+t.TempDir())
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			if strings.Contains(stderr.String(), "the plan is being made") {
				return errors.New(stderr.String())
			}
			t.Fatalf("check: %v\n%s", err, stderr.String())
		}
		a = wire.Answer{}
		if err := json.Unmarshal(out, &a); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if a.Build == nil {
			return nil
		}
		if a.Build.State == "failed" {
			t.Fatalf("it can't be built: %s", a.Build.Error)
		}
		return fmt.Errorf("it is %s", a.Build.State)
	})
	return a
}

// client verifies with nothing but the first root metadata, as a Caddy would.
func (s *updateServer) client(t *testing.T) *trust.Client {
	t.Helper()
	root, err := s.Get(t.Context(), wire.PathTUF+"1.root.json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := trust.New(trust.Config{Root: root, URL: s.URL() + strings.TrimSuffix(wire.PathTUF, "/"), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// install downloads each way to a target, verifies it, and makes the executable
// of it.
func (s *updateServer) install(t *testing.T, target *wire.Target, old string) (exe string, files int) {
	t.Helper()
	c := s.client(t)
	for _, f := range target.Files {
		found, err := c.Target(t.Context(), f.Name)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		dir := t.TempDir()
		name := filepath.Join(dir, "file")
		if err := c.Download(t.Context(), found, name); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		if got := hashed(t, name); got != f.SHA256 {
			t.Errorf("%s is %s, not %s", f.Name, got, f.SHA256)
		}
		exe = name
		if f.Method != "" {
			exe = filepath.Join(dir, "caddy")
			if err := patched(exe, old, name, target); err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
		}
		if got := hashed(t, exe); got != target.SHA256 {
			t.Errorf("%s makes %s, not %s", f.Name, got, target.SHA256)
		}
	}
	if err := os.Chmod(exe, 0o755); err != nil {
		t.Fatal(err)
	}
	return exe, len(target.Files)
}

func patched(exe, old, patch string, target *wire.Target) (err error) {
	from, err := os.Open(old)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	p, err := os.Open(patch)
	if err != nil {
		return err
	}
	defer p.Close()
	to, err := os.Create(exe)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	limits := delta.Limits{Size: target.Size}
	if _, err := hex.Decode(limits.SHA256[:], []byte(target.SHA256)); err != nil {
		return err
	}
	_, err = delta.Apply(io.NewSectionReader(from, 0, info.Size()), p, to, limits)
	return err
}

func hashed(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// lists tells which of the proven plugins' modules an executable has, and that
// it runs.
func lists(t *testing.T, exe string) (plugins int) {
	t.Helper()
	out, err := exec.Command(exe, "list-modules").Output()
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.Fields(string(out))
	if !slices.Contains(listed, "evergreen") {
		t.Error("our module is not listed")
	}
	for _, p := range provenPlugins {
		if slices.Contains(listed, p.module) {
			plugins++
		}
	}
	return plugins
}

// TestE2EUpdates follows releases from a maintainer's word to executables that
// run: Caddys that the service built ask it whether they need an update, are
// told when a rollout reaches them, and download, verify and run what it built.
func TestE2EUpdates(t *testing.T) {
	s := startUpdates(t)
	const first, fixed, newest = "v2.11.3", "v2.11.8", "v2.11.9"
	exes, about := map[int]string{}, map[int]build.Answer{}
	for _, n := range []int{0, 1, 3} {
		exes[n], about[n] = s.order(t, first, n)
		if got := lists(t, exes[n]); got != n {
			t.Errorf("%s with %d plugins has %d", first, n, got)
		}
	}
	served(t, exes[3])

	// What nobody has rated is no reason for who wants critical updates.
	if a := s.checkItself(t, exes[0], wire.ScopeCritical); a.NeedsUpdate {
		t.Errorf("an advisory that nobody rated: %+v", a.Plan)
	}
	// What comes next is for nobody yet: else it would be a way to the fix for
	// those who the rollout of the fix has not reached.
	var next rollout.Rollout
	s.maintain(t, &next, "rollout", "create", wire.CaddyPath+"@"+newest, "0%")
	s.maintain(t, nil, "release", "tag", wire.CaddyPath+"@"+fixed, "--severity", "critical", "--notes", "fixes GO-2026-9001")
	var o rollout.Rollout
	s.maintain(t, &o, "rollout", "create", wire.CaddyPath+"@"+fixed, "50%")
	s.roll(t, o, about[1])

	// It is for all now.
	s.maintain(t, &o, "rollout", "ramp", o.ID, "100%")
	js := npmCI(t, "tufjs")
	for _, n := range []int{0, 1, 3} {
		a := s.checkItself(t, exes[n], wire.ScopeCritical)
		if !a.NeedsUpdate || a.Target == nil || a.Plan == nil || a.Plan.Severity != wire.SeverityCritical {
			t.Fatalf("%s with %d plugins: %+v", first, n, a)
		}
		var changed []string
		for _, c := range a.Plan.Changes {
			if c.Kind == wire.ChangeCaddy || c.Kind == wire.ChangePlugin || c.Kind == wire.ChangeToolchain {
				changed = append(changed, c.Path+" "+c.To)
			}
		}
		if d := cmp.Diff([]string{wire.CaddyPath + " " + fixed}, changed); d != "" {
			t.Errorf("what changes (-want +got):\n%s", d)
		}
		if i := slices.IndexFunc(a.Plan.Changes, func(c wire.Change) bool { return c.Path == wire.CaddyPath }); i >= 0 {
			var ids []string
			for _, r := range a.Plan.Changes[i].Reasons {
				ids = append(ids, fmt.Sprintf("%s %s %s", r.Kind, r.ID, r.Severity))
			}
			slices.Sort(ids)
			if d := cmp.Diff([]string{"advisory GO-2026-9001 critical", "release " + fixed + " critical"}, ids); d != "" {
				t.Errorf("why (-want +got):\n%s", d)
			}
		}
		// What was built for this answer.
		exe, _ := s.install(t, a.Target, exes[n])
		s.verifiedElsewhere(t, js, a.Target)
		if out, err := exec.Command(exe, "version").Output(); err != nil || !strings.HasPrefix(string(out), fixed+" ") {
			t.Errorf("the new executable is %q (%v)", out, err)
		}
		if got := lists(t, exe); got != n {
			t.Errorf("%s with %d plugins has %d", fixed, n, got)
		}
		served(t, exe)
		if a := s.checkItself(t, exe, wire.ScopeCritical); a.NeedsUpdate {
			t.Errorf("the new executable needs another: %+v", a.Plan)
		}
		exes[n] = exe
	}
	// Who orders what a check was answered with gets just that.
	if _, same := s.order(t, fixed, 1); same.SHA256 != hashed(t, exes[1]) {
		t.Errorf("an order was built to %s, a check's answer to %s", same.SHA256, hashed(t, exes[1]))
	}

	// A release of no risk is for who asks for it; the whole way once more.
	s.maintain(t, nil, "release", "tag", wire.CaddyPath+"@"+newest, "--severity", "important")
	s.maintain(t, nil, "rollout", "ramp", next.ID, "1.0")
	for _, n := range []int{0, 1, 3} {
		if a := s.checkItself(t, exes[n], wire.ScopeCritical); a.NeedsUpdate {
			t.Errorf("scope critical: %+v", a.Plan)
		}
		a := s.checkItself(t, exes[n], wire.ScopeImportant)
		if a.Target == nil {
			t.Fatalf("%s with %d plugins: %+v", fixed, n, a)
		}
		exe, _ := s.install(t, a.Target, exes[n])
		if out, err := exec.Command(exe, "version").Output(); err != nil || !strings.HasPrefix(string(out), newest+" ") {
			t.Errorf("the newest executable is %q (%v)", out, err)
		}
		if got := lists(t, exe); got != n {
			t.Errorf("%s with %d plugins has %d", newest, n, got)
		}
		if a := s.checkItself(t, exe, wire.ScopeImportant); a.NeedsUpdate {
			t.Errorf("the newest executable needs another: %+v", a.Plan)
		}
		exes[n] = exe
	}
	served(t, exes[1])

	b, err := s.Get(t.Context(), "/metrics")
	if err != nil || !strings.Contains(string(b), `evergreen_updates_checks_total{outcome="target"}`) {
		t.Errorf("checks are not counted: %v", err)
	}
	s.stop(t)
}

// roll asks for instances on both sides of a rollout that half of them are to
// be reached by, through its pause and the server's restart.
func (s *updateServer) roll(t *testing.T, o rollout.Rollout, about build.Answer) {
	t.Helper()
	ids := map[bool]wire.InstanceID{}
	for len(ids) < 2 {
		var id wire.InstanceID
		_, _ = rand.Read(id[:])
		ids[o.Reached(id)] = id
	}
	check := wire.Check{Build: *about.List, System: about.Spec.System, Scope: wire.ScopeCritical, SHA256: about.SHA256}
	ask := func(reached bool) (a wire.Answer, err error) {
		id := ids[reached]
		c := updater.Client{Service: s.URL(), Instance: &id}
		a, _, err = c.Check(t.Context(), check)
		return a, err
	}
	offered := func(want bool, held string) func() error {
		return func() error {
			a, err := ask(want)
			if err != nil {
				return err
			}
			if a.NeedsUpdate != want || !strings.Contains(a.Held, held) {
				return fmt.Errorf("reached %v: needs an update %v, held %q", want, a.NeedsUpdate, a.Held)
			}
			if a.Build != nil && a.Build.State == "failed" {
				t.Fatal(a.Build.Error)
			}
			return nil
		}
	}
	both := func() {
		t.Helper()
		eventually(t, time.Minute, offered(true, ""))
		eventually(t, time.Minute, offered(false, "its rollout has reached 50 % of instances"))
	}
	both()
	s.stop(t)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	both()
	s.maintain(t, nil, "rollout", "pause", o.ID, "--why", "a test's")
	a, err := ask(true)
	if err != nil || a.NeedsUpdate || !strings.Contains(a.Held, "its rollout is paused") {
		t.Errorf("paused: %+v (%v)", a, err)
	}
	s.maintain(t, nil, "rollout", "resume", o.ID)
	both()
	// Who waits finds the executable, and in time a patch from its own.
	eventually(t, 10*time.Minute, func() error {
		a, err := ask(true)
		if err == nil && a.Target == nil {
			err = fmt.Errorf("%+v", a.Build)
		}
		return err
	})
	eventually(t, 10*time.Minute, func() error {
		a, err = ask(true)
		if err == nil && !slices.ContainsFunc(a.Target.Files, func(f wire.TargetFile) bool { return f.From == about.SHA256 }) {
			err = fmt.Errorf("no patch is there: %+v", a.Target.Files)
		}
		return err
	})
	old := filepath.Join(t.TempDir(), "old")
	b, err := s.Get(t.Context(), about.Download)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, b, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, n := s.install(t, a.Target, old); n < 3 {
		t.Errorf("there are %d ways to the executable, not a patch, compressed and as it is", n)
	}
}

// verifiedElsewhere has tuf-js, which shares no code with us, verify and
// download all files of a target.
func (s *updateServer) verifiedElsewhere(t *testing.T, js string, target *wire.Target) {
	t.Helper()
	args := []string{filepath.Join(js, "verify.mjs"), filepath.Join(s.Dir, "data", "tuf", "1.root.json"), s.URL() + strings.TrimSuffix(wire.PathTUF, "/"), t.TempDir()}
	var want []string
	for _, f := range target.Files {
		args = append(args, f.Name)
		want = append(want, fmt.Sprintf("%s %d", f.SHA256, f.Size))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Dir, cmd.Stderr = js, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tuf-js: %v", err)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		got = append(got, f[0]+" "+f[1])
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("what tuf-js downloaded (-want +got):\n%s", d)
	}
}
