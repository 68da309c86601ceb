//go:build !(linux || darwin || freebsd || openbsd || netbsd || dragonfly)

package artifact

import (
	"errors"
	"fmt"
	"os"
)

// lockFile makes a file that one process has at a time. After a crash it has
// to be removed by hand.
func lockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%w, or crashed: stop it, or remove %s: %w", ErrLocked, name, err)
	}
	return f, err
}

func unlock(f *os.File) error { return errors.Join(f.Close(), os.Remove(f.Name())) }
