//go:build unix

package bridge

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// become replaces this process's image. keep, if not negative, stays open
// across it. It returns only if that failed, and then nothing has changed.
func become(c Command, keep int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := keepCapabilities(); err != nil {
		return fmt.Errorf("keeping the capabilities of this process: %w", err)
	}
	// No process forked by another goroutine may inherit keep: the helper waits
	// for the last copy to close.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	if keep >= 0 {
		if _, err := unix.FcntlInt(uintptr(keep), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("keeping the connection to the helper: %w", err)
		}
		defer syscall.CloseOnExec(keep)
	}
	_, err := retryBusy(func() (struct{}, error) { return struct{}{}, syscall.Exec(c.Path, c.Args, c.Env) })
	return fmt.Errorf("%s: %w", c.Path, err)
}

// retryBusy: an executable just written is busy for as long as a process
// forked meanwhile has not yet closed what it inherited.
func retryBusy[T any](do func() (T, error)) (v T, err error) {
	for range 10 {
		if v, err = do(); !errors.Is(err, unix.ETXTBSY) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return v, err
}
