//go:build !linux

package evergreen

import (
	"fmt"
	"os"
)

// folderUse tells why an existing folder can't be written to, as far as its mode
// says. Whether something can be executed from there is found out when it is.
func folderUse(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("Caddy's data directory can't be looked at: %w", err)
	}
	if info.Mode().Perm()&0o222 == 0 {
		return fmt.Errorf("Caddy's data directory can't be written to (%s)", dir)
	}
	return nil
}
