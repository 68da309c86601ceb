package slots

import (
	"errors"

	"golang.org/x/sys/unix"
)

// kept are the attributes that a file loses when it is replaced.
var kept = []string{"security.capability", "security.selinux", "system.posix_acl_access"}

func keepCapabilities(from, to string) error {
	for _, name := range kept {
		value := make([]byte, 4<<10)
		n, err := unix.Getxattr(from, name, value)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
			continue
		}
		if err != nil {
			return err
		}
		err = unix.Setxattr(to, name, value[:n], 0)
		if err != nil && name != "security.selinux" { // the policy decides for a new file, too
			return err
		}
	}
	return nil
}
