//go:build linux || darwin || freebsd || openbsd || netbsd || dragonfly

package artifact

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile takes the lock that one process has at a time. The kernel gives it
// back when that process ends in whatever way.
func lockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: stop it first: %w", ErrLocked, err), f.Close())
	}
	return f, nil
}

func unlock(f *os.File) error { return f.Close() }
