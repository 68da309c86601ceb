//go:build unix && !linux

package bridge

import "golang.org/x/sys/unix"

func closeOnExec(fd int) { unix.CloseOnExec(fd) }

// Capabilities are Linux's: who may bind a low port here still may after execve.
func keepCapabilities() error { return nil }
