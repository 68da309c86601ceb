package ingestlog

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/wire"
)

// ErrFull says that there is no room on disk, or that MaxBytes is reached.
var ErrFull = errors.New("the ingest log is full")

// ErrClosed says that the log was closed.
var ErrClosed = errors.New("the ingest log is closed")

// A Position is a place in the log: the number of a segment and an offset in it.
type Position uint64

// An Entry is a record and where it lies.
type Entry struct {
	Position Position
	Record   Record
}

// Options of a log. The zero value works.
type Options struct {
	SegmentBytes int64 // a segment is sealed when it is this long; 64 MiB if 0
	MaxBytes     int64 // all segments together; 0: as the disk allows
	Logger       *slog.Logger
	Registerer   prometheus.Registerer
	Now          func() time.Time
}

// A Log is an open log. All methods may be called at once.
type Log struct{}

var errNotYet = errors.New("not written yet")

// Open opens the log in dir and creates it if need be.
func Open(dir string, o Options) (*Log, error) { return nil, errNotYet }

// Append returns nil when r is on disk.
func (l *Log) Append(ctx context.Context, r Record) error { return errNotYet }

// Read reads durable records from a position on.
func (l *Log) Read(ctx context.Context, from Position, maxBytes int) (entries []Entry, next Position, err error) {
	return nil, from, errNotYet
}

// Durable is where the durable part of the log ends.
func (l *Log) Durable() Position { return 0 }

// Wait blocks until Durable is beyond after.
func (l *Log) Wait(ctx context.Context, after Position) error { return errNotYet }

// Instance yields an instance's records whose windows overlap [from, to), the last received first.
func (l *Log) Instance(id wire.InstanceID, from, to time.Time) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) { yield(Record{}, errNotYet) }
}

// Erase deletes every record of an instance.
func (l *Log) Erase(ctx context.Context, id wire.InstanceID) error { return errNotYet }

// DropBefore deletes whole segments whose records were all received before t
// and lie before the position.
func (l *Log) DropBefore(t time.Time, before Position) error { return errNotYet }

// Close waits for appends under way and closes the files.
func (l *Log) Close() error { return nil }

// Report decompresses and decodes the record's body.
func (r Record) Report() (*wire.Report, error) { return nil, errNotYet }
