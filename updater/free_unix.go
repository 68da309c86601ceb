//go:build linux || darwin || freebsd

package updater

import "golang.org/x/sys/unix"

// freeSpace is how many bytes this user can still write to a folder's disk.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	// The types differ between systems; FreeBSD counts below zero what only root has.
	return max(0, int64(st.Bavail)) * int64(st.Bsize), nil
}
