package aggregate

import (
	"bytes"
	"slices"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// accept reports whether a report of that number was not counted yet, and
// remembers it. Bit i of Seen is for number High-1-i.
func accept(s *store.Instance, number uint64) bool {
	switch {
	case number == 0 || number == s.High:
		return false
	case number > s.High:
		ahead := number - s.High
		s.Seen <<= ahead // 0 for 64 and more
		if s.High > 0 && ahead <= 64 {
			s.Seen |= 1 << (ahead - 1)
		}
		s.High = number
		return true
	}
	bit := s.High - 1 - number
	if bit >= 64 || s.Seen>>bit&1 == 1 {
		return false
	}
	s.Seen |= 1 << bit
	return true
}

// sortedStates are the states that changed, by id.
func sortedStates(states map[wire.InstanceID]*store.Instance, touched map[wire.InstanceID]bool) []store.Instance {
	changed := make([]store.Instance, 0, len(touched))
	for id := range touched {
		changed = append(changed, *states[id])
	}
	slices.SortFunc(changed, func(a, b store.Instance) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return changed
}
