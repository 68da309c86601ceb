//go:build unix

package early

import "syscall"

func execute(path string, args, env []string) error { return syscall.Exec(path, args, env) }
