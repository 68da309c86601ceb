package updater

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/caddy-evergreen/evergreen/wire"
)

// reserve is what stays free on the disk besides an update: for the metadata, a
// rehearsal, and whoever else writes there.
const reserve = 64 << 20 // bytes

// spaceFor is how many bytes installing a target takes: the executable, and
// beside it the largest file that it may be made of.
func spaceFor(t wire.Target) int64 {
	var largest int64
	for _, f := range t.Files {
		largest = max(largest, min(f.Size, t.Size))
	}
	return t.Size + largest + reserve
}

// fits tells whether an executable can be kept in, and executed from, a folder
// that is there: by doing it, with a few bytes.
func fits(dir string, need int64, free func(string) (int64, error)) error {
	have, err := free(dir)
	switch {
	case errors.Is(err, errors.ErrUnsupported): // then writing tells
	case err != nil:
		return Passing(CauseStorage, fmt.Errorf("how much is free in %s: %w", dir, err))
	case have < need:
		return Passing(CauseSpace, fmt.Errorf("%s has %d MiB free, and an update takes %d: free some space, or set Caddy's data directory (XDG_DATA_HOME) to a larger disk", dir, have>>20, need>>20))
	}
	name := filepath.Join(dir, ".executable")
	defer os.Remove(name)
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Passing(CauseStorage, fmt.Errorf("%s can't be written: %w", dir, err))
	}
	// What no system takes for a program: it is refused for its content only where
	// it would otherwise be executed.
	if err := os.WriteFile(name, []byte("\x00evergreen\x00"), 0o700); err != nil {
		return Passing(storage(err), fmt.Errorf("%s can't be written: %w", dir, err))
	}
	if err := os.Chmod(name, 0o700); err != nil { // whatever the umask is
		return Passing(CauseStorage, fmt.Errorf("%s can't be made executable: %w", name, err))
	}
	err = exec.Command(name).Run()
	if errors.Is(err, fs.ErrPermission) {
		return Passing(CauseExecute, fmt.Errorf("nothing in %s can be executed (%w): mount it without noexec, or set Caddy's data directory (XDG_DATA_HOME) to a place that is", dir, err))
	}
	return nil
}

// storage is the class of an error of writing.
func storage(err error) Cause {
	if errors.Is(err, syscall.ENOSPC) {
		return CauseSpace
	}
	return CauseStorage
}
