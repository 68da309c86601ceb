//go:build unix

package evergreen

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// inheritable returns another descriptor of a file, which the helper and the
// next executable inherit under the same number.
func inheritable(f interface {
	SyscallConn() (syscall.RawConn, error)
}) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var dupErr error
	err = raw.Control(func(n uintptr) { fd, dupErr = unix.FcntlInt(n, unix.F_DUPFD, 3) })
	return fd, errors.Join(err, dupErr)
}

// closeInherited closes a listening socket that an executable before this one
// left open.
func closeInherited(fd int) {
	if fd > 2 && listens(fd) {
		_ = unix.Close(fd)
	}
}

func listens(fd int) bool {
	accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && accepts != 0
}

func closeDescriptor(fd int) { _ = os.NewFile(uintptr(fd), "held").Close() }
