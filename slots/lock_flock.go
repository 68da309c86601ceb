//go:build linux || darwin || freebsd || openbsd || netbsd || dragonfly

package slots

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the lock that a file is, which the kernel gives back when the
// process ends or executes another program.
func tryLock(f *os.File) (had bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

func openToSync(name string) (*os.File, error) { return os.Open(name) }
