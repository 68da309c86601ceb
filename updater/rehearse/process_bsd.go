//go:build unix && !linux

package rehearse

import "syscall"

func ofOwnGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
