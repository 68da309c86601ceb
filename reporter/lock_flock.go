//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package reporter

import (
	"errors"
	"os"
	"syscall"
)

// lockFile locks name for as long as this process lives or until unlock. It
// answers nil if another one has it. The lock belongs to the open file, so that
// two lockFiles of one process exclude each other, too.
func lockFile(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, &os.PathError{Op: "lock", Path: name, Err: err}
	}
	return func() { _ = f.Close() }, nil
}
