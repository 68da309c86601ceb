//go:build !linux

package ingestlog

import (
	"errors"
	"os"
)

func datasync(f *os.File) error { return f.Sync() }

// dropCache would make the system forget what it holds of a file in memory.
func dropCache(*os.File) error { return errors.ErrUnsupported }
