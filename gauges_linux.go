package evergreen

import (
	"os"
	"syscall"
)

// descriptors are how many file descriptors the process has open, and may have.
func descriptors() (open, limit uint64, ok bool) {
	const dir = "/proc/self/fd"
	info, err := os.Stat(dir)
	if err != nil {
		return 0, 0, false
	}
	open = uint64(max(info.Size(), 0)) // since Linux 6.2; without opening it
	if open == 0 {
		d, err := os.Open(dir)
		if err != nil {
			return 0, 0, false
		}
		defer d.Close()
		for {
			names, err := d.Readdirnames(1024)
			open += uint64(len(names))
			if err != nil {
				break
			}
		}
		open-- // d
	}
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return open, 0, true
	}
	return open, r.Cur, true
}
