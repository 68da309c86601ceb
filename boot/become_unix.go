//go:build unix

package boot

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// executable tells why the kernel would not execute a file. It knows of file
// systems that are mounted noexec.
func executable(path string) error { return unix.Access(path, unix.X_OK) }

// become executes a file in this process, with its capabilities. It returns only
// if that fails, and then all is as it was.
func become(path string, args, env []string) error {
	// Capabilities are a thread's, and the thread that executes hands its own on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	undo, err := KeepCapabilities()
	if err != nil {
		return fmt.Errorf("keeping the capabilities of this process: %w", err)
	}
	err = syscall.Exec(path, args, env)
	return errors.Join(err, undo())
}
