//go:build unix

package slots

import (
	"io/fs"
	"os"
	"syscall"
)

func keepOwner(was fs.FileInfo, name string) error {
	owner, ok := was.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	now, err := os.Stat(name)
	if err != nil {
		return err
	}
	if own, ok := now.Sys().(*syscall.Stat_t); ok && own.Uid == owner.Uid && own.Gid == owner.Gid {
		return nil
	}
	return os.Chown(name, int(owner.Uid), int(owner.Gid))
}
