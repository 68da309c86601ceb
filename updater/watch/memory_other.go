//go:build !linux

package watch

import "runtime/metrics"

// ReadMemory reads what Go's runtime has from the system. What the process may
// have is not known here: only growth is judged.
func ReadMemory() Memory {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 || s[1].Value.Kind() != metrics.KindUint64 {
		return Memory{}
	}
	total, released := s[0].Value.Uint64(), s[1].Value.Uint64()
	return Memory{Resident: total - min(total, released)}
}
