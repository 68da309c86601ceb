package ingestlog

import (
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/internal/filelock"
)

// ErrFull says that there is no room on disk, or that MaxBytes is reached.
var ErrFull = errors.New("the ingest log is full: make room on its disk or raise its limit")

// ErrClosed says that the log was closed.
var ErrClosed = errors.New("the ingest log is closed")

// Options of a log. The zero value works.
type Options struct {
	SegmentBytes int64         // a segment is sealed before it grows beyond this; 64 MiB if 0
	SegmentAge   time.Duration // a segment is sealed when its first record is this old, so that retention finds whole segments to drop; 24 h if 0
	MaxBytes     int64         // all segments together; 0: as the disk allows
	Logger       *slog.Logger
	Registerer   prometheus.Registerer
	Now          func() time.Time

	openWriter func(name string) (writer, error) // tests make writes fail
}

// A writer is the file of the segment that is appended to.
type writer interface {
	WriteAt(b []byte, off int64) (int, error)
	Truncate(size int64) error
	Close() error
	// Datasync returns nil when all that was written is on disk.
	Datasync() error
}

// A Log is an open log. All methods may be called at once. It runs no
// goroutine but while records are being appended or a segment's index written.
type Log struct {
	dir     string
	o       Options
	log     *slog.Logger
	metrics *metrics
	lock    *filelock.Lock

	// queue holds the appends that wait for a write.
	queueMu   sync.Mutex
	queueIdle sync.Cond // committing became false
	queue     []*waiting
	committing,
	closed bool

	// writeMu is held by whoever writes to, begins or seals the last segment.
	writeMu sync.Mutex
	file    writer // of the last segment; nil if that is sealed
	buf     []byte

	// indexMu is held by whoever writes or replaces an index file.
	indexMu  sync.Mutex
	indexing sync.WaitGroup

	// content is held for reading while frames are read, for writing while
	// they are overwritten or their file is removed.
	content sync.RWMutex

	// mu guards the segments' fields and the rest. It is taken last and never
	// held while a file is read or written.
	mu       sync.RWMutex
	segments []*segment // by number; at least one
	durable  Position
	changed  chan struct{} // closed when durable grows or the log closes
	done     bool
}

func (l *Log) segmentPath(number uint64) string {
	return filepath.Join(l.dir, segmentName(number))
}

func (l *Log) indexPath(number uint64) string {
	return filepath.Join(l.dir, indexName(number))
}

// Close waits for appends under way and closes the files. Appends that come
// later are refused with ErrClosed, readers that wait are woken.
func (l *Log) Close() error {
	l.queueMu.Lock()
	if l.closed {
		l.queueMu.Unlock()
		return nil
	}
	l.closed = true
	for l.committing {
		l.queueIdle.Wait()
	}
	l.queueMu.Unlock()
	l.indexing.Wait()

	l.mu.Lock()
	l.done = true
	close(l.changed)
	l.mu.Unlock()

	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	var err error
	if l.file != nil {
		err = l.file.Close()
		l.file = nil
	}
	l.metrics.unregister()
	return errors.Join(err, l.lock.Close())
}
