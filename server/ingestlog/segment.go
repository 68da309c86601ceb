package ingestlog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A segment is what is known of one segment's file.
type segment struct {
	number uint64
	size   int64 // its valid and durable length
	sealed bool
	span
	// entries are those of its records, in the order of the file. They are nil
	// once they are in the index file.
	entries []indexEntry
	indexed bool // the index file is there
	checked bool // and its checksum was seen to match
}

// A span is what a segment's records lie within.
type span struct {
	records     int
	first, last time.Time // received
	from, to    int64     // windows, Unix seconds
}

func (s *span) add(r *Record) {
	if s.records == 0 {
		s.first, s.last, s.from, s.to = r.Received, r.Received, r.From, r.To
	}
	if r.Received.Before(s.first) {
		s.first = r.Received
	}
	if r.Received.After(s.last) {
		s.last = r.Received
	}
	s.from, s.to = min(s.from, r.From), max(s.to, r.To)
	s.records++
}

func (s *segment) end() Position { return position(s.number, s.size) }

func segmentName(number uint64) string { return fmt.Sprintf("%010d.seg", number) }
func indexName(number uint64) string   { return fmt.Sprintf("%010d.idx", number) }

// segmentNumber is the inverse of segmentName, 0 for other names.
func segmentNumber(name string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSuffix(name, ".seg"), 10, 64-offsetBits)
	if err != nil || segmentName(n) != name {
		return 0
	}
	return n
}

var errNotSegment = errors.New("it does not begin as a segment does")

// A scanned is what a walk through a segment's file found.
type scanned struct {
	end     int64 // of the last frame that is whole or erased
	reached int64 // how far the walk came: to the file's end, or to a header that is none
	damaged int   // frames before end that are neither whole nor erased
}

// scan walks through the frames of a segment's file up to size and shows each
// whole one's record, whose body is only valid during the call.
func scan(f io.ReaderAt, number uint64, size int64, visit func(offset int64, r *Record)) (scanned, error) {
	s := scanned{end: segmentHeader, reached: segmentHeader}
	b := bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 256<<10)
	header := make([]byte, segmentHeader)
	if _, err := io.ReadFull(b, header); err != nil {
		if isEOF(err) {
			return s, errNotSegment
		}
		return s, err
	}
	if string(header) != string(encodeSegmentHeader(number)) {
		return s, errNotSegment
	}
	var frame []byte
	damaged := 0
	for {
		head, err := b.Peek(frameHeader)
		if isEOF(err) {
			return s, nil
		} else if err != nil {
			return s, err
		}
		n := frameLength(head, number, s.reached)
		if n == 0 || s.reached+int64(n) > size {
			return s, nil
		}
		if cap(frame) < n {
			frame = make([]byte, n+n/2)
		}
		frame = frame[:n]
		if _, err := io.ReadFull(b, frame); err != nil {
			return s, err
		}
		switch stateOf(frame) {
		case frameDamaged:
			damaged++
		case frameWhole:
			r, err := decodePayload(frame[frameHeader:])
			if err != nil {
				damaged++
				break
			}
			visit(s.reached, &r)
			fallthrough
		case frameErased:
			s.end = s.reached + int64(n)
			s.damaged = damaged
		}
		s.reached += int64(n)
	}
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// load scans a segment's file into s.
func (s *segment) load(f io.ReaderAt, size int64) (scanned, error) {
	s.span, s.entries = span{}, nil
	found, err := scan(f, s.number, size, func(offset int64, r *Record) {
		s.add(r)
		s.entries = append(s.entries, indexEntry{r.Instance, offset, r.From, r.To})
	})
	s.size = found.end
	return found, err
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing the folder: %w", err)
	}
	return nil
}

// replaceFile writes a file so that after a crash it has its old content or
// its new one.
func replaceFile(name string, content []byte) error {
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(filepath.Dir(name))
}
