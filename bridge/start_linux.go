package bridge

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is the helper as the old process sees it.
type child struct {
	*conn
	pid    int
	exited chan struct{} // closed once it is reaped, with status set
	status unix.WaitStatus
	isUp   bool
}

// start starts the helper with its end of a socket pair.
func start(c Command, given inheritance) (*child, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket pair: %w", err)
	}
	mine := os.NewFile(uintptr(pair[0]), "bridge")
	defer unix.Close(pair[1])
	stdin, err := inMemory(c.Stdin)
	if err != nil {
		mine.Close()
		return nil, err
	}
	defer stdin.Close()
	// What systemd passed, and what else has no close-on-exec, the helper inherits
	// under the same number, so that a configuration that names the number means
	// the same in it. Its end of the pair takes the first number that is free of that.
	files := []uintptr{stdin.Fd(), 1, 2}
	for {
		flags, err := unix.FcntlInt(uintptr(len(files)), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			break
		}
		files = append(files, uintptr(len(files)))
	}
	given.FD = len(files)
	files = append(files, uintptr(pair[1]))
	v, err := given.env()
	if err != nil {
		mine.Close()
		return nil, err
	}
	attr := &syscall.ProcAttr{
		Env:   append(plainTCP(c.Env), v),
		Files: files,
		Sys:   &syscall.SysProcAttr{AmbientCaps: missingAmbient()},
	}
	pid, err := retryBusy(func() (int, error) { return syscall.ForkExec(c.Path, c.Args, attr) })
	if err != nil {
		mine.Close()
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	h := &child{conn: newConn(mine, given.Patience), pid: pid, exited: make(chan struct{})}
	go func() {
		h.status = reap(pid)
		close(h.exited)
	}()
	return h, nil
}

// inMemory returns a file that holds b and needs nobody to feed it.
func inMemory(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making the helper's standard input: %w", err)
	}
	f := os.NewFile(uintptr(fd), "stdin")
	if _, err = f.Write(b); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("making the helper's standard input: %w", err)
	}
	return f, nil
}

// plainTCP turns off Multipath TCP for the helper's listeners: it lives for
// seconds, and steers the more exactly with plain ones (see steer).
func plainTCP(env []string) []string {
	const key, off = "GODEBUG=", "multipathtcp=0"
	out := make([]string, 0, len(env)+2)
	debug := key + off
	for _, kv := range env {
		switch {
		case strings.HasPrefix(kv, key) && kv != key:
			debug = kv + "," + off // the last one counts
		case strings.HasPrefix(kv, key), strings.HasPrefix(kv, Variable+"="):
		default:
			out = append(out, kv)
		}
	}
	return append(out, debug)
}

// ended waits until the helper has exited and was reaped.
func (h *child) ended(ctx context.Context, within time.Duration) bool {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-h.exited:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// kill ends a helper that does not leave by itself.
func (h *child) kill() {
	select {
	case <-h.exited: // its number may be another's by now
	default:
		_ = unix.Kill(h.pid, unix.SIGKILL)
		h.ended(context.Background(), leaveWithin)
	}
	h.f.Close()
}

// hungUp looks at our end of the socket pair, whose number is fd, at once: the
// reader may not have got round to it.
func hungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(p, 0)
	return err == nil && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// obituary adds how the helper ended to an error about it, if it has.
func (h *child) obituary(err error) error {
	select {
	case <-h.exited:
	default: // it may just have closed its end
		closed := h.gone()
		_ = h.held(func(fd int) { closed = closed || hungUp(fd) })
		if !closed || !h.ended(context.Background(), time.Second) {
			return err
		}
	}
	switch {
	case h.status.Signaled():
		return fmt.Errorf("%w (it was ended by signal %d, %v)", err, h.status.Signal(), h.status.Signal())
	case h.status.Exited():
		return fmt.Errorf("%w (it exited with status %d)", err, h.status.ExitStatus())
	}
	return err
}

// held calls do with the number of our end of the socket pair.
func (h *child) held(do func(fd int)) error {
	raw, err := h.f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { do(int(fd)) })
}
