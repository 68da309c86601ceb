//go:build !(linux || darwin || freebsd || openbsd || netbsd || dragonfly || windows)

package filelock

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

func lock(*os.File) error {
	return fmt.Errorf("%s has no lock that ends with its process: %w", runtime.GOOS, errors.ErrUnsupported)
}
