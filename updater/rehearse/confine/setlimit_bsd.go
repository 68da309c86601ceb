//go:build freebsd

package confine

import "golang.org/x/sys/unix"

func setLimit(resource int, limit uint64) error {
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: int64(limit), Max: int64(limit)})
}

// limit applies what this system has.
func limit(b Box) ([]string, error) {
	return []string{"writes outside of its folder (Capsicum needs the program's help)"}, limitResources(b)
}
