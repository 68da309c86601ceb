package boot_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sys/unix"

	"github.com/caddy-evergreen/evergreen/boot"
	"github.com/caddy-evergreen/evergreen/slots"
	"github.com/caddy-evergreen/evergreen/wire"
)

// The programs that stand for executables of Caddy (testdata/server), all of
// Caddy v2.11.3: one that is installed, another build of it, and one that a
// build service made, with a root of trust and a plugin in it.
var programs struct{ dir, installed, other, service string }

const mountVariable = "BOOT_TEST_MOUNT" // how, folder, program

func TestMain(m *testing.M) {
	if how := os.Getenv(mountVariable); how != "" {
		fmt.Fprintln(os.Stderr, mountAndRun(how))
		os.Exit(1)
	}
	code, err := build(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(then func() int) (int, error) {
	dir, err := os.MkdirTemp("", "boot-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	// Others may run what is in it: one test does so as another user.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	p := &programs
	p.dir, p.installed, p.other, p.service = dir, filepath.Join(dir, "caddy"), filepath.Join(dir, "other"), filepath.Join(dir, "service")
	root, err := newRoot()
	if err != nil {
		return 1, err
	}
	spec := fmt.Sprintf(`evergreen:spec:1:{"caddy":"v2.11.3","plugins":[{"path":"a.example/p","version":"v1.0.0"}],"root":"%x"}`, sha256.Sum256(root))
	for name, flags := range map[string][]string{
		p.installed: {"-ldflags=-s -w"},
		p.other:     {"-ldflags=-s -w", "-tags=another"},
		p.service:   {"-ldflags=-s -w -X '" + wire.EvergreenPath + "/boot/spec.Build=" + spec + "'"},
	} {
		out, err := exec.Command("go", append(append([]string{"build", "-o", name}, flags...), "./testdata/server")...).CombinedOutput()
		if err != nil {
			return 1, fmt.Errorf("building a server: %w: %s", err, out)
		}
	}
	return then(), nil
}

// mountAndRun makes a folder read-only or not executable, in a namespace of this
// process's own, and becomes the program.
func mountAndRun(how string) error {
	var flags uintptr = unix.MS_NOEXEC
	if how == "ro" {
		flags = unix.MS_RDONLY
	}
	dir, program := os.Args[1], os.Args[2]
	os.Unsetenv(mountVariable)
	return errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount(dir, dir, "", unix.MS_BIND, ""),
		unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|flags, ""),
		syscall.Exec(program, []string{program, "run"}, os.Environ()))
}

// One key signs everything, in metadata that expired long ago.
var private = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

var past = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

func sign[T metadata.Roles](m *metadata.Metadata[T]) ([]byte, error) {
	s, err := signature.LoadSigner(private, crypto.Hash(0))
	if err != nil {
		return nil, err
	}
	if _, err := m.Sign(s); err != nil {
		return nil, err
	}
	return m.ToBytes(false)
}

func newRoot() ([]byte, error) {
	key, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	m := metadata.Root(past)
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		if err := m.Signed.AddKey(key, role); err != nil {
			return nil, err
		}
	}
	return sign(m)
}

// A world is one machine's: an installed executable and a data directory.
type world struct {
	t         *testing.T
	installed string
	home      string
	root      []byte
	rootFile  string
	dir       *slots.Dir
	env       []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	home, err := os.MkdirTemp(programs.dir, "home-")
	if err == nil {
		err = os.Chmod(home, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	root, err := newRoot()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, installed: programs.installed, home: home, root: root, rootFile: filepath.Join(home, "root.json")}
	w.write(w.rootFile, root)
	w.env = []string{"HOME=" + home, boot.Root + "=" + w.rootFile}
	w.dir = slots.Open(boot.Updates(w.data()))
	return w
}

func (w *world) data() string { return filepath.Join(w.home, ".local", "share", "caddy") }

func (w *world) write(name string, b []byte) {
	w.t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(name string) []byte {
	w.t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

var number atomic.Int64

// A release is what a slot is made of; the zero value is a good one.
type release struct {
	caddy   string // signed version
	content []byte // in place of an executable
	plugins []wire.ModuleVersion
	custom  func(*wire.TargetCustom)
	slot    func(*slots.Slot)
}

// update puts an update into an active slot, with three tries.
func (w *world) update(r release) slots.Slot {
	t := w.t
	t.Helper()
	n := number.Add(1)
	// Bytes after its end change nothing in an executable but its hash.
	exe := append(w.read(programs.installed), fmt.Sprintf("slot %d", n)...)
	if r.content != nil {
		exe = r.content
	}
	if r.caddy == "" {
		r.caddy = "v2.11.9"
	}
	name := fmt.Sprintf("caddy/%s-%s/%d/caddy", runtime.GOOS, runtime.GOARCH, n)
	spec, err := json.Marshal(map[string]any{"caddy": r.caddy, "plugins": r.plugins})
	if err != nil {
		t.Fatal(err)
	}
	custom := wire.TargetCustom{Kind: wire.TargetExecutable, Spec: spec, System: &wire.System{OS: runtime.GOOS, Arch: runtime.GOARCH}}
	if r.custom != nil {
		r.custom(&custom)
	}
	said, err := json.Marshal(custom)
	if err != nil {
		t.Fatal(err)
	}
	tf, err := metadata.TargetFile().FromBytes(name, exe)
	if err != nil {
		t.Fatal(err)
	}
	tf.Custom = (*json.RawMessage)(&said)
	targets := metadata.Targets(past)
	targets.Signed.Targets[name] = tf
	signed, err := sign(targets)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := slots.Identify(w.installed)
	if err != nil {
		t.Fatal(err)
	}
	s := slots.Slot{ID: fmt.Sprintf("%x", sha256.Sum256(exe)), Target: name, Caddy: r.caddy, Installed: identity}
	info, err := buildinfo.ReadFile(programs.installed)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range info.Deps {
		s.Build.Modules = append(s.Build.Modules, wire.ModuleVersion{Path: m.Path, Version: m.Version})
	}
	if r.slot != nil {
		r.slot(&s)
	}
	file, err := w.dir.Make(s)
	if err != nil {
		t.Fatal(err)
	}
	w.write(file, exe)
	if err := w.dir.Seal(s.ID, map[string][]byte{"1.root.json": w.root, "targets.json": signed}); err != nil {
		t.Fatal(err)
	}
	if err := w.dir.Activate(s.ID, boot.Tries); err != nil {
		t.Fatal(err)
	}
	return s
}

// said is what testdata/server says.
type said struct {
	PID                            int
	Slot, Installed, Refused, Late string
	Args, Internal                 []string
	Ambient, Effective             string
}

func (w *world) command(program string, args []string, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), program, args...)
	cmd.Env = append(append([]string{}, w.env...), env...)
	cmd.Stderr = &bytes.Buffer{}
	return cmd
}

// hear reads what a command says, which has to be by the process that it started.
func (w *world) hear(cmd *exec.Cmd) said {
	w.t.Helper()
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("%v: %s %s", err, out, cmd.Stderr)
	}
	return w.parse(out, cmd)
}

func (w *world) parse(out []byte, cmd *exec.Cmd) (s said) {
	w.t.Helper()
	if err := json.Unmarshal(out, &s); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	if s.PID != cmd.Process.Pid {
		w.t.Errorf("process %d says what process %d should", s.PID, cmd.Process.Pid)
	}
	return s
}

// run starts what is installed.
func (w *world) run(env ...string) said {
	w.t.Helper()
	return w.hear(w.command(w.installed, []string{"run"}, env...))
}

func (w *world) tries(id string) int {
	w.t.Helper()
	s, err := w.dir.Get(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.Tries
}
