//go:build !unix

package evergreen

import (
	"errors"
	"syscall"
)

func inheritable(interface {
	SyscallConn() (syscall.RawConn, error)
}) (int, error) {
	return -1, errors.New("no process here inherits sockets")
}

func closeInherited(int) {}

func closeDescriptor(int) {}
