package watch

import "time"

// Sites is how many slots hosts are hashed into.
const Sites = 256

// Limits are the times to the first byte above which an answer is counted as
// slower than that.
var Limits = [...]time.Duration{
	64 * time.Millisecond, 128 * time.Millisecond, 256 * time.Millisecond, 512 * time.Millisecond,
	1024 * time.Millisecond, 2048 * time.Millisecond, 4096 * time.Millisecond, 8192 * time.Millisecond,
}

const limits = len(Limits)

// Counts are what was counted of requests since the process started.
type Counts struct {
	Begun    uint64         // requests that a handler was called for
	Answered uint64         // of those, that were answered or given up; at the first byte of the answer
	Errors   uint64         // of those, answered with 500 to 599 or not at all because of a panic
	Panics   uint64         // requests whose handler panicked, before or after the first byte
	Slow     [limits]uint64 // answers that took longer than Limits
}

// less is what was counted since an earlier sample of the same process.
func (c Counts) less(before Counts) Counts {
	c.Begun -= min(before.Begun, c.Begun)
	c.Answered -= min(before.Answered, c.Answered)
	c.Errors -= min(before.Errors, c.Errors)
	c.Panics -= min(before.Panics, c.Panics)
	for i := range c.Slow {
		c.Slow[i] -= min(before.Slow[i], c.Slow[i])
	}
	return c
}

// A Sample is what a process has counted by a moment. Counts are cumulative.
type Sample struct {
	Time              time.Time
	Total             Counts
	Sites             []Counts // by slot; none or Sites
	Handshakes        uint64   // TLS handshakes that were completed
	HandshakeFailures uint64   // and that failed for a reason that may be the server's
	Memory            Memory
}

// site is the counts of a slot.
func (s *Sample) site(i int) Counts {
	if i < len(s.Sites) {
		return s.Sites[i]
	}
	return Counts{}
}

// Memory is what the process has in memory. Zero is unknown.
type Memory struct {
	Resident uint64 // bytes
	Limit    uint64 // bytes that it may grow to: the machine's, or the container's
}
