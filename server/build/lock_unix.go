//go:build unix

package build

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A folderLock is this process's alone until it is closed, or the process ends.
type folderLock struct{ *os.File }

func lockFolder(dir string) (*folderLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return &folderLock{f}, nil
}
