package store

import (
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// An Incident is a stretch of abnormal traffic that one instance reported, as
// far as it is compared with what other instances reported.
type Incident struct {
	Instance wire.InstanceID
	Number   uint64 // the instance's own, never used twice by it
	// Known is the end of the window that this is the state of (Unix seconds).
	// A state replaces one that is not newer.
	Known       int64
	Start, End  int64 // Unix seconds; End is where it ended or, while it goes on, Known
	Open        bool
	Kind        wire.Value // of wire.IncidentKind
	Scan        wire.Value // of wire.ScanClass
	Fingerprint wire.Value // of wire.Fingerprints, wire.Other for none
	Events      uint64
	Networks    []IncidentNetwork // each once; never addresses
}

// An IncidentNetwork is where a part of an incident's events came from.
type IncidentNetwork struct {
	Network uint32 // autonomous system; 0 if unknown
	Country string // ISO 3166-1 alpha-2; "" if unknown
	Percent uint32 // of the incident's events
}

// A Trait is what incidents at several instances may have in common, besides
// their kind and their class of scan: a fingerprint or a network. Without
// either it stands for all incidents of the kind.
type Trait struct {
	Kind, Scan  wire.Value
	Fingerprint wire.Value // or wire.Other
	Network     uint32     // or 0
}

// A Sighting is how many instances had incidents with a trait in an hour. An
// incident is in every hour that it touches, and its events are spread evenly
// over its length.
type Sighting struct {
	Trait
	Hour      int64 // its start, Unix seconds
	Instances uint64
	Events    uint64 // rounded; of a network only its share
	Top       uint64 // of a single instance, at most
	// Sample holds the least hashes of the instances, at most SampleSize of
	// them, ascending. An instance's hash is the same everywhere in an answer.
	// There is none of hours with less than half of Sighted.Least, of kinds as a
	// whole, and in what Spread answers.
	Sample []uint64
}

// SampleSize is how many hashes a Sighting's Sample has if it has so many instances.
const SampleSize = 64

// A Sighted asks for sightings in hours that start in [From, To).
type Sighted struct {
	From, To time.Time
	// Least leaves out the fingerprints and networks that no hour has at so
	// many instances. Of the others, all hours are answered, and so are those
	// of each kind and class of scan as a whole.
	Least uint64
}
