package inventory

import "syscall"

func jailed() bool {
	n, err := syscall.SysctlUint32("security.jail.jailed")
	return err == nil && n == 1
}
