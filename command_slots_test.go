package evergreen

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/caddy-evergreen/evergreen/boot"
	"github.com/caddy-evergreen/evergreen/slots"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestDataDirectory: boot finds the folder that Caddy will use, without Caddy.
func TestDataDirectory(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"as it is":      nil,
		"XDG_DATA_HOME": {"XDG_DATA_HOME": "/somewhere"},
		"both":          {"XDG_DATA_HOME": "/somewhere", "HOME": "/home/caddy"},
		"HOME":          {"XDG_DATA_HOME": "", "HOME": "/home/caddy", "AppData": "/home/caddy"},
		"nothing":       {"XDG_DATA_HOME": "", "HOME": "", "AppData": ""},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range env {
				t.Setenv(k, v)
			}
			if got, want := boot.DataDir(os.Getenv), caddy.AppDataDir(); got != want {
				t.Errorf("%s is not %s", got, want)
			}
		})
	}
}

func signMetadata[T metadata.Roles](t *testing.T, m *metadata.Metadata[T], private ed25519.PrivateKey) []byte {
	t.Helper()
	s, err := signature.LoadSigner(private, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Sign(s); err != nil {
		t.Fatal(err)
	}
	b, err := m.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// aProgram is an executable that knows what it was built from, as Caddy's do, and
// is smaller.
var aProgram = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "program-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{"go.mod": "module program\n", "main.go": "package main\n\nfunc main() {}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("go", "build", "-o", "program", ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "program"))
})

// promotable is a data directory with a slot that served well, a file to write it
// over, and the root of trust. The slot's executable has some bytes more.
type promotable struct {
	data, installed, root string
	dir                   *slots.Dir
	slot                  slots.Slot
	exe                   []byte
}

func newPromotable(t *testing.T, version string) *promotable {
	t.Helper()
	folder := t.TempDir()
	p := &promotable{data: filepath.Join(folder, "data"), installed: filepath.Join(folder, "caddy"), root: filepath.Join(folder, "root.json")}
	write := func(name string, b []byte, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(name, b, 0o600), os.Chmod(name, mode)); err != nil {
			t.Fatal(err)
		}
	}
	exe, err := aProgram()
	if err != nil {
		t.Fatal(err)
	}
	write(p.installed, exe, 0o750)
	p.exe = append(exe, "newer"...)

	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	key, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	past := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	root := metadata.Root(past)
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		if err := root.Signed.AddKey(key, role); err != nil {
			t.Fatal(err)
		}
	}
	rootJSON := signMetadata(t, root, private)
	write(p.root, rootJSON, 0o644)
	name := "caddy/x/caddy"
	tf, err := metadata.TargetFile().FromBytes(name, p.exe)
	if err != nil {
		t.Fatal(err)
	}
	custom, err := json.Marshal(wire.TargetCustom{
		Kind: wire.TargetExecutable, Spec: json.RawMessage(`{"caddy":"` + version + `"}`), System: &wire.System{OS: runtime.GOOS, Arch: runtime.GOARCH},
	})
	if err != nil {
		t.Fatal(err)
	}
	tf.Custom = (*json.RawMessage)(&custom)
	targets := metadata.Targets(past)
	targets.Signed.Targets[name] = tf

	p.dir = slots.Open(boot.Updates(p.data))
	identity, err := slots.Identify(p.installed)
	if err != nil {
		t.Fatal(err)
	}
	p.slot = slots.Slot{ID: fmt.Sprintf("%x", sha256.Sum256(p.exe)), Target: name, Caddy: version, Installed: identity}
	file, err := p.dir.Make(p.slot)
	if err != nil {
		t.Fatal(err)
	}
	write(file, p.exe, 0o644)
	if err := errors.Join(
		p.dir.Seal(p.slot.ID, map[string][]byte{"1.root.json": rootJSON, "targets.json": signMetadata(t, targets, private)}),
		p.dir.Mark(p.slot.ID, slots.Good, "10m of watching"),
		p.dir.Activate(p.slot.ID, boot.Tries),
	); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *promotable) promote(more ...string) (string, error) {
	args := append([]string{"promote", "--yes", "--data", p.data, "--over", p.installed, "--root", p.root}, more...)
	out, _, err := run("", args...)
	return out, err
}

func TestPromote(t *testing.T) {
	p := newPromotable(t, "v2.99.0")
	question := p.installed + ", which is"
	_, asked, err := run("no\n", "promote", "--data", p.data, "--over", p.installed, "--root", p.root)
	if err == nil || !strings.Contains(asked, "Caddy v2.99.0 is written over "+question) {
		t.Fatalf("%v: %s", err, asked)
	}
	if b, err := os.ReadFile(p.installed); err != nil || bytes.Equal(b, p.exe) {
		t.Fatal("it is done without a yes", err)
	}
	out, err := p.promote()
	if err != nil || out != p.installed+" is Caddy v2.99.0 now.\n" {
		t.Fatal(out, err)
	}
	if b, err := os.ReadFile(p.installed); err != nil || !bytes.Equal(b, p.exe) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if i, err := os.Stat(p.installed); err != nil || runtime.GOOS != "windows" && i.Mode() != 0o750 {
		t.Errorf("%v %v", i.Mode(), err)
	}
	if id, err := p.dir.ActiveID(); err != nil || id != "" {
		t.Errorf("%q is still active, %v", id, err)
	}
	es, err := os.ReadDir(filepath.Dir(p.installed))
	if err != nil || len(es) != 3 {
		t.Errorf("%v is left, %v", es, err)
	}
	if _, err := p.promote(); err == nil || !strings.Contains(err.Error(), "no slot is active") {
		t.Errorf("again: %v", err)
	}
}

// TestPromoteElsewhere writes over a file that Caddy is not started from.
func TestPromoteElsewhere(t *testing.T) {
	p := newPromotable(t, "v2.99.0")
	other := filepath.Join(t.TempDir(), "caddy")
	b, err := os.ReadFile(p.installed)
	if err := errors.Join(err, os.WriteFile(other, b, 0o700)); err != nil {
		t.Fatal(err)
	}
	if out, err := p.promote("--over", other); err != nil {
		t.Fatal(out, err)
	}
	if b, err := os.ReadFile(other); err != nil || !bytes.Equal(b, p.exe) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if id, err := p.dir.ActiveID(); err != nil || id != p.slot.ID {
		t.Errorf("%q is active, %v", id, err)
	}
}

func TestPromoteRefuses(t *testing.T) {
	for _, c := range []struct {
		name, version string
		change        func(t *testing.T, p *promotable) error
		args          []string
		want          string
	}{
		{name: "what is no version of Caddy", version: "new", want: "not signed as any version"},
		{name: "an executable that was changed", change: func(t *testing.T, p *promotable) error {
			return os.Truncate(p.dir.Executable(p.slot.ID), int64(len(p.exe)-1))
		}, want: "not the file that was signed"},
		{name: "another root of trust", change: func(t *testing.T, p *promotable) error {
			return os.WriteFile(p.root, []byte("{}"), 0o600)
		}, want: "no root metadata of SHA-256"},
		{name: "no root of trust", args: []string{"--root", ""}, want: "name a file with the root metadata with --root"},
		{name: "a candidate", change: func(t *testing.T, p *promotable) error {
			return p.dir.Mark(p.slot.ID, slots.Candidate, "")
		}, want: "only what has served well"},
		{name: "over something else", change: func(t *testing.T, p *promotable) error {
			return os.WriteFile(p.installed, []byte("a text"), 0o600)
		}, want: "only an executable of Caddy"},
		{name: "over a slot", change: func(t *testing.T, p *promotable) error {
			p.installed = p.dir.Executable(p.slot.ID)
			return nil
		}, want: "run by the executable in the slot"},
		{name: "over a folder", change: func(t *testing.T, p *promotable) error {
			p.installed = t.TempDir()
			return nil
		}, want: "only an executable of Caddy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			version := c.version
			if version == "" {
				version = "v2.99.0"
			}
			p := newPromotable(t, version)
			if c.change != nil {
				if err := c.change(t, p); err != nil {
					t.Fatal(err)
				}
			}
			before, _ := os.ReadFile(p.installed)
			if out, err := p.promote(c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s %v, without %q", out, err, c.want)
			}
			after, _ := os.ReadFile(p.installed)
			if !bytes.Equal(before, after) {
				t.Error("the file is another one")
			}
			if c.want != "run by the executable in the slot" {
				es, err := os.ReadDir(filepath.Dir(p.root))
				if err != nil || len(es) != 3 {
					t.Errorf("%v is left, %v", es, err)
				}
			}
		})
	}
}

func TestNotOlder(t *testing.T) {
	for _, c := range []struct {
		was, signed string
		want        bool
	}{
		{"v2.11.3", "v2.11.9", true}, {"v2.11.3", "v2.11.3", true}, {"v2.11.10", "v2.11.9", false}, {"v2.11.3", "", false}, {"(devel)", "v2.11.9", true},
	} {
		err := notOlder(slots.Identity{Caddy: c.was}, json.RawMessage(`{"caddy":"`+c.signed+`"}`))
		if (err == nil) != c.want {
			t.Errorf("%s over %s: %v", c.signed, c.was, err)
		}
	}
}

func TestCommandSlots(t *testing.T) {
	running := strings.Repeat("0b", 32)
	d := slotsDocument{
		Folder: "/data/caddy/evergreen/updates", Installed: slots.Identity{Path: "/usr/bin/caddy", Caddy: "v2.11.3"},
		Active: running, Running: &running,
		Slots: []slots.Slot{
			{ID: strings.Repeat("0a", 32), Caddy: "v2.11.5", State: slots.Bad, Sealed: true, Most: 3, Made: moment.Add(-48 * time.Hour), Why: "5xx rose from 0.1 % to 4 %"},
			{ID: running, Caddy: "v2.11.9", State: slots.Good, Sealed: true, Tries: 3, Most: 3, Made: moment.Add(-24 * time.Hour)},
			{ID: strings.Repeat("0c", 32), Caddy: "v2.11.10", State: slots.Candidate, Made: moment.Add(-time.Minute)},
		},
	}
	var out bytes.Buffer
	if err := writeSlots(&out, d, moment); err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration) string { return when(moment.Add(-d), moment) }
	want := []string{
		"SLOT CADDY STATE TRIES MADE",
		"installed v2.11.3 /usr/bin/caddy",
		"0a0a0a0a0a0a v2.11.5 bad 0 of 3 " + at(48*time.Hour) + " 5xx rose from 0.1 % to 4 %",
		"0b0b0b0b0b0b v2.11.9 good 3 of 3 " + at(24*time.Hour) + " runs; starts next",
		"0c0c0c0c0c0c v2.11.10 not whole 0 of 0 " + at(time.Minute),
		"They are in /data/caddy/evergreen/updates.",
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	// Without tries, or without an active slot, the installed executable starts.
	for _, change := range []func(){func() { d.Slots[1].Tries = 0 }, func() { d.Active = "" }} {
		change()
		out.Reset()
		if err := writeSlots(&out, d, moment); err != nil {
			t.Fatal(err)
		}
		line := strings.Split(out.String(), "\n")[1]
		if !strings.Contains(line, "starts next; /usr/bin/caddy") || strings.Count(out.String(), "starts next") != 1 {
			t.Errorf("%s", out.String())
		}
	}

	p := newPromotable(t, "v2.99.0")
	stdout, _, err := run("", "slots", "--json", "--data", p.data)
	if err != nil {
		t.Fatal(err)
	}
	var doc slotsDocument
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Active != p.slot.ID || len(doc.Slots) != 1 || doc.Installed.Path != p.installed || doc.Running != nil {
		t.Errorf("%s", stdout)
	}
	if stdout, _, err := run("", "slots", "--data", t.TempDir()); err != nil || !strings.Contains(stdout, "installed") {
		t.Errorf("where nothing was updated: %v %s", err, stdout)
	}
}

func TestTellVersion(t *testing.T) {
	p := newPromotable(t, "v2.99.0")
	var out bytes.Buffer
	tellVersion(&out, "", boot.Updates(t.TempDir()), p.dir.Path())
	want := "Caddy has updated itself to v2.99.0, which 'run' starts (" + p.dir.Path() + "). The installed executable is:\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	if err := p.dir.Mark(p.slot.ID, slots.Bad, "it panics"); err != nil {
		t.Fatal(err)
	}
	tellVersion(&out, p.dir.Path())
	if out.Len() > 0 {
		t.Errorf("of a bad slot: %s", out.String())
	}
}
