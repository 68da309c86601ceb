package ingestlog

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/internal/filelock"
)

// Open opens the log in dir and creates it if need be. It puts right what a
// crash left: see the package comment.
func Open(dir string, o Options) (*Log, error) {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 64 << 20
	}
	o.SegmentBytes = min(o.SegmentBytes, 1<<(offsetBits-1))
	if o.SegmentAge <= 0 {
		o.SegmentAge = 24 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.openWriter == nil {
		o.openWriter = openWriter
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the ingest log: %w", err)
	}
	lock, err := filelock.Take(filepath.Join(dir, "LOCK"))
	if errors.Is(err, filelock.ErrLocked) {
		return nil, fmt.Errorf("opening the ingest log: another process has it open: stop it first, or use another data folder: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the ingest log: %w", err)
	}
	l := &Log{dir: dir, o: o, log: o.Logger, lock: lock, changed: make(chan struct{})}
	l.queueIdle.L = &l.queueMu
	if l.metrics, err = newMetrics(o.Registerer, l); err == nil {
		if err = l.recover(); err != nil {
			l.metrics.unregister()
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the ingest log %s: %w", dir, err), lock.Close())
	}
	return l, nil
}

// A diskFile is a segment's file on a real disk.
type diskFile struct{ *os.File }

func (f diskFile) Datasync() error { return datasync(f.File) }

func openWriter(name string) (writer, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

// recover finds the segments and makes the last one fit to be appended to.
func (l *Log) recover() error {
	numbers, err := l.tidyFolder()
	if err != nil {
		return err
	}
	if err := l.redoErasure(); err != nil {
		return err
	}
	for i, n := range numbers {
		if i > 0 && n != numbers[i-1]+1 {
			l.log.Error("segments are missing: their records are lost unless they were aggregated", "after", numbers[i-1], "before", n)
		}
		s := &segment{number: n}
		if err := l.openSegment(s, i == len(numbers)-1); errors.Is(err, errNotSegment) {
			continue
		} else if err != nil {
			return fmt.Errorf("segment %d: %w", n, err)
		}
		l.segments = append(l.segments, s)
	}
	l.writeIndexes()
	if n := len(l.segments); n > 0 {
		last := l.segments[n-1]
		l.durable = last.end()
		if !last.sealed {
			l.file, err = l.o.openWriter(l.segmentPath(last.number))
		}
	}
	return err
}

// tidyFolder lists the segments and removes what an interrupted write left.
func (l *Log) tidyFolder() ([]uint64, error) {
	files, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, f := range files {
		if n := segmentNumber(f.Name()); n > 0 {
			numbers = append(numbers, n)
		} else if strings.HasSuffix(f.Name(), ".tmp") {
			if err := os.Remove(filepath.Join(l.dir, f.Name())); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(numbers)
	for _, f := range files {
		if base, ok := strings.CutSuffix(f.Name(), ".idx"); ok {
			n := segmentNumber(base + ".seg")
			if _, there := slices.BinarySearchFunc(numbers, n, cmp.Compare); n > 0 && !there {
				if err := os.Remove(filepath.Join(l.dir, f.Name())); err != nil {
					return nil, err
				}
			}
		}
	}
	return numbers, nil
}

// openSegment finds out what a segment holds. errNotSegment means that it
// could be no segment and is out of the way.
func (l *Log) openSegment(s *segment, last bool) error {
	f, err := os.OpenFile(l.segmentPath(s.number), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if l.openIndex(s) == nil && s.size <= size {
		s.sealed, s.indexed = true, true
		return nil
	}
	found, err := s.load(f, size)
	if errors.Is(err, errNotSegment) {
		return l.setAside(s, size, last)
	} else if err != nil {
		return err
	}
	torn := size - found.end
	switch {
	case !last:
		s.sealed, s.size = true, size
		l.reportDamage(s.number, found, size)
	case torn > maxBatch:
		s.sealed, s.size = true, size
		l.reportDamage(s.number, found, size)
		l.log.Error("the last segment is damaged farther from its end than a crash can explain: it is kept as it is and a new one begun; check the disk", "segment", s.number, "unreadable_bytes", size-found.reached)
	default:
		if torn > 0 {
			l.metrics.torn.Add(float64(torn))
			l.log.Warn("cut the last segment behind its last whole record, as after a crash", "segment", s.number, "bytes", torn)
			if err := f.Truncate(found.end); err != nil {
				return err
			}
		}
		if found.damaged > 0 {
			l.reportDamage(s.number, found, found.end)
		}
		// What was found may never have been synced: it is about to be read.
		return f.Sync()
	}
	return nil
}

func (l *Log) openIndex(s *segment) error {
	f, err := os.Open(l.indexPath(s.number))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := readIndexHeader(f, info.Size(), s); err != nil {
		l.log.Error("rebuilding the index of a segment", "segment", s.number, "cause", err)
		*s = segment{number: s.number}
		return err
	}
	return nil
}

// setAside takes a file without a segment's header out of the way: one that
// was just being made is removed, any other is kept under another name.
func (l *Log) setAside(s *segment, size int64, last bool) error {
	name := l.segmentPath(s.number)
	if last && size <= segmentHeader {
		if err := os.Remove(name); err != nil {
			return err
		}
	} else {
		l.metrics.damaged.Inc()
		l.log.Error("a file that should be a segment does not begin as one; it is set aside: check the disk", "segment", s.number, "bytes", size, "as", segmentName(s.number)+".aside")
		if err := os.Rename(name, name+".aside"); err != nil {
			return err
		}
	}
	return errors.Join(errNotSegment, syncDir(l.dir))
}

// reportDamage tells of damaged places that a scan found in a segment.
func (l *Log) reportDamage(number uint64, found scanned, size int64) {
	if found.damaged == 0 && found.reached >= size {
		return
	}
	places := found.damaged
	if found.reached < size {
		places++
	}
	l.metrics.damaged.Add(float64(places))
	l.log.Error("a segment is damaged; all that can be read of it is kept: check the disk", "segment", number, "damaged_records", found.damaged, "unreadable_bytes", size-found.reached)
}

// lastNumber is the greatest number that a segment ever had, as far as known.
func (l *Log) lastNumber() (uint64, error) {
	files, err := os.ReadDir(l.dir)
	if err != nil {
		return 0, err
	}
	var last uint64
	for _, f := range files {
		last = max(last, segmentNumber(strings.TrimSuffix(f.Name(), ".aside")))
	}
	return last, nil
}
