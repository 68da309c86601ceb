package slots

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes the lock that a file is, which Windows gives back when the
// process ends. It is on a byte beyond the content, which stays readable.
func tryLock(f *os.File) (had bool, err error) {
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0,
		&windows.Overlapped{OffsetHigh: 1})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// openToSync opens a file for writing, which syncing asks for here. The names
// in a folder are the file system's own affair.
func openToSync(name string) (*os.File, error) {
	if i, err := os.Stat(name); err != nil || i.IsDir() {
		return nil, err
	}
	return os.OpenFile(name, os.O_RDWR, 0)
}
