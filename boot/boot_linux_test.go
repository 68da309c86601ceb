package boot_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/caddy-evergreen/evergreen/boot"
	"github.com/caddy-evergreen/evergreen/slots"
	"github.com/caddy-evergreen/evergreen/wire"
)

var elsewhere = cmpopts.IgnoreFields(said{}, "PID", "Ambient", "Effective")

func TestInstalled(t *testing.T) {
	w := newWorld(t)
	want := said{Installed: w.installed, Args: []string{"run"}}
	if d := cmp.Diff(want, w.run(), elsewhere); d != "" {
		t.Error(d)
	}
	if _, err := os.Stat(w.data()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a start makes a folder: %v", err)
	}
}

func TestSlot(t *testing.T) {
	w := newWorld(t)
	s := w.update(release{})
	args := []string{"run", "--config", "Caddyfile", "--envfile", ""}
	want := said{Slot: s.ID, Installed: w.installed, Args: args}
	if d := cmp.Diff(want, w.hear(w.command(w.installed, args)), elsewhere); d != "" {
		t.Error(d)
	}
	if n := w.tries(s.ID); n != boot.Tries-1 {
		t.Errorf("%d tries are left", n)
	}

	for _, args := range [][]string{{"version"}, {"validate", "run"}, {}} {
		if got := w.hear(w.command(w.installed, args)); got.Slot != "" {
			t.Errorf("%q is executed by a slot", args)
		}
	}
	for _, off := range []string{"off", "OFF", "none"} {
		if got := w.run(boot.Off + "=" + off); got.Slot != "" || got.Refused != "" {
			t.Errorf("with %s=%s: %+v", boot.Off, off, got)
		}
	}
	// A slot's executable that a person runs, whichever is active.
	other := w.update(release{})
	byHand := func() {
		t.Helper()
		for _, id := range []string{s.ID, other.ID} {
			want := said{Slot: id, Installed: w.installed, Args: []string{"run"}}
			if d := cmp.Diff(want, w.hear(w.command(w.dir.Executable(id), []string{"run"})), elsewhere); d != "" {
				t.Error(d)
			}
		}
	}
	byHand()
	if err := w.dir.Activate("", 0); err != nil {
		t.Fatal(err)
	}
	byHand()
	if got := w.run(); got.Slot != "" || got.Refused != "" {
		t.Errorf("without an active slot: %+v", got)
	}
}

// TestRefused has what must not run in the active slot: the installed
// executable runs, and says why.
func TestRefused(t *testing.T) {
	flip := func(t *testing.T, name string) {
		t.Helper()
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(name, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := func(w *world, s slots.Slot, name string) string {
		return filepath.Join(filepath.Dir(w.dir.Executable(s.ID)), name)
	}
	for _, c := range []struct {
		name    string
		release release
		change  func(t *testing.T, w *world, s slots.Slot)
		want    string
	}{
		{name: "an executable with one bit changed", change: func(t *testing.T, w *world, s slots.Slot) { flip(t, w.dir.Executable(s.ID)) }, want: "not the file that was signed"},
		{name: "a truncated executable", change: func(t *testing.T, w *world, s slots.Slot) {
			if err := os.Truncate(w.dir.Executable(s.ID), 1000); err != nil {
				t.Fatal(err)
			}
		}, want: "not the file that was signed"},
		{name: "changed metadata", change: func(t *testing.T, w *world, s slots.Slot) {
			name := file(w, s, "metadata/targets.json")
			w.write(name, bytes.Replace(w.read(name), []byte("v2.11.9"), []byte("v2.11.8"), 1))
		}, want: "not signed by enough trusted keys"},
		{name: "no metadata", change: func(t *testing.T, w *world, s slots.Slot) {
			if err := os.RemoveAll(file(w, s, "metadata")); err != nil {
				t.Fatal(err)
			}
		}, want: "no such file"},
		{name: "no executable", change: func(t *testing.T, w *world, s slots.Slot) {
			if err := os.Remove(w.dir.Executable(s.ID)); err != nil {
				t.Fatal(err)
			}
		}, want: "no such file"},
		{name: "another root of trust", change: func(t *testing.T, w *world, s slots.Slot) { flip(t, w.rootFile) }, want: "no root metadata of SHA-256"},
		{name: "a root of trust that is not there", change: func(t *testing.T, w *world, s slots.Slot) {
			if err := os.Remove(w.rootFile); err != nil {
				t.Fatal(err)
			}
		}, want: boot.Root},
		{name: "half a slot.json", change: func(t *testing.T, w *world, s slots.Slot) {
			name := file(w, s, "slot.json")
			w.write(name, w.read(name)[:40])
		}, want: "the slot can't be read"},
		{name: "a link to nowhere", change: func(t *testing.T, w *world, s slots.Slot) {
			link := filepath.Join(w.dir.Path(), "active")
			if err := errors.Join(os.Remove(link), os.Symlink("/bin/true", link)); err != nil {
				t.Fatal(err)
			}
		}, want: "not to a slot"},
		{name: "a bad slot", change: func(t *testing.T, w *world, s slots.Slot) {
			if err := w.dir.Mark(s.ID, slots.Bad, "it panicked"); err != nil {
				t.Fatal(err)
			}
		}, want: "the slot is bad: it panicked"},
		{name: "an older Caddy", release: release{caddy: "v2.11.2"}, want: "older than the installed Caddy v2.11.3"},
		{name: "an older Caddy that says it is newer", release: release{caddy: "v2.11.2", slot: func(s *slots.Slot) { s.Caddy = "v9.9.9" }}, want: "older than the installed"},
		{name: "another system", release: release{custom: func(c *wire.TargetCustom) { c.System.Arch = "pdp11" }}, want: "for another system"},
		{name: "no executable by its kind", release: release{custom: func(c *wire.TargetCustom) { c.Kind = wire.TargetDelta }}, want: "and no executable"},
		{name: "no version", release: release{custom: func(c *wire.TargetCustom) { c.Spec = nil }}, want: "does not say which Caddy"},
		{name: "another build of the same Caddy, installed since", release: release{caddy: "v2.11.3"}, change: func(t *testing.T, w *world, s slots.Slot) {
			w.installed = programs.other
		}, want: "another build of Caddy v2.11.3 was installed since"},
		{name: "another build with more modules, installed since", release: release{slot: func(s *slots.Slot) { s.Build.Modules = s.Build.Modules[1:] }}, change: func(t *testing.T, w *world, s slots.Slot) {
			w.installed = programs.other
		}, want: "with modules that the slot has not: github.com/caddyserver/caddy/v2"},
		{name: "a service's build with a plugin more, installed since", change: func(t *testing.T, w *world, s slots.Slot) {
			w.installed = programs.service
		}, want: "with modules that the slot has not: a.example/p"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.update(c.release)
			if c.change != nil {
				c.change(t, w, s)
			}
			got := w.run()
			if got.Slot != "" || !strings.Contains(got.Refused, c.want) {
				t.Errorf("%+v, without %q", got, c.want)
			}
			if now, err := w.dir.Get(s.ID); err == nil && now.Tries != boot.Tries {
				t.Errorf("it took a try: %d are left", now.Tries)
			}
		})
	}
}

// TestInstalledSince has an older build in place of the one that was updated: the
// slot is newer still.
func TestInstalledSince(t *testing.T) {
	for _, c := range []struct {
		name, program string
		release       release
	}{
		{"another build", programs.other, release{}},
		{"a service's build", programs.service, release{plugins: []wire.ModuleVersion{{Path: "a.example/p", Version: "v1.1.0"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			s := w.update(c.release)
			w.installed = c.program
			if got := w.run(); got.Slot != s.ID {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestEmbeddedRoot needs no configuration where a build service put the root's
// hash in.
func TestEmbeddedRoot(t *testing.T) {
	w := newWorld(t)
	w.installed = programs.service
	w.env = w.env[:1]
	s := w.update(release{})
	if got := w.run(); got.Slot != s.ID {
		t.Errorf("%+v", got)
	}
}

// TestLate decides with the configuration's root of trust, once.
func TestLate(t *testing.T) {
	w := newWorld(t)
	w.env = w.env[:1]
	s := w.update(release{})
	if got := w.run(); got.Slot != "" || got.Refused != "" {
		t.Errorf("before the configuration: %+v", got)
	}
	if got := w.run("LATE_ROOT="); got.Slot != "" || !strings.Contains(got.Late, boot.Root) || got.Refused != got.Late {
		t.Errorf("without a root: %+v", got)
	}
	if got := w.run("LATE_ROOT=" + w.rootFile); got.Slot != s.ID || got.Late != "" {
		t.Errorf("with a root: %+v", got)
	}
	if got := w.run("LATE_ROOT="+w.rootFile, boot.Off+"=off"); got.Slot != "" || got.Late != "" {
		t.Errorf("turned off: %+v", got)
	}
	if got := w.hear(w.command(w.installed, []string{"validate"}, "LATE_ROOT="+w.rootFile)); got.Slot != "" || got.Late != "" {
		t.Errorf("another command: %+v", got)
	}
	for _, args := range [][]string{{"run", "--config", "-"}, {"run", "-c", "-", "--resume"}, {"run", "--config=-"}} {
		if got := w.hear(w.command(w.installed, args, "LATE_ROOT="+w.rootFile)); got.Slot != "" || !strings.Contains(got.Late, "standard input") {
			t.Errorf("with the configuration from standard input: %+v", got)
		}
		if got := w.hear(w.command(w.installed, args, boot.Root+"="+w.rootFile)); got.Slot != s.ID {
			t.Errorf("with a root before that: %+v", got)
		}
		if err := w.dir.GiveBack(s.ID); err != nil {
			t.Fatal(err)
		}
	}
	// What was refused at the start is not tried again, and the reason stays.
	if err := w.dir.Mark(s.ID, slots.Bad, "it panicked"); err != nil {
		t.Fatal(err)
	}
	if got := w.run("LATE_ROOT="+w.rootFile, boot.Root+"="+w.rootFile); got.Slot != "" || got.Late == "" || got.Refused != got.Late {
		t.Errorf("a bad slot: %+v", got)
	}
}

// crash starts a slot that crashes.
func (w *world) crash(how string) {
	w.t.Helper()
	cmd := w.command(w.installed, []string{"run"}, how)
	out, err := cmd.Output()
	if err == nil || !strings.Contains(cmd.Stderr.(*bytes.Buffer).String(), "the slot crashes") {
		w.t.Fatalf("%v: %s %s", err, out, cmd.Stderr)
	}
}

// TestCrash has a slot that crashes when Caddy is to run, until its tries are used
// up.
func TestCrash(t *testing.T) {
	const how = "SLOT_DOES=crash in run"
	w := newWorld(t)
	s := w.update(release{})
	for range boot.Tries {
		w.crash(how)
	}
	got := w.run(how)
	if got.Slot != "" || !strings.Contains(got.Refused, "no tries left") || !strings.Contains(got.Refused, "caddy evergreen apply") {
		t.Errorf("%+v", got)
	}
	if err := w.dir.GiveBack(s.ID); err != nil {
		t.Fatal(err)
	}
	if got := w.run(); got.Slot != s.ID {
		t.Errorf("%+v", got)
	}
}

// TestCrashAtOnce has one that crashes whatever it is asked: the second start
// finds that out before it is too late.
func TestCrashAtOnce(t *testing.T) {
	const how = "SLOT_DOES=crash"
	w := newWorld(t)
	s := w.update(release{})
	w.crash(how)
	if got := w.run(how); got.Slot != "" || !strings.Contains(got.Refused, "'version' fails: exit status 2: panic: the slot crashes") {
		t.Errorf("%+v", got)
	}
	if n := w.tries(s.ID); n != 0 {
		t.Errorf("%d tries are left", n)
	}
	if got := w.run(); got.Slot != "" || !strings.Contains(got.Refused, "no tries left") {
		t.Errorf("%+v", got)
	}
}

// TestHang has a slot that never comes up: its process goes back to the installed
// executable.
func TestHang(t *testing.T) {
	for _, how := range []string{"hang", "spin"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.update(release{})
			want := said{Installed: w.installed, Args: []string{"run"}, Refused: "the executable of slot " + s.ID[:12] + " was not up within 200ms"}
			if d := cmp.Diff(want, w.run("SLOT_DOES="+how, boot.Within+"=200ms"), elsewhere); d != "" {
				t.Error(d)
			}
			// Whoever executed it otherwise says what to go back to, and what they
			// put in the environment is there again.
			env := boot.EnvGuarded(s.ID, w.installed, 200*time.Millisecond, w.installed, "")
			cmd := w.command(w.dir.Executable(s.ID), []string{"run", "-c", "x"}, "SLOT_DOES="+how, env, "EVERGREEN_INTERNAL_OTHER=1")
			want.Args, want.Internal = []string{"run", "-c", "x"}, []string{"EVERGREEN_INTERNAL_OTHER=1"}
			if d := cmp.Diff(want, w.hear(cmd), elsewhere); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestEnv: what is started by someone else is what they say, and executes nothing.
func TestEnv(t *testing.T) {
	w := newWorld(t)
	s := w.update(release{})
	for _, slot := range []string{"", s.ID} {
		want := said{Slot: slot, Installed: "/usr/bin/caddy", Args: []string{"run"}}
		if d := cmp.Diff(want, w.run(boot.Env(slot, "/usr/bin/caddy")), elsewhere); d != "" {
			t.Error(d)
		}
	}
	// A value that is none, such as another version's, executes nothing either.
	if got := w.run("EVERGREEN_INTERNAL_BOOT=2 what"); got.Slot != "" || got.Installed != w.installed || got.Internal != nil {
		t.Errorf("%+v", got)
	}
	if n := w.tries(s.ID); n != boot.Tries {
		t.Errorf("%d tries are left", n)
	}
}

// TestGoodStart gives the tries back to a slot that stays up, and then leaves it
// alone.
func TestGoodStart(t *testing.T) {
	w := newWorld(t)
	s := w.update(release{})
	if _, err := w.dir.TakeTry(s.ID); err != nil {
		t.Fatal(err)
	}
	cmd := w.command(w.installed, []string{"run"}, "THEN=up", boot.Within+"=300ms")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if got := w.parse(line, cmd); got.Slot != s.ID {
		t.Fatalf("%+v", got)
	}
	for w.tries(s.ID) != boot.Tries {
		if t.Context().Err() != nil {
			t.Fatal("the tries are not given back")
		}
		time.Sleep(10 * time.Millisecond)
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid))
	if err != nil || exe != w.dir.Executable(s.ID) {
		t.Errorf("it runs %s, %v", exe, err)
	}
}

// TestRestarts: what ends in order within seconds has failed in nothing.
func TestRestarts(t *testing.T) {
	w := newWorld(t)
	s := w.update(release{})
	for range boot.Tries + 1 {
		if got := w.run("THEN=up and down"); got.Slot != s.ID {
			t.Fatalf("%+v", got)
		}
	}
	if n := w.tries(s.ID); n != boot.Tries {
		t.Errorf("%d tries are left", n)
	}
}

// TestTogether starts two at once: each takes a try.
func TestTogether(t *testing.T) {
	w := newWorld(t)
	s := w.update(release{})
	var wg sync.WaitGroup
	for range 2 {
		cmd := w.command(w.installed, []string{"run"})
		wg.Go(func() {
			if out, err := cmd.Output(); err != nil || !bytes.Contains(out, []byte(s.ID)) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	if n := w.tries(s.ID); n != boot.Tries-2 {
		t.Errorf("%d tries are left", n)
	}
}

// TestMounts has a data directory that can't be executed from, or not written.
func TestMounts(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for how, want := range map[string]string{"noexec": "mounted noexec", "ro": "can its folder be written"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			s := w.update(release{})
			cmd := w.command(self, []string{w.home, w.installed}, mountVariable+"="+how)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
				UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
			}
			if got := w.hear(cmd); got.Slot != "" || !strings.Contains(got.Refused, want) {
				t.Errorf("%+v, without %q", got, want)
			}
			if n := w.tries(s.ID); n != boot.Tries {
				t.Errorf("%d tries are left", n)
			}
		})
	}
}

// TestCapabilities runs an executable whose file has the capability to bind low
// ports, as a user who has none: the slot has it too.
func TestCapabilities(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give a file capabilities: nothing is tested")
		return
	}
	const nobody, bindService = 65534, 1 << unix.CAP_NET_BIND_SERVICE
	w := newWorld(t)
	privileged := filepath.Join(w.home, "caddy")
	if out, err := exec.Command("cp", w.installed, privileged).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// Version 2 of the attribute: effective; permitted, inheritable, twice.
	var attribute []byte
	for _, v := range []uint32{0x02000001, bindService, 0, 0, 0} {
		attribute = binary.LittleEndian.AppendUint32(attribute, v)
	}
	if err := unix.Setxattr(privileged, "security.capability", attribute, 0); err != nil {
		t.Fatal(err)
	}
	w.installed = privileged
	run := func() said {
		t.Helper()
		cmd := w.command(privileged, []string{"run"})
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return w.hear(cmd)
	}
	if got := run(); got.Effective != "0000000000000400" || got.Ambient != "0000000000000000" {
		t.Fatalf("the installed executable: %+v", got)
	}
	chown := func() {
		t.Helper()
		if err := filepath.WalkDir(w.home, func(path string, _ os.DirEntry, err error) error {
			if err != nil || path == privileged { // changing the owner takes a file's capabilities
				return err
			}
			return os.Lchown(path, nobody, nobody)
		}); err != nil {
			t.Fatal(err)
		}
	}
	s := w.update(release{})
	chown()
	if got := run(); got.Slot != s.ID || got.Effective != "0000000000000400" {
		t.Errorf("the slot: %+v", got)
	}
	// What can't be executed leaves nothing that children would inherit.
	w.update(release{content: []byte("no executable of any system")})
	chown()
	if got := run(); got.Slot != "" || got.Ambient != "0000000000000000" || got.Effective != "0000000000000400" || !strings.Contains(got.Refused, "exec format error") {
		t.Errorf("no executable: %+v", got)
	}
}
