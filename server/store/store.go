// Package store declares what the product asks of a database engine.
//
// In come batches of rollup rows, each cut from a range of an ingest log. Out
// go sums by metric, dimensions, facet, time and grain. Engines live in
// packages of their own below this one, and package storetest is the contract
// as a test, which every engine passes.
//
// # Contract
//
// Durability: when Commit returns nil, the batch survives the loss of power.
//
// Retry: Commit is all or nothing and counts once. Rows, instances and the new
// log position become visible together or not at all. A batch whose From is
// not the log's position is refused with ErrPosition and changes nothing, so
// that whoever does not know whether a Commit went through, because of an error
// or a cancelled context, asks Position. A batch of no records (To is not after
// From) is refused, because it could not be told from its retry.
//
// Ordering: batches of one log are committed in the order of the log, by one
// caller. Logs are independent of each other.
//
// Concurrency: all methods may be called at once. A query sees whole batches.
//
// Merging: rows with equal keys may be committed any number of times and are
// merged when read: Count, Sum, Reports and Buckets add; Top and Registers
// take the maximum. Rows without Buckets or Registers add nothing to those that
// have them.
//
// Incidents: a state of an incident replaces what is stored of the same
// instance and number, unless that is newer (Incident.Known). They are stored
// and forgotten with their instance; what is answered about them is computed
// from those that are there.
//
// Range: Count, Sum, Top and each bucket stop at 2^63-1 and Reports at 2^32-1;
// what is larger, also as a sum, is stored and answered as that. They never
// wrap round, and no number makes a query fail. Strings are any bytes and come
// back as they were.
//
// Cancellation: a method whose context is done returns its error, soon.
package store

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// ErrPosition says that a batch does not begin where its log's last one ended.
var ErrPosition = errors.New("the batch does not begin at the log's position")

// A Grain is the length of time that a row sums up.
type Grain uint8

const (
	Window Grain = iota // one window: five minutes, shorter in tests
	Hour
	Day // of UTC
)

// Grains lists all.
var Grains = [...]Grain{Window, Hour, Day}

func (g Grain) String() string { return [...]string{"window", "hour", "day"}[g] }

// Start is the start of the row that a window starting at t is summed up in.
func (g Grain) Start(t time.Time) time.Time {
	switch g {
	case Hour:
		return t.UTC().Truncate(time.Hour)
	case Day:
		return t.UTC().Truncate(24 * time.Hour)
	}
	return t.UTC()
}

// A Key names a row.
type Key struct {
	Grain  Grain
	Start  int64 // Unix seconds
	Metric wire.MetricID
	Facet  wire.Facet
	Value  string // of the facet; "" for wire.All
	Dims   wire.Dims
	Label  string // for metrics that have one
}

// A Row is what a key sums up.
type Row struct {
	Key
	Count     uint64   // events, observations or instances
	Sum       uint64   // of a histogram's observations, in the metric's unit
	Buckets   []uint64 // nil, or wire.Buckets long
	Registers []byte   // nil, or HyperLogLog registers: one byte each, a power of two of them, the same number for a metric's every row
	Reports   uint32   // windows of instances that contributed
	Top       uint64   // largest Count of a single one of them
}

// An Instance is what the store keeps of one instance: what it takes to count
// each report once, and each instance once in a window, an hour and a day.
type Instance struct {
	ID wire.InstanceID
	// High is the highest report number stored; bit i of Seen says whether
	// High-1-i is stored, too.
	High uint64
	Seen uint64
	// Counted are the starts (Unix seconds) of the last window, hour and day
	// in which the instance was counted, by Grain.
	Counted [len(Grains)]int64
	First   int64 // when it first reported, Unix seconds
	Last    int64 // when it last reported, Unix seconds
}

// A Position is a place in an ingest log: all records before it are committed.
type Position uint64

// A Batch is what a range of a log adds.
type Batch struct {
	Log       string // names the log
	From, To  Position
	Rows      []Row      // sorted by key, each key once
	Instances []Instance // their new states
	Incidents []Incident // new or changed, each once
}

// A Query asks for rows of one metric, grain and facet, merged by time, by
// chosen dimensions and by the facet's value.
type Query struct {
	Metric   wire.MetricID
	Grain    Grain
	From, To time.Time // rows whose Start is in [From, To)
	Facet    wire.Facet
	Values   []string // only these values of the facet; nil means all
	// Where keeps only rows whose dimension (its index in the metric's Dims)
	// has one of the values. Here as in Values and Labels, an empty list that
	// is not nil keeps nothing.
	Where map[int][]wire.Value
	// Labels keeps only rows with one of these labels; nil means all.
	Labels []string
	// What result rows are told apart by; all else is merged. A key's fields
	// that are not asked for are zero in the result, but for Grain, Metric and
	// Facet, which are the query's.
	ByTime, ByValue, ByLabel bool
	ByDims                   []int
	// CountsOnly leaves Buckets and Registers out of the result. Who asks for
	// sums of counters should say so: it spares an engine half of the work.
	CountsOnly bool
	// Limit keeps the rows with the greatest Count, of equal ones the first in
	// the order of Key's fields; 0 keeps all.
	Limit int
}

// A Store keeps rollups, instances and log positions.
type Store interface {
	// Position is where the log's next batch begins, 0 for an unknown log.
	Position(ctx context.Context, log string) (Position, error)
	// Commit adds a batch. See the package comment.
	Commit(ctx context.Context, b Batch) error
	// Instances reads the states of those of ids that are known, in any order.
	Instances(ctx context.Context, ids []wire.InstanceID) ([]Instance, error)
	// Query answers in ascending order of time, then descending Count, then in
	// the order of Key's fields. Without rows there is no result row, also
	// where nothing tells rows apart.
	Query(ctx context.Context, q Query) ([]Row, error)
	// Export yields every row of a grain in [from, to), merged, in the order
	// of Key's fields, strings by their bytes. It holds no more than a bounded
	// part in memory and no snapshot: of what is committed meanwhile it yields
	// some. An error is the last that it yields. The store may be used inside
	// the loop.
	Export(ctx context.Context, g Grain, from, to time.Time) iter.Seq2[Row, error]
	// DropBefore forgets the rows of a grain that start before t.
	DropBefore(ctx context.Context, g Grain, t time.Time) error
	// Sightings answers in the order of Trait's fields, then by hour.
	Sightings(ctx context.Context, q Sighted) ([]Sighting, error)
	// Spread is how many instances, in each hour that starts in [from, to), had
	// incidents with at least one of some traits of one kind and class of scan.
	// Each instance and each event counts once.
	Spread(ctx context.Context, traits []Trait, from, to time.Time) ([]Sighting, error)
	// DropIncidents forgets incidents that ended before t.
	DropIncidents(ctx context.Context, t time.Time) error
	// Forget removes an instance's state and its incidents. Its share of sums stays.
	Forget(ctx context.Context, id wire.InstanceID) error
	// Compact merges rows with equal keys of past time, where the engine does
	// not do so by itself. It changes no answer.
	Compact(ctx context.Context, before time.Time) error
	Close() error
}
