package ingestlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	erasureMagic = "evergreen erasure 1\n"
	erasureEnd   = "end of erasure\n"
)

func (l *Log) erasurePath() string { return filepath.Join(l.dir, "erase.pending") }

// Erase deletes every record of an instance that was acknowledged before, so
// that nothing of it is left in the log's files. After a crash in between, the
// next Open finishes it; after an error, so does the next Erase of whatever
// instance. Appends that are under way for the same instance are the caller's
// to refuse.
func (l *Log) Erase(ctx context.Context, id wire.InstanceID) error {
	// indexMu also keeps erasures apart.
	l.indexMu.Lock()
	defer l.indexMu.Unlock()
	if err := l.redoErasure(); err != nil {
		return err
	}
	l.mu.RLock()
	segments := append([]*segment(nil), l.segments...)
	l.mu.RUnlock()
	var places []Position
	for _, s := range segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		found, err := l.lookupLocked(s, id)
		if err != nil {
			return fmt.Errorf("erasing an instance: %w", err)
		}
		for _, e := range found {
			places = append(places, position(s.number, e.offset))
		}
	}
	if len(places) == 0 {
		return nil
	}
	if err := replaceFile(l.erasurePath(), encodeErasure(places)); err != nil {
		return fmt.Errorf("writing down what to erase: %w", err)
	}
	return l.finishErasure(places)
}

func encodeErasure(places []Position) []byte {
	b := []byte(erasureMagic)
	for _, p := range places {
		b = binary.LittleEndian.AppendUint64(b, uint64(p))
	}
	b = binary.LittleEndian.AppendUint32(b, checksum(b))
	return append(b, erasureEnd...)
}

func decodeErasure(b []byte) ([]Position, error) {
	text, ok := strings.CutSuffix(string(b), erasureEnd)
	n := len(text) - len(erasureMagic) - 4
	if !ok || n < 0 || n%8 != 0 || !strings.HasPrefix(text, erasureMagic) ||
		binary.LittleEndian.Uint32(b[len(text)-4:]) != checksum(b[:len(text)-4]) {
		return nil, errors.New("it is damaged: ask the instances' owners to repeat their requests, and remove the file")
	}
	places := make([]Position, n/8)
	for i := range places {
		places[i] = Position(binary.LittleEndian.Uint64(b[len(erasureMagic)+8*i:]))
	}
	return places, nil
}

// redoErasure finishes an erasure that was interrupted.
func (l *Log) redoErasure() error {
	b, err := os.ReadFile(l.erasurePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("finishing an erasure: %w", err)
	}
	places, err := decodeErasure(b)
	if err != nil {
		return fmt.Errorf("finishing the erasure in %s: %w", l.erasurePath(), err)
	}
	l.log.Info("finishing an erasure that was interrupted", "records", len(places))
	return l.finishErasure(places)
}

// finishErasure overwrites what lies at places. Doing it twice is doing it once.
func (l *Log) finishErasure(places []Position) error {
	for len(places) > 0 {
		number := places[0].segment()
		n := slices.IndexFunc(places, func(p Position) bool { return p.segment() != number })
		if n < 0 {
			n = len(places)
		}
		offsets := make(map[int64]bool, n)
		for _, p := range places[:n] {
			offsets[p.offset()] = true
		}
		places = places[n:]
		if err := l.overwrite(number, offsets); errors.Is(err, fs.ErrNotExist) {
			continue // the segment was dropped
		} else if err != nil {
			return fmt.Errorf("erasing records of segment %d: %w", number, err)
		}
		if err := l.unindex(number, offsets); err != nil {
			return fmt.Errorf("erasing records from the index of segment %d: %w", number, err)
		}
	}
	if err := os.Remove(l.erasurePath()); err != nil {
		return fmt.Errorf("finishing an erasure: %w", err)
	}
	return syncDir(l.dir)
}

// overwrite makes frames of a segment erased ones, durably.
func (l *Log) overwrite(number uint64, offsets map[int64]bool) error {
	l.content.Lock()
	defer l.content.Unlock()
	// A file of its own: an error of its sync is not taken from the one that
	// is appended to.
	f, err := os.OpenFile(l.segmentPath(number), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, frameHeader)
	for off := range offsets {
		if _, err := f.ReadAt(head, off); err != nil {
			return err
		}
		n := frameLength(head, number, off)
		if n == 0 {
			l.log.Error("a record to be erased can't be found: its place is damaged", "segment", number, "offset", off)
			continue
		}
		if _, err := f.WriteAt(make([]byte, n-8), off+8); err != nil {
			return err
		}
		l.metrics.erased.Inc()
	}
	return f.Sync()
}

// unindex removes entries from a segment's index, on disk or in memory.
func (l *Log) unindex(number uint64, offsets map[int64]bool) error {
	gone := func(e indexEntry) bool { return offsets[e.offset] }
	var s *segment
	l.mu.Lock()
	for _, known := range l.segments {
		if known.number == number {
			s = known
		}
	}
	if s != nil && !s.indexed {
		// A copy: readers may hold the old one.
		s.entries = slices.DeleteFunc(slices.Clone(s.entries), gone)
		s.records = len(s.entries)
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	entries, err := readIndex(l.indexPath(number), number)
	if s == nil { // at start
		s = &segment{number: number}
		if err == nil {
			err = l.openIndex(s)
		}
		if err != nil {
			// Missing or damaged: it will be rebuilt without them.
			return ignoreMissing(os.Remove(l.indexPath(number)))
		}
	} else if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, gone)
	l.mu.Lock()
	s.records = len(entries)
	fresh := *s
	l.mu.Unlock()
	return replaceFile(l.indexPath(number), encodeIndex(&fresh, entries))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// DropBefore deletes the oldest segments, as long as all their records were
// received before t and lie before the position. A caller who folds the log
// passes how far it has come.
func (l *Log) DropBefore(t time.Time, before Position) error {
	if err := l.sealBefore(t, before); err != nil {
		return fmt.Errorf("sealing the last segment: %w", err)
	}
	l.indexMu.Lock()
	defer l.indexMu.Unlock()
	l.content.Lock()
	defer l.content.Unlock()
	dropped := 0
	for {
		l.mu.Lock()
		if len(l.segments) == 0 {
			l.mu.Unlock()
			break
		}
		s := l.segments[0]
		if !s.sealed || s.end() > before || s.records > 0 && !s.last.Before(t) {
			l.mu.Unlock()
			break
		}
		l.segments = slices.Clone(l.segments[1:])
		l.mu.Unlock()
		dropped++
		if err := errors.Join(ignoreMissing(os.Remove(l.segmentPath(s.number))), ignoreMissing(os.Remove(l.indexPath(s.number)))); err != nil {
			return fmt.Errorf("dropping segment %d: %w", s.number, err)
		}
	}
	if dropped == 0 {
		return nil
	}
	l.log.Info("dropped old segments", "segments", dropped)
	return syncDir(l.dir)
}

// sealBefore seals the last segment if all its records may be dropped, so that
// a log that nothing is appended to any more gets empty, too.
func (l *Log) sealBefore(t time.Time, before Position) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	l.mu.RLock()
	var s *segment
	if l.file != nil {
		s = l.segments[len(l.segments)-1]
	}
	drop := s != nil && s.records > 0 && s.last.Before(t) && s.end() <= before
	l.mu.RUnlock()
	if !drop {
		return nil
	}
	return l.begin(s.number + 1)
}
