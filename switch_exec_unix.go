//go:build unix

package evergreen

import "syscall"

const canExec = true

// execve replaces this process's image. It returns only if that failed.
func execve(path string, args, env []string) error { return syscall.Exec(path, args, env) }
