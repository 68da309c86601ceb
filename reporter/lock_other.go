//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || aix || solaris || windows)

package reporter

import (
	"errors"
	"os"
)

// lockFile has no way to lock here; the reporter then works in memory only.
func lockFile(name string) (unlock func(), err error) {
	return nil, &os.PathError{Op: "lock", Path: name, Err: errors.ErrUnsupported}
}
