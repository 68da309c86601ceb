package confine

import "golang.org/x/sys/unix"

func setLimit(resource int, limit uint64) error {
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit})
}

// limit applies what this system has.
func limit(b Box) ([]string, error) {
	return []string{"writes outside of its folder (macOS has no way that needs no profile of the program)"}, limitResources(b)
}
