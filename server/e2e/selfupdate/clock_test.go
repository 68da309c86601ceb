//go:build e2e && linux

package selfupdate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/updater"
)

// A machine whose clock is wrong, made of one whose clock is right: the program
// and whatever it starts ask the kernel for the time of day, because they find
// no vDSO that would tell them, and the kernel asks us (seccomp's user
// notification), who add to it. Only the time of day is another: what is
// measured between two moments stays as it is.

// clockEnv has this test's executable be what starts a program with another clock.
const (
	clockEnv   = "EVERGREEN_TEST_CLOCK" // a duration to add
	clockChild = "EVERGREEN_TEST_CLOCK_CHILD"
)

// withClock starts Caddy with a clock that is wrong by that much; what is needed: root.
func withClock(by time.Duration) testbed.Launch {
	return testbed.Launch{
		Prepare: func(cmd *exec.Cmd) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			cmd.Args = append([]string{self, cmd.Path}, cmd.Args...)
			cmd.Path = self
			cmd.Env = append(cmd.Env, clockEnv+"="+by.String())
			return nil
		},
		PID:   func(command int) (int, error) { return child(command, 1) },
		Clock: by,
	}
}

// enterClock is for TestMain: it does not return in a process that is there to
// start another.
func enterClock() {
	by, err := time.ParseDuration(os.Getenv(clockEnv))
	switch {
	case err != nil:
		return
	case os.Getenv(clockChild) != "":
		err = beAsked(os.Args[1], os.Args[2:])
	default:
		err = setClock(by)
	}
	fmt.Fprintln(os.Stderr, "another clock:", err)
	os.Exit(1)
}

// Files of the process between us and the program.
const (
	tellFD = 3 // it writes which of its files is the kernel's questions
	goFD   = 4 // it reads that we have that
)

// setClock runs this executable again, which becomes the program, as its tracer,
// and ends with it.
func setClock(by time.Duration) error {
	runtime.LockOSThread() // one thread is the tracer
	tellR, tellW, err := os.Pipe()
	if err != nil {
		return err
	}
	goR, goW, err := os.Pipe()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	pid, err := syscall.ForkExec(self, os.Args, &syscall.ProcAttr{
		Env:   append(os.Environ(), clockChild+"=yes"),
		Files: []uintptr{0, 1, 2, tellW.Fd(), goR.Fd()},
		Sys:   &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return err
	}
	if err := errors.Join(tellW.Close(), goR.Close()); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		if err := answerClock(pid, by, tellR, goW); err != nil {
			failed <- err
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}()
	status, err := trace(pid)
	if err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
	}
	if status.Signaled() {
		return fmt.Errorf("the program ended by %s", status.Signal())
	}
	os.Exit(status.ExitStatus())
	return nil
}

// trace sees to it that no program that the process becomes, or starts, has a
// vDSO, until all have ended.
func trace(first int) (ended unix.WaitStatus, err error) {
	known := map[int]bool{}
	for {
		var s unix.WaitStatus
		pid, err := unix.Wait4(-1, &s, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return ended, nil
		case err != nil:
			return ended, err
		case !s.Stopped():
			if pid == first {
				ended = s
			}
			delete(known, pid)
			continue
		}
		deliver := 0
		switch {
		case !known[pid]: // it has begun, and is stopped for us
			known[pid] = true
			if pid == first {
				err = unix.PtraceSetOptions(pid, unix.PTRACE_O_EXITKILL|unix.PTRACE_O_TRACEEXEC|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACEFORK|unix.PTRACE_O_TRACEVFORK)
				if err == nil {
					err = hideVDSO(pid)
				}
			}
		case s.StopSignal() == unix.SIGTRAP && s.TrapCause() == unix.PTRACE_EVENT_EXEC:
			err = hideVDSO(pid)
		case s.StopSignal() == unix.SIGTRAP:
		default:
			deliver = int(s.StopSignal())
		}
		if err != nil {
			return ended, fmt.Errorf("tracing process %d: %w", pid, err)
		}
		if err := unix.PtraceCont(pid, deliver); err != nil && !errors.Is(err, unix.ESRCH) {
			return ended, fmt.Errorf("going on with process %d: %w", pid, err)
		}
	}
}

// Kinds of entries of the auxiliary vector (getauxval(3)).
const (
	atNull        = 0
	atIgnore      = 1
	atSysinfoEHDR = 33 // where the vDSO is
)

// hideVDSO changes the auxiliary vector of a process that has just become a program.
func hideVDSO(pid int) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return err
	}
	// What follows the name in parentheses begins with field 3; startstack is field 28.
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var stack int64
	if _, err := fmt.Sscan(f[28-3], &stack); err != nil {
		return err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	words := io.NewSectionReader(mem, stack, 8<<20)
	next := func() (uint64, error) {
		var b [8]byte
		_, err := io.ReadFull(words, b[:])
		return binary.NativeEndian.Uint64(b[:]), err
	}
	argc, err := next()
	if err != nil {
		return err
	}
	if _, err := words.Seek(int64(argc)*8+8, io.SeekCurrent); err != nil {
		return err
	}
	for { // the environment
		if w, err := next(); err != nil {
			return err
		} else if w == 0 {
			break
		}
	}
	for {
		kind, err := next()
		if err != nil {
			return err
		}
		if _, err := next(); err != nil {
			return err
		}
		at, err := words.Seek(0, io.SeekCurrent)
		switch {
		case err != nil:
			return err
		case kind == atNull:
			return nil
		case kind == atSysinfoEHDR:
			var b [8]byte
			binary.NativeEndian.PutUint64(b[:], atIgnore)
			_, err := mem.WriteAt(b[:], stack+at-16)
			return err
		}
	}
}

// beAsked has the kernel ask about this thread's time of day, and becomes the program.
func beAsked(path string, args []string) error {
	runtime.LockOSThread()
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, clockEnv) })
	const nr, arg0 = 0, 16 // offsets in struct seccomp_data
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: nr},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLOCK_GETTIME, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: arg0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.CLOCK_REALTIME, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// From here on nothing of Go that might look at the clock.
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w (it needs root)", errno)
	}
	b := [1]byte{byte(fd)}
	unix.RawSyscall(unix.SYS_WRITE, tellFD, uintptr(unsafe.Pointer(&b)), 1)
	unix.RawSyscall(unix.SYS_READ, goFD, uintptr(unsafe.Pointer(&b)), 1)
	unix.RawSyscall(unix.SYS_CLOSE, tellFD, 0, 0)
	unix.RawSyscall(unix.SYS_CLOSE, goFD, 0, 0)
	return unix.Exec(path, args, env)
}

// answerClock answers the kernel's questions as long as there are any.
func answerClock(pid int, by time.Duration, tell, goOn *os.File) error {
	var b [1]byte
	if _, err := io.ReadFull(tell, b[:]); err != nil {
		return err
	}
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	questions, err := unix.PidfdGetfd(process, int(b[0]), 0)
	if err != nil {
		return fmt.Errorf("taking the kernel's questions: %w", err)
	}
	if _, err := goOn.Write(b[:]); err != nil {
		return err
	}
	for {
		// struct seccomp_notif, seccomp_notif_resp
		var q struct {
			ID         uint64
			PID, Flags uint32
			NR         int32
			Arch       uint32
			IP         uint64
			Args       [6]uint64
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(questions), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&q))); errno == unix.EINTR || errno == unix.ENOENT {
			continue // who asked has ended
		} else if errno != 0 {
			return fmt.Errorf("reading the kernel's questions: %w", errno)
		}
		a := struct {
			ID    uint64
			Value int64
			Error int32
			Flags uint32
		}{ID: q.ID}
		if err := writeTime(int(q.PID), int64(q.Args[1]), time.Now().Add(by)); err != nil {
			a.Error = -int32(unix.EFAULT)
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(questions), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&a))); errno != 0 && errno != unix.ENOENT && errno != unix.EINTR {
			return fmt.Errorf("answering the kernel: %w", errno)
		}
	}
}

func writeTime(pid int, at int64, now time.Time) error {
	var b [16]byte // struct timespec
	binary.NativeEndian.PutUint64(b[:], uint64(now.Unix()))
	binary.NativeEndian.PutUint64(b[8:], uint64(now.Nanosecond()))
	to := unix.RemoteIovec{Base: uintptr(at), Len: len(b)}
	_, err := unix.ProcessVMWritev(pid, []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}, []unix.RemoteIovec{to}, 0)
	return err
}

// TestE2EOtherClock is that the clock of a program is another, and that of those that it starts.
func TestE2EOtherClock(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{365 * 24 * time.Hour, -365 * 24 * time.Hour} {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "date +%s; date +%s")
		if err := withClock(by).Prepare(cmd); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		lines := strings.Fields(string(out))
		if len(lines) != 2 {
			t.Fatalf("it printed %q", out)
		}
		for _, line := range lines {
			var at int64
			if _, err := fmt.Sscan(line, &at); err != nil {
				t.Fatal(err)
			}
			if off := time.Until(time.Unix(at, 0)) - by; off.Abs() > time.Hour {
				t.Errorf("with a clock wrong by %s it is %s", by, time.Unix(at, 0).UTC())
			}
		}
	}
}

// TestE2EClocks has Caddys whose clock is a year off. One that is ahead takes all
// metadata for outdated, installs nothing, and says to look at the clock; when
// the clock is set right, it updates itself. One that is behind updates itself,
// and what it installed starts with any clock.
func TestE2EClocks(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	s := theUpdates(t)
	before := s.before(t)
	s.after(t)
	start := func(t *testing.T, l testbed.Launch) (*testbed.Caddy, *testbed.Load) {
		c := loadedWith(t, l, before.copied(t), gallerySite("10s"))
		cfg := galleryLoads
		cfg.Clock = l.Clock
		return c, send(t, c, cfg)
	}
	// healthy waits until it was updated, whatever it takes its own times for.
	healthy := func(t *testing.T, c *testbed.Caddy) {
		t.Helper()
		eventually(t, "waiting for the update to be good", func() error {
			st, err := status(t.Context(), c)
			if err == nil && (st.Last == nil || st.Last.State != updater.Healthy) {
				err = fmt.Errorf("it is %s: %+v", st.State, st.Last)
			}
			return err
		})
		if slot, err := runs(c); err != nil || slot == "" {
			t.Errorf("slot %q runs (%v)", slot, err)
		}
	}
	again := func(t *testing.T, c *testbed.Caddy, l testbed.Launch) {
		t.Helper()
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		if err := c.StartAs(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("ahead", func(t *testing.T) {
		t.Parallel()
		ahead := withClock(year)
		c, load := start(t, ahead)
		began := time.Now().Add(year)
		do(t, c, "apply")
		o := ended(t, c, began)
		if o.State != updater.Failed || o.Cause != updater.CauseSignature || !strings.Contains(o.Why, "check this machine's clock") {
			t.Errorf("it ended as %s of %q: %s", o.State, o.Cause, o.Why)
		}
		logged(t, c, o)
		lostNothing(t, load.Stop())
		again(t, c, testbed.Launch{})
		do(t, c, "apply")
		healthy(t, c)
	})
	t.Run("behind", func(t *testing.T) {
		t.Parallel()
		c, load := start(t, withClock(-year))
		do(t, c, "apply")
		healthy(t, c)
		lostNothing(t, load.Stop())
		slot, err := runs(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []testbed.Launch{{}, withClock(year)} {
			again(t, c, l)
			if now, err := runs(c); err != nil || now != slot {
				t.Errorf("with a clock %s off %q starts instead of %q (%v)", l.Clock, now, slot, err)
			}
		}
	})
}
