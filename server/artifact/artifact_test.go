package artifact_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/caddy-evergreen/evergreen/delta"
	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/trust"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A fixture is a repository with its keys, served on loopback.
type fixture struct {
	t       testing.TB
	dir     string // the storage's folder
	offline []*artifact.Key
	mu      sync.Mutex
	online  []*artifact.Key
	clock   time.Time // zero: the real time
	repo    *artifact.Repository
	url     string
}

func newKeys(t testing.TB, roles ...string) (keys []*artifact.Key) {
	t.Helper()
	for _, r := range roles {
		k, err := artifact.NewKey(r)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	return keys
}

// newFixture makes a repository with 2 of 3 root keys, 2 of 2 targets keys.
func newFixture(t testing.TB, bits int) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir()}
	f.offline = newKeys(t, "root", "root", "root", "targets", "targets")
	f.online = newKeys(t, "builds", "snapshot", "timestamp")
	if err := artifact.Init(t.Context(), f.storage(), artifact.Ceremony{
		Keys: append(append([]*artifact.Key{}, f.offline...), f.online...), RootThreshold: 2, TargetsThreshold: 2, BinBits: bits, Now: time.Now(),
	}); err != nil {
		t.Fatal(err)
	}
	f.open()
	f.url = f.serve(artifact.Files(f.storage()))
	return f
}

func (f *fixture) storage() *artifact.Storage {
	f.t.Helper()
	s, err := artifact.OpenStorage(context.Background(), f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { s.Close() })
	return s
}

func (f *fixture) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clock.IsZero() {
		return time.Now()
	}
	return f.clock
}

func (f *fixture) set(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock = now
}

func (f *fixture) open() {
	f.t.Helper()
	var err error
	f.repo, err = artifact.Open(f.t.Context(), artifact.Options{
		Storage: f.storage(), Now: f.now, Log: slog.New(slog.NewTextHandler(testLog{f.t}, nil)),
		Keys: func() ([]*artifact.Key, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.online, nil
		},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	repo := f.repo
	f.t.Cleanup(func() { repo.Close() })
}

func (f *fixture) reopen() {
	f.t.Helper()
	if err := f.repo.Close(); err != nil {
		f.t.Fatal(err)
	}
	f.open()
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimSpace(b))
	return len(b), nil
}

// serve gives a handler an address.
func (f *fixture) serve(h http.Handler) string { return serve(f.t, h) }

func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l)
	}()
	t.Cleanup(func() { s.Close(); <-done })
	return "http://" + l.Addr().String()
}

// root reads a version of the root metadata.
func (f *fixture) root(version int) []byte {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, fmt.Sprintf("%d.root.json", version)))
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *fixture) client(dir string) *trust.Client {
	f.t.Helper()
	c, err := trust.New(trust.Config{Root: f.root(1), URL: f.url, Dir: dir, Now: f.now})
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// build makes something to publish: bytes that no two n share.
func build(t testing.TB, n int, content []byte) (artifact.Build, string) {
	t.Helper()
	if content == nil {
		content = bytes.Repeat(fmt.Appendf(nil, "executable %d ", n), 1000)
	}
	file := filepath.Join(t.TempDir(), "caddy")
	if err := os.WriteFile(file, content, 0o755); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	return artifact.Build{
		Spec: artifact.Spec{
			Go: "go1.26.8", System: wire.System{OS: "linux", Arch: "amd64"}, Caddy: fmt.Sprintf("v2.11.%d", n),
			Plugins: []wire.ModuleVersion{{Path: "github.com/caddy-dns/cloudflare", Version: "v0.2.1"}},
		},
		SHA256: hex.EncodeToString(sum[:]), Size: int64(len(content)), Severity: wire.SeverityCritical,
		List:  wire.BuildList{Go: "go1.26.8", Modules: []wire.ModuleVersion{{Path: wire.CaddyPath, Version: fmt.Sprintf("v2.11.%d", n)}}},
		GoSum: wire.CaddyPath + fmt.Sprintf(" v2.11.%d h1:LPFjkX6bbW7DJp7vrgmpTZXRHwN5Wcwl16pbZJQKmIc=\n", n),
	}, file
}

func (f *fixture) publish(n int) (artifact.Build, wire.Target) {
	f.t.Helper()
	b, file := build(f.t, n, nil)
	t, err := f.repo.Publish(f.t.Context(), b, file)
	if err != nil {
		f.t.Fatal(err)
	}
	return b, t
}

// fetch downloads a target with a client, or fails.
func fetch(t testing.TB, c *trust.Client, name string) []byte {
	t.Helper()
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	target, err := c.Target(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := c.Download(t.Context(), target, file); err != nil {
		t.Fatal(err)
	}
	// What is downloaded is proven without the repository, too.
	saved, err := c.Saved(target)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust.VerifySaved(sha256.Sum256(saved["1.root.json"]), saved, target.Name, file); err != nil {
		t.Errorf("offline: %v", err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPublish(t *testing.T) {
	f := newFixture(t, 3)
	c := f.client(t.TempDir())
	b, target := f.publish(1)
	want := bytes.Repeat([]byte("executable 1 "), 1000)
	if got := fetch(t, c, target.Name); !bytes.Equal(got, want) {
		t.Error("the executable is another one")
	}
	tt, err := c.Target(t.Context(), target.Name)
	if err != nil {
		t.Fatal(err)
	}
	system := wire.System{OS: "linux", Arch: "amd64"}
	custom := tt.Custom
	custom.Spec = nil
	if d := cmp.Diff(wire.TargetCustom{Kind: wire.TargetExecutable, SpecID: b.Spec.ID(), System: &system, Severity: wire.SeverityCritical}, custom); d != "" {
		t.Errorf("custom metadata (-want +got):\n%s", d)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if got, err := z.DecodeAll(fetch(t, c, target.Name+".zst"), nil); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the compressed executable is another one: %v", err)
	}
	// The index says what clients see, and a restart changes nothing.
	found, ok := f.repo.Find(b.Spec.ID(), "")
	if d := cmp.Diff(target, found); !ok || d != "" {
		t.Errorf("found (-want +got):\n%s", d)
	}
	f.reopen()
	found, ok = f.repo.Find(b.Spec.ID(), "")
	if d := cmp.Diff(target, found); !ok || d != "" {
		t.Errorf("found after a restart (-want +got):\n%s", d)
	}
	if len(found.Files) != 2 || found.Files[0].Method != "zstd" || found.Files[1].Method != "" || found.Files[0].Size > found.Files[1].Size {
		t.Errorf("the ways to it: %+v", found.Files)
	}
	if _, ok := f.repo.Find("none", ""); ok {
		t.Error("a spec that was never built is found")
	}
	// A withdrawn executable is vouched for no more.
	if err := f.repo.Withdraw(t.Context(), b.SHA256, strings.Repeat("0", 64)); err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{target.Name, target.Name + ".zst", target.Name + ".provenance.json"} {
		if _, err := c.Target(t.Context(), name); !errors.Is(err, trust.ErrNoTarget) {
			t.Errorf("%s was withdrawn: %v", name, err)
		}
	}
}

// TestPublishWrong publishes a file that is not what was built.
func TestPublishWrong(t *testing.T) {
	f := newFixture(t, 2)
	b, file := build(t, 1, nil)
	if err := os.WriteFile(file, []byte("something else"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := f.repo.Publish(t.Context(), b, file); !errors.Is(err, artifact.ErrNotBuilt) {
		t.Errorf("the error is %v", err)
	}
	if _, ok := f.repo.Find(b.Spec.ID(), ""); ok {
		t.Error("it was published")
	}
}

// TestBatch publishes many at once: few snapshots hold them, and all are there.
func TestBatch(t *testing.T) {
	f := newFixture(t, 4)
	const n = 24
	names := make([]string, n)
	var w sync.WaitGroup
	for i := range n {
		b, file := build(t, i, nil)
		w.Add(1)
		go func() {
			defer w.Done()
			target, err := f.repo.Publish(t.Context(), b, file)
			if err != nil {
				t.Error(err)
			}
			names[i] = target.Name
		}()
	}
	w.Wait()
	c := f.client(t.TempDir())
	for i, name := range names {
		if got, want := fetch(t, c, name), fmt.Appendf(nil, "executable %d ", i); !bytes.HasPrefix(got, want) {
			t.Errorf("%s is another one", name)
		}
	}
}

// TestGoTUF has go-tuf's own client verify and download.
func TestGoTUF(t *testing.T) {
	f := newFixture(t, 9)
	_, target := f.publish(3)
	dir := t.TempDir()
	cfg, err := config.New(f.url, f.root(1))
	if err != nil {
		t.Fatal(err)
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = filepath.Join(dir, "m"), filepath.Join(dir, "t")
	up, err := updater.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Refresh(); err != nil {
		t.Fatal(err)
	}
	for _, file := range append(target.Files, wire.TargetFile{Name: target.Name + ".provenance.json"}) {
		info, err := up.GetTargetInfo(file.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, b, err := up.DownloadTarget(info, "", ""); err != nil || int64(len(b)) != info.Length {
			t.Errorf("%s: %d bytes, %v", file.Name, len(b), err)
		}
	}
	if _, err := up.GetTargetInfo("caddy/linux-amd64/none/caddy"); err == nil {
		t.Error("a target that is not there is found")
	}
}

// TestMirror serves a plain copy of the folder with the standard library's file
// server: it is a repository as well.
func TestMirror(t *testing.T) {
	f := newFixture(t, 3)
	_, target := f.publish(4)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(f.dir)); err != nil {
		t.Fatal(err)
	}
	root := f.root(1)
	if err := f.repo.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := trust.New(trust.Config{Root: root, URL: serve(t, http.FileServer(http.Dir(dir))), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if got := fetch(t, c, target.Name); !bytes.HasPrefix(got, []byte("executable 4 ")) {
		t.Error("the executable is another one")
	}
}

func TestDeltas(t *testing.T) {
	f := newFixture(t, 3)
	old := bytes.Repeat([]byte("runtime.call\x00\x10\x20\x30"), 0)
	for i := range 20_000 {
		old = fmt.Appendf(old, "call %06x", i*7919%(1<<24))
	}
	fresh := bytes.Clone(old)
	for i := 0; i < len(fresh); i += 500 {
		fresh[i] ^= 3
	}
	b1, file1 := build(t, 1, old)
	b2, file2 := build(t, 2, fresh)
	for b, file := range map[*artifact.Build]string{&b1: file1, &b2: file2} {
		if _, err := f.repo.Publish(t.Context(), *b, file); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.repo.Run(ctx) }()
	f.repo.WantDelta(b1.SHA256, b2.SHA256)
	f.repo.WantDelta(b1.SHA256, strings.Repeat("0", 64)) // nothing can be made
	var target wire.Target
	for deadline := time.Now().Add(5 * time.Minute); len(target.Files) < 4; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the ways to it are %+v", target.Files)
		}
		target, _ = f.repo.Find(b2.Spec.ID(), b1.SHA256)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	c := f.client(t.TempDir())
	var methods []string
	for _, file := range target.Files {
		methods = append(methods, file.Method)
		if file.From == "" {
			continue
		}
		patch := fetch(t, c, file.Name)
		var out bytes.Buffer
		if _, err := delta.Apply(sectionOf(old), bytes.NewReader(patch), &out, delta.Limits{SHA256: sha256.Sum256(fresh)}); err != nil || !bytes.Equal(out.Bytes(), fresh) {
			t.Errorf("%s: %v", file.Name, err)
		}
	}
	if d := cmp.Diff([]string{"bsdiff", "zstd-patch", "zstd", ""}, methods); d != "" {
		t.Errorf("methods (-want +got):\n%s", d)
	}
	// Who runs something else gets no delta.
	if other, _ := f.repo.Find(b2.Spec.ID(), b2.SHA256); len(other.Files) != 2 {
		t.Errorf("the ways from something else are %+v", other.Files)
	}
}

// TestExecutable takes the ways to an executable that are there, one after the
// other: each makes the same bytes.
func TestExecutable(t *testing.T) {
	f := newFixture(t, 2)
	old := make([]byte, 30_000)
	rand.NewChaCha8([32]byte{}).Read(old[:20_000]) // compressible by a third: a delta is the smallest way
	fresh := append([]byte("a new executable"), old...)
	from, fromFile := build(t, 1, old)
	to, toFile := build(t, 2, fresh)
	for b, file := range map[*artifact.Build]string{&from: fromFile, &to: toFile} {
		if _, err := f.repo.Publish(t.Context(), *b, file); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.repo.MakeDelta(t.Context(), from.SHA256, to.SHA256, delta.ZstdPatch); err != nil {
		t.Fatal(err)
	}
	target, _ := f.repo.Find(to.Spec.ID(), from.SHA256)
	if len(target.Files) != 3 || target.Files[0].Method != "zstd-patch" {
		t.Fatalf("the ways are %+v", target.Files)
	}
	m := f.mitm()
	var asked []string
	for _, file := range target.Files {
		name := hashedName(file)
		m.answers[name] = func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, file.Method)
			http.ServeFile(w, r, filepath.Join(f.dir, filepath.FromSlash(name)))
		}
	}
	get := func(old []byte) error {
		t.Helper()
		asked = nil
		file := filepath.Join(t.TempDir(), "caddy")
		section := sectionOf(old)
		if old == nil {
			section = nil
		}
		_, err := m.client(t.TempDir()).Executable(t.Context(), target, section, file)
		got, readErr := os.ReadFile(file)
		if err == nil && !bytes.Equal(got, fresh) {
			t.Error("another executable came out")
		}
		if err != nil && readErr == nil {
			t.Error("a file is there in spite of the error")
		}
		return err
	}
	check := func(what string, err error, want ...string) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if d := cmp.Diff(want, asked); d != "" {
			t.Errorf("%s: downloads (-want +got):\n%s", what, d)
		}
	}
	check("with the old executable", get(old), "zstd-patch")
	check("with none", get(nil), "zstd")
	check("with another", get(fresh), "zstd-patch", "zstd")
	m.missing(hashedName(target.Files[0]))
	m.missing(hashedName(target.Files[1]))
	check("with only the whole there", get(old), "")
	m.missing(hashedName(target.Files[2]))
	if err := get(old); err == nil {
		t.Error("with nothing there: no error")
	}
	// The service names a file that makes something else, or nothing.
	clear(m.answers)
	other, _ := f.repo.Find(from.Spec.ID(), "")
	target.Files = []wire.TargetFile{other.Files[0], {Name: "none"}, {Name: target.Name + ".provenance.json"}}
	check("with wrong advice", get(old))
	target.Name += ".zst"
	if err := get(old); !errors.Is(err, trust.ErrMismatch) {
		t.Errorf("no executable: %v", err)
	}
}

func hashedName(f wire.TargetFile) string {
	i := strings.LastIndexByte(f.Name, '/') + 1
	return "targets/" + f.Name[:i] + f.SHA256 + "." + f.Name[i:]
}

// TestRetain makes room: what nobody asks for goes first, what was asked for
// lately stays, and files go after the metadata.
func TestRetain(t *testing.T) {
	f := newFixture(t, 2)
	var builds []artifact.Build
	var size int64
	for n := range 5 {
		b, target := f.publish(n)
		builds = append(builds, b)
		size = target.Size
	}
	there := func() (ns []int) {
		for n, b := range builds {
			// Not by asking the repository, which would count as use.
			target, err := f.client(t.TempDir()).Target(t.Context(), artifact.TargetName(b.Spec))
			if err == nil && fmt.Sprintf("%x", target.SHA256) == b.SHA256 {
				ns = append(ns, n)
			} else if !errors.Is(err, trust.ErrNoTarget) {
				t.Fatal(err)
			}
		}
		return ns
	}
	retain := func(most int64, want ...int) {
		t.Helper()
		if err := f.repo.Retain(t.Context(), most); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, there()); d != "" {
			t.Errorf("with %d bytes (-want +got):\n%s", most, d)
		}
	}
	retain(0, 0, 1, 2, 3, 4)
	retain(1, 0, 1, 2, 3, 4) // all is new
	f.set(time.Now().Add(30 * time.Hour))
	f.repo.Find(builds[3].Spec.ID(), builds[0].SHA256) // 3 is wanted by who runs 0
	f.set(time.Now().Add(60 * time.Hour))
	if err := f.repo.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.repo.Find(builds[4].Spec.ID(), "")
	retain(6*size, 0, 1, 2, 3, 4) // all have room
	retain(1, 0, 3, 4)
	f.set(time.Now().Add(90 * time.Hour))
	if err := f.repo.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	retain(1, 4)
	if err := f.repo.Prune(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	var left []string
	if err := filepath.WalkDir(filepath.Join(f.dir, "targets"), func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			left = append(left, d.Name()[65:])
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"caddy", "caddy.provenance.json", "caddy.zst"}, left, cmpopts.SortSlices(strings.Compare)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	fetch(t, f.client(t.TempDir()), artifact.TargetName(builds[4].Spec))
	// What was withdrawn can be published again.
	b, file := build(t, 1, nil)
	if _, err := f.repo.Publish(t.Context(), b, file); err != nil {
		t.Fatal(err)
	}
	fetch(t, f.client(t.TempDir()), artifact.TargetName(b.Spec))
}
