//go:build !unix

package evergreen

import "time"

// processorTime is known on Unix only.
func processorTime() (time.Duration, bool) { return 0, false }
