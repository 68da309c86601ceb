//go:build !(linux || darwin || freebsd || openbsd || netbsd || dragonfly || windows)

package slots

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

func tryLock(*os.File) (bool, error) {
	return false, fmt.Errorf("%s has no lock that ends with its process, so Caddy does not update itself here: %w", runtime.GOOS, errors.ErrUnsupported)
}

func openToSync(name string) (*os.File, error) { return os.Open(name) }
