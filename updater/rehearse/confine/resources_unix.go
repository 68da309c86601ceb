//go:build linux || darwin || freebsd

package confine

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// limitResources applies the Box's resource limits. RLIMIT_NPROC is not among
// them: it counts what the user has in other containers as well.
func limitResources(b Box) error {
	limits := []struct {
		name     string
		resource int
		max      uint64
	}{
		{"size of files", unix.RLIMIT_FSIZE, b.MaxFile},
		{"memory", unix.RLIMIT_DATA, b.MaxData},
		{"processor time", unix.RLIMIT_CPU, b.MaxCPU},
	}
	for _, l := range limits {
		if l.max == 0 || l.max > math.MaxInt64 {
			continue
		}
		if err := lower(l.resource, l.max); err != nil {
			return fmt.Errorf("limiting its %s to %d: %w", l.name, l.max, err)
		}
	}
	// A core would hold keys.
	if err := setLimit(unix.RLIMIT_CORE, 0); err != nil {
		return fmt.Errorf("turning core files off: %w", err)
	}
	return nil
}

// lower sets a limit unless there is a lower one.
func lower(resource int, limit uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return err
	}
	if limit >= uint64(now.Max) {
		return nil
	}
	return setLimit(resource, limit)
}
