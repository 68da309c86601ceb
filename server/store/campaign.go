package store

import "github.com/caddy-evergreen/evergreen/wire"

// A Campaign is one attack as many instances saw it, as package campaigns finds
// them in sightings.
type Campaign struct {
	// ID stays the same while the campaign goes on, and over restarts.
	ID           string
	Kind, Scan   wire.Value
	Fingerprints []wire.Value // that its incidents have in common, ascending
	Networks     []uint32     // autonomous systems, ascending
	Begin, End   int64        // Unix seconds: start of its first hour, end of the last so far
	Ongoing      bool
	Instances    uint64     // the most in one hour
	Events       uint64     // of all hours
	Hours        []Sighting // its growth, by hour; what they have in common is left out
}
