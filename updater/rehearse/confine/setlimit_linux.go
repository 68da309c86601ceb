package confine

import "golang.org/x/sys/unix"

const rlimitProcesses = unix.RLIMIT_NPROC

func setLimit(resource int, limit uint64) error {
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit})
}
