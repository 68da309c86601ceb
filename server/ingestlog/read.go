package ingestlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"sort"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// An Entry is a record and where it lies.
type Entry struct {
	Position Position
	Record   Record
}

// minRead is how much Read reads at once at least.
const minRead = 64 << 10

// Durable is where the durable part of the log ends: 0 for a log that never
// had a record.
func (l *Log) Durable() Position {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.durable
}

// Size is the number of bytes of all segments.
func (l *Log) Size() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var n int64
	for _, s := range l.segments {
		n += s.size
	}
	return n
}

// Wait blocks until something durable lies beyond after.
func (l *Log) Wait(ctx context.Context, after Position) error {
	for {
		l.mu.RLock()
		durable, changed, done := l.durable, l.changed, l.done
		l.mu.RUnlock()
		switch {
		case durable > after:
			return nil
		case done:
			return ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Read reads durable records in the order of the log, from a position on that
// Read gave as next, an entry's own, or 0 for the oldest. It stops before it
// has read more than maxBytes, but reads one record at least if there is one.
// With no entries, next may still have advanced over records that were erased
// or damaged; where next equals Durable, all is read.
//
// The entries' bodies share memory with each other, but not with the log.
func (l *Log) Read(ctx context.Context, from Position, maxBytes int) (entries []Entry, next Position, err error) {
	next = from
	if durable := l.Durable(); from > durable {
		return nil, from, fmt.Errorf("position %s lies beyond the log's end at %s: this is not the log that the position was given by", from, durable)
	}
	for used := 0; ; {
		if err := ctx.Err(); err != nil {
			return entries, next, err
		}
		s, size, at, ok := l.segmentAt(next)
		next = at
		if !ok || len(entries) > 0 && used >= maxBytes {
			return entries, next, nil
		}
		chunk, n, err := l.readFrames(s, at.offset(), size, maxBytes-used, len(entries) == 0)
		if errors.Is(err, fs.ErrNotExist) && !l.has(s) {
			next = position(s.number+1, 0) // dropped in between
			continue
		}
		if err != nil {
			return entries, next, fmt.Errorf("reading segment %d: %w", s.number, err)
		}
		if n == 0 { // the next record is larger than what may still be read
			return entries, next, nil
		}
		used += int(n)
		entries = append(entries, chunk...)
		next = position(s.number, at.offset()+n)
	}
}

// segmentAt finds the segment that the first byte from p on lies in, its size
// and where that byte is. Without one, ok is false and at is the end.
func (l *Log) segmentAt(p Position) (s *segment, size int64, at Position, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].number >= p.segment() })
	at = p
	for ; i < len(l.segments); i++ {
		s := l.segments[i]
		at = max(p, position(s.number, segmentHeader))
		if at.offset() < s.size {
			return s, s.size, at, true
		}
	}
	return nil, 0, at, false
}

func (l *Log) has(s *segment) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].number >= s.number })
	return i < len(l.segments) && l.segments[i] == s
}

// readFrames reads records of one segment from an offset on and says how many
// bytes it went over: 0 only if the first frame is longer than maxBytes and
// none must be read.
func (l *Log) readFrames(s *segment, off, size int64, maxBytes int, must bool) ([]Entry, int64, error) {
	l.content.RLock()
	defer l.content.RUnlock()
	f, err := os.Open(l.segmentPath(s.number))
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	buf := make([]byte, min(size-off, int64(max(maxBytes, minRead))))
	if _, err := f.ReadAt(buf, off); err != nil {
		return nil, 0, err
	}
	var entries []Entry
	at := 0
	for len(buf)-at >= frameHeader {
		n := frameLength(buf[at:], s.number, off+int64(at))
		if n == 0 || off+int64(at+n) > size {
			skip, err := l.skipDamage(s, off+int64(at), size)
			return entries, skip - off, err
		}
		if at+n > len(buf) {
			break
		}
		if at > 0 && at+n > maxBytes {
			return entries, int64(at), nil
		}
		if e, ok := l.entry(s, off+int64(at), buf[at:at+n]); ok {
			entries = append(entries, e)
		}
		at += n
	}
	if at > 0 || !must && len(buf) >= maxBytes && off+int64(len(buf)) < size {
		return entries, int64(at), nil
	}
	// The first frame alone is longer than what was read of it, or the end is
	// too short for any frame.
	n := frameLengthOr0(buf, s.number, off)
	if n == 0 || off+int64(n) > size {
		skip, err := l.skipDamage(s, off, size)
		return nil, skip - off, err
	}
	buf = make([]byte, n)
	if _, err := f.ReadAt(buf, off); err != nil {
		return nil, 0, err
	}
	if e, ok := l.entry(s, off, buf); ok {
		entries = append(entries, e)
	}
	return entries, int64(n), nil
}

func frameLengthOr0(b []byte, segment uint64, offset int64) int {
	if len(b) < frameHeader {
		return 0
	}
	return frameLength(b, segment, offset)
}

// entry decodes a frame. What is damaged is counted and reported.
func (l *Log) entry(s *segment, off int64, frame []byte) (Entry, bool) {
	switch stateOf(frame) {
	case frameErased:
		return Entry{}, false
	case frameWhole:
		r, err := decodePayload(frame[frameHeader:])
		if err == nil {
			return Entry{position(s.number, off), r}, true
		}
		l.log.Error("a record can't be decoded and is skipped", "segment", s.number, "offset", off, "cause", err)
	default:
		l.log.Error("a record is damaged and is skipped: check the disk", "segment", s.number, "offset", off)
	}
	l.metrics.damaged.Inc()
	return Entry{}, false
}

// skipDamage finds where to go on behind a damaged header: at the next record
// that the index knows, or at the segment's end.
func (l *Log) skipDamage(s *segment, off, size int64) (int64, error) {
	l.mu.RLock()
	entries, indexed := s.entries, s.indexed
	l.mu.RUnlock()
	if indexed {
		var err error
		if entries, err = readIndex(l.indexPath(s.number), s.number); err != nil {
			entries = nil
		}
	}
	next := size
	for _, e := range entries {
		if e.offset > off && e.offset < next {
			next = e.offset
		}
	}
	l.metrics.damaged.Inc()
	l.log.Error("a part of a segment is damaged and is skipped: check the disk", "segment", s.number, "offset", off, "bytes", next-off)
	return next, nil
}

// Instance yields the records of an instance of which a window overlaps
// [from, to), the last received first. It reads each when it is its turn, so
// that who stops early pays for no more.
func (l *Log) Instance(id wire.InstanceID, from, to time.Time) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		l.mu.RLock()
		segments := append([]*segment(nil), l.segments...)
		l.mu.RUnlock()
		for i := len(segments) - 1; i >= 0; i-- {
			if !l.instanceIn(segments[i], id, from.Unix(), to.Unix(), yield) {
				return
			}
		}
	}
}

// instanceIn yields what one segment has. It is false when no more is wanted.
func (l *Log) instanceIn(s *segment, id wire.InstanceID, from, to int64, yield func(Record, error) bool) bool {
	l.mu.RLock()
	none := s.records == 0 || s.to <= from || s.from >= to
	l.mu.RUnlock()
	if none {
		return true
	}
	found, err := l.lookup(s, id)
	var f *os.File
	if err == nil && len(found) > 0 {
		f, err = os.Open(l.segmentPath(s.number))
	}
	if err != nil {
		if !l.has(s) {
			return true // dropped in between
		}
		return yield(Record{}, fmt.Errorf("looking up an instance in segment %d: %w", s.number, err))
	}
	if f == nil {
		return true
	}
	defer f.Close()
	for i := len(found) - 1; i >= 0; i-- {
		if found[i].to <= from || found[i].from >= to {
			continue
		}
		r, ok, err := l.recordAt(f, s, found[i].offset, id)
		if err != nil {
			return yield(Record{}, fmt.Errorf("reading segment %d: %w", s.number, err))
		}
		if ok && !yield(r, nil) {
			return false
		}
	}
	return true
}

// recordAt reads one record. It is not ok if it was erased, or is damaged.
func (l *Log) recordAt(f *os.File, s *segment, off int64, id wire.InstanceID) (Record, bool, error) {
	l.content.RLock()
	defer l.content.RUnlock()
	head := make([]byte, frameHeader)
	if _, err := f.ReadAt(head, off); err != nil {
		return Record{}, false, err
	}
	n := frameLength(head, s.number, off)
	if n == 0 {
		l.metrics.damaged.Inc()
		l.log.Error("a record is damaged and is skipped: check the disk", "segment", s.number, "offset", off)
		return Record{}, false, nil
	}
	frame := make([]byte, n)
	if _, err := f.ReadAt(frame, off); err != nil {
		return Record{}, false, err
	}
	e, ok := l.entry(s, off, frame)
	return e.Record, ok && e.Record.Instance == id, nil
}
