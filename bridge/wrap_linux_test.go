package bridge

import (
	"fmt"
	"os"
	"syscall"
)

const wrapVariable = "BRIDGE_TEST_WRAP"

// wrap hides /proc, in the first process of namespaces of its own, and becomes
// the program.
func wrap() error {
	if os.Getenv(wrapVariable) == "" {
		return nil
	}
	os.Unsetenv(wrapVariable)
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("having mounts of its own: %w", err)
	}
	if err := syscall.Mount("none", "/proc", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("hiding /proc: %w", err)
	}
	return syscall.Exec(os.Args[0], os.Args, os.Environ())
}
