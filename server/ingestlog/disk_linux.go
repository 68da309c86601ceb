package ingestlog

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// datasync flushes the content and the length of a file, but not its times.
func datasync(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var syncErr error
	err = c.Control(func(fd uintptr) {
		for {
			if syncErr = syscall.Fdatasync(int(fd)); !errors.Is(syncErr, syscall.EINTR) {
				return
			}
		}
	})
	return errors.Join(err, syncErr)
}

// dropCache makes the kernel forget what it holds of a file in memory, so that
// the next read is one of the disk.
func dropCache(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var adviseErr error
	err = c.Control(func(fd uintptr) { adviseErr = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED) })
	return errors.Join(err, adviseErr)
}
