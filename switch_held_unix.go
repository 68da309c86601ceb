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

// closeInherited closes a descriptor that an executable before this one left
// open, if it is a socket: nothing else is left open.
func closeInherited(fd int) {
	if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil {
		_ = unix.Close(fd)
	}
}

func closeDescriptor(fd int) { _ = os.NewFile(uintptr(fd), "held").Close() }
