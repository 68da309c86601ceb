package ingestlog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	indexMagic      = "evergreen idx 1\n"
	indexHeader     = 80
	indexEntryBytes = 40
)

// An indexEntry says where a record lies.
type indexEntry struct {
	instance wire.InstanceID
	offset   int64
	from, to int64
}

func compareEntries(a, b indexEntry) int {
	if c := bytes.Compare(a.instance[:], b.instance[:]); c != 0 {
		return c
	}
	return cmp.Compare(a.offset, b.offset)
}

func encodeEntry(b []byte, e indexEntry) []byte {
	b = append(b, e.instance[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.offset))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.from))
	return binary.LittleEndian.AppendUint64(b, uint64(e.to))
}

func decodeEntry(b []byte) indexEntry {
	return indexEntry{
		wire.InstanceID(b[:16]),
		int64(binary.LittleEndian.Uint64(b[16:])),
		int64(binary.LittleEndian.Uint64(b[24:])),
		int64(binary.LittleEndian.Uint64(b[32:])),
	}
}

// encodeIndex is a segment's index file.
func encodeIndex(s *segment, entries []indexEntry) []byte {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, compareEntries)
	b := make([]byte, indexHeader, indexHeader+len(sorted)*indexEntryBytes)
	for _, e := range sorted {
		b = encodeEntry(b, e)
	}
	copy(b, indexMagic)
	h := binary.LittleEndian.AppendUint64(b[:16], s.number)
	h = binary.LittleEndian.AppendUint64(h, uint64(s.size))
	h = binary.LittleEndian.AppendUint64(h, uint64(len(sorted)))
	h = binary.LittleEndian.AppendUint64(h, uint64(unixNano(s.first)))
	h = binary.LittleEndian.AppendUint64(h, uint64(unixNano(s.last)))
	h = binary.LittleEndian.AppendUint64(h, uint64(s.from))
	h = binary.LittleEndian.AppendUint64(h, uint64(s.to))
	h = binary.LittleEndian.AppendUint32(h, checksum(b[indexHeader:]))
	binary.LittleEndian.AppendUint32(h, checksum(b[:76]))
	return b
}

// unixNano is 0 for the zero time, which is before 1678.
func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

var errIndex = errors.New("the index is damaged")

// readIndexHeader fills in s from its index file.
func readIndexHeader(f io.ReaderAt, size int64, s *segment) error {
	h := make([]byte, indexHeader)
	if _, err := f.ReadAt(h, 0); err != nil {
		return err
	}
	records := binary.LittleEndian.Uint64(h[32:])
	if string(h[:16]) != indexMagic || binary.LittleEndian.Uint32(h[76:]) != checksum(h[:76]) ||
		binary.LittleEndian.Uint64(h[16:]) != s.number ||
		records > uint64(size)/indexEntryBytes || indexHeader+int64(records)*indexEntryBytes != size {
		return errIndex
	}
	s.size = int64(binary.LittleEndian.Uint64(h[24:]))
	s.span = span{
		records: int(records),
		first:   time.Unix(0, int64(binary.LittleEndian.Uint64(h[40:]))).UTC(),
		last:    time.Unix(0, int64(binary.LittleEndian.Uint64(h[48:]))).UTC(),
		from:    int64(binary.LittleEndian.Uint64(h[56:])),
		to:      int64(binary.LittleEndian.Uint64(h[64:])),
	}
	return nil
}

// readIndex reads all entries of an index file and checks them.
func readIndex(name string, number uint64) ([]indexEntry, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if err := readIndexHeader(bytes.NewReader(b), int64(len(b)), &segment{number: number}); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(b[72:]) != checksum(b[indexHeader:]) {
		return nil, errIndex
	}
	var entries []indexEntry
	for b = b[indexHeader:]; len(b) > 0; b = b[indexEntryBytes:] {
		entries = append(entries, decodeEntry(b))
	}
	return entries, nil
}

// lookupIndex finds an instance's entries in an index file, whose checksum was
// seen to match, without reading all of it.
func lookupIndex(f io.ReaderAt, records int, id wire.InstanceID) ([]indexEntry, error) {
	var b [indexEntryBytes]byte
	var err error
	read := func(i int) indexEntry {
		if _, e := f.ReadAt(b[:], indexHeader+int64(i)*indexEntryBytes); e != nil {
			err = e
		}
		return decodeEntry(b[:])
	}
	at := sort.Search(records, func(i int) bool {
		e := read(i)
		return bytes.Compare(e.instance[:], id[:]) >= 0
	})
	var found []indexEntry
	for ; at < records && err == nil; at++ {
		e := read(at)
		if e.instance != id {
			break
		}
		found = append(found, e)
	}
	return found, err
}

// lookup finds an instance's entries in a segment, by offset. It may rebuild
// the segment's index; indexMu is not held.
func (l *Log) lookup(s *segment, id wire.InstanceID) ([]indexEntry, error) {
	l.indexMu.Lock()
	defer l.indexMu.Unlock()
	return l.lookupLocked(s, id)
}

// lookupLocked is lookup with indexMu held.
func (l *Log) lookupLocked(s *segment, id wire.InstanceID) ([]indexEntry, error) {
	l.mu.RLock()
	entries, indexed, checked := s.entries, s.indexed, s.checked
	l.mu.RUnlock()
	if !indexed {
		// What is behind the slice's length is another goroutine's to append to.
		var found []indexEntry
		for _, e := range entries {
			if e.instance == id {
				found = append(found, e)
			}
		}
		return found, nil
	}
	name := l.indexPath(s.number)
	if !checked {
		if _, err := readIndex(name, s.number); err != nil {
			l.log.Error("rebuilding the index of a segment", "segment", s.number, "cause", err)
			if err := l.rebuildIndex(s); err != nil {
				return nil, err
			}
		}
		l.mu.Lock()
		s.checked = true
		l.mu.Unlock()
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Erase may have replaced the file since: its own header counts.
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	header := &segment{number: s.number}
	if err := readIndexHeader(f, info.Size(), header); err != nil {
		return nil, fmt.Errorf("reading the index of segment %d: %w", s.number, err)
	}
	found, err := lookupIndex(f, header.records, id)
	if err != nil {
		return nil, fmt.Errorf("reading the index of segment %d: %w", s.number, err)
	}
	return found, nil
}

// rebuildIndex scans a sealed segment and writes its index file anew. indexMu
// is held.
func (l *Log) rebuildIndex(s *segment) error {
	f, err := os.Open(l.segmentPath(s.number))
	if err != nil {
		return err
	}
	defer f.Close()
	fresh := &segment{number: s.number}
	l.mu.RLock()
	size := s.size
	l.mu.RUnlock()
	l.content.RLock()
	found, err := fresh.load(f, size)
	l.content.RUnlock()
	if err != nil {
		return fmt.Errorf("scanning segment %d: %w", s.number, err)
	}
	l.reportDamage(s.number, found, size)
	fresh.size = size
	if err := replaceFile(l.indexPath(s.number), encodeIndex(fresh, fresh.entries)); err != nil {
		return fmt.Errorf("writing the index of segment %d: %w", s.number, err)
	}
	l.mu.Lock()
	s.span, s.entries, s.indexed, s.checked = fresh.span, nil, true, true
	l.mu.Unlock()
	return nil
}

// writeIndexes writes the index files of sealed segments that have none. What
// can't be written stays in memory until the next segment is sealed.
func (l *Log) writeIndexes() {
	l.indexMu.Lock()
	defer l.indexMu.Unlock()
	l.mu.RLock()
	var pending []*segment
	for _, s := range l.segments {
		if s.sealed && !s.indexed {
			pending = append(pending, s)
		}
	}
	l.mu.RUnlock()
	for _, s := range pending {
		// A sealed segment's entries change under indexMu only.
		if err := replaceFile(l.indexPath(s.number), encodeIndex(s, s.entries)); err != nil {
			l.log.Error("a segment's index can't be written; it stays in memory until the next segment is sealed", "segment", s.number, "cause", err)
			return
		}
		l.mu.Lock()
		s.entries, s.indexed, s.checked = nil, true, true
		l.mu.Unlock()
	}
}
