package evergreen

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// folderUse tells why an existing folder can't be written to or executed from.
func folderUse(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("Caddy's data directory can't be written to (%s: %w)", dir, err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("Caddy's data directory can't be looked at (%s: %w)", dir, err)
	}
	switch {
	case fs.Flags&unix.ST_RDONLY != 0:
		return fmt.Errorf("Caddy's data directory is on a file system that is read-only (%s)", dir)
	case fs.Flags&unix.ST_NOEXEC != 0:
		return fmt.Errorf("Caddy's data directory is on a file system that nothing can be executed from (%s is mounted noexec)", dir)
	}
	return nil
}
