package ingestlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

func testRecord(n int) Record {
	r := Record{Received: time.Unix(int64(n)*300, 0).UTC(), Number: uint64(n), From: int64(n) * 300, To: int64(n+1) * 300,
		MediaType: wire.TypeProtobuf, Body: bytes.Repeat([]byte{byte(n)}, 100)}
	r.Instance[0] = byte(n % 3)
	return r
}

func numbers(t *testing.T, l *Log) []uint64 {
	t.Helper()
	var ns []uint64
	for from := Position(0); ; {
		entries, next, err := l.Read(context.Background(), from, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			ns = append(ns, e.Record.Number)
		}
		if next == from {
			return ns
		}
		from = next
	}
}

// A fault makes the writers of a log fail.
type fault struct {
	room     atomic.Int64 // bytes that can still be written; a write beyond is cut short, as by a full disk
	sync     atomic.Bool  // the next Datasync fails, and what it should have synced is lost
	truncate atomic.Bool
}

type faultyWriter struct {
	writer
	f    *fault
	name string
}

func (f *fault) open(name string) (writer, error) {
	w, err := openWriter(name)
	return &faultyWriter{w, f, name}, err
}

func (w *faultyWriter) WriteAt(b []byte, off int64) (int, error) {
	if left := w.f.room.Add(-int64(len(b))); left < 0 {
		w.f.room.Add(int64(len(b)))
		n, err := w.writer.WriteAt(b[:len(b)/2], off)
		return n, errors.Join(err, &os.PathError{Op: "write", Path: w.name, Err: syscall.ENOSPC})
	}
	return w.writer.WriteAt(b, off)
}

func (w *faultyWriter) Datasync() error {
	if w.f.sync.CompareAndSwap(true, false) {
		return syscall.EIO
	}
	return w.writer.Datasync()
}

func (w *faultyWriter) Truncate(size int64) error {
	if size > 0 && w.f.truncate.CompareAndSwap(true, false) {
		return syscall.EIO
	}
	return w.writer.Truncate(size)
}

func TestFullDisk(t *testing.T) {
	for _, truncateFails := range []bool{false, true} {
		t.Run(fmt.Sprint("truncate fails ", truncateFails), func(t *testing.T) {
			dir := t.TempDir()
			f := new(fault)
			f.room.Store(1000)
			f.truncate.Store(truncateFails)
			l, err := Open(dir, Options{openWriter: f.open})
			if err != nil {
				t.Fatal(err)
			}
			var want []uint64
			full := false
			for n := 1; n <= 20; n++ {
				err := l.Append(t.Context(), testRecord(n))
				switch {
				case err == nil:
					want = append(want, uint64(n))
				case !errors.Is(err, ErrFull):
					t.Fatal(err)
				default:
					full = true
					if n > 15 {
						f.room.Store(1 << 20) // somebody made room
					}
				}
			}
			if !full || want[len(want)-1] != 20 {
				t.Errorf("acknowledged: %v", want)
			}
			if d := cmp.Diff(want, numbers(t, l)); d != "" {
				t.Errorf("(-acknowledged +read):\n%s", d)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l, err = Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if d := cmp.Diff(want, numbers(t, l)); d != "" {
				t.Errorf("opened again (-acknowledged +read):\n%s", d)
			}
		})
	}
}

func TestFailedSync(t *testing.T) {
	dir := t.TempDir()
	f := new(fault)
	f.room.Store(1 << 30)
	l, err := Open(dir, Options{openWriter: f.open})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 3; n++ {
		if err := l.Append(t.Context(), testRecord(n)); err != nil {
			t.Fatal(err)
		}
	}
	before := l.Durable()
	f.sync.Store(true)
	if err := l.Append(t.Context(), testRecord(4)); !errors.Is(err, syscall.EIO) {
		t.Fatalf("acknowledged although the sync failed: %v", err)
	}
	if l.Durable() != before {
		t.Error("readers are shown what is not durable")
	}
	if err := l.Append(t.Context(), testRecord(5)); err != nil {
		t.Fatal(err)
	}
	if got := l.Durable().segment(); got != before.segment()+1 {
		t.Errorf("appended to segment %d, which had failed", got)
	}
	want := []uint64{1, 2, 3, 5}
	if d := cmp.Diff(want, numbers(t, l)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if d := cmp.Diff(want, numbers(t, l)); d != "" {
		t.Errorf("opened again (-want +got):\n%s", d)
	}
}

// TestEraseInterrupted crashes an erasure after each of its steps.
func TestEraseInterrupted(t *testing.T) {
	for step := range 5 {
		dir := t.TempDir()
		l, err := Open(dir, Options{SegmentBytes: 1000})
		if err != nil {
			t.Fatal(err)
		}
		var places []Position
		var want []uint64
		for n := 1; n <= 30; n++ {
			if err := l.Append(t.Context(), testRecord(n)); err != nil {
				t.Fatal(err)
			}
			if n%3 != 1 {
				want = append(want, uint64(n))
			}
		}
		entries, _, err := l.Read(t.Context(), 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Record.Instance[0] == 1 {
				places = append(places, e.Position)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(l.erasurePath(), encodeErasure(places), 0o600); err != nil {
			t.Fatal(err)
		}
		zero := func(p Position, upTo int64) {
			f, err := os.OpenFile(l.segmentPath(p.segment()), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(make([]byte, upTo), p.offset()+8); err != nil {
				t.Fatal(err)
			}
		}
		whole := int64(4 + metaBytes + 100)
		switch step {
		case 1: // one record in part
			zero(places[0], 30)
		case 2: // the last one in part, the others whole
			for _, p := range places[:len(places)-1] {
				zero(p, whole)
			}
			zero(places[len(places)-1], 30)
		case 3: // all, and the first segment's index
			for _, p := range places {
				zero(p, whole)
			}
			if err := os.Remove(l.indexPath(places[0].segment())); err != nil {
				t.Fatal(err)
			}
		case 4: // and a segment was dropped since
			if err := errors.Join(os.Remove(l.segmentPath(1)), os.Remove(l.indexPath(1))); err != nil {
				t.Fatal(err)
			}
			for want[0] < uint64(1+slicesIndex(entries, 2)) {
				want = want[1:]
			}
		}
		l, err = Open(dir, Options{SegmentBytes: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, numbers(t, l)); d != "" {
			t.Errorf("step %d (-want +got):\n%s", step, d)
		}
		for r, err := range l.Instance(wire.InstanceID{1}, time.Unix(0, 0), time.Unix(1<<40, 0)) {
			t.Errorf("step %d: record %d is still found (%v)", step, r.Number, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "erase*")); left != nil {
			t.Errorf("step %d: %v is left", step, left)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// slicesIndex is the index of the first entry of a segment.
func slicesIndex(entries []Entry, segment uint64) int {
	for i, e := range entries {
		if e.Position.segment() == segment {
			return i
		}
	}
	return len(entries)
}

// FuzzScan walks through arbitrary bytes as a segment and opens them as a log.
func FuzzScan(f *testing.F) {
	seed := encodeSegmentHeader(1)
	for n := range 3 {
		frame, err := encodeFrame(testRecord(n))
		if err != nil {
			f.Fatal(err)
		}
		placeFrame(frame, 1, int64(len(seed)))
		seed = append(seed, frame...)
	}
	f.Add(seed)
	f.Add(seed[:len(seed)-5])
	f.Add([]byte{})
	f.Add(bytes.Replace(seed, bytes.Repeat([]byte{1}, 100), make([]byte, 100), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		visited := 0
		s, err := scan(bytes.NewReader(b), 1, int64(len(b)), func(off int64, r *Record) {
			visited++
			if off < segmentHeader || len(r.Body) > len(b) {
				t.Errorf("a record of %d bytes at %d", len(r.Body), off)
			}
		})
		if err != nil {
			return
		}
		if s.end > s.reached || s.reached > int64(len(b)) || visited > len(b)/metaBytes {
			t.Errorf("%+v, %d records in %d bytes", s, visited, len(b))
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, segmentName(1)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if got := len(numbers(t, l)); got != visited {
			t.Errorf("scanned %d records, read %d", visited, got)
		}
	})
}

func FuzzFiles(f *testing.F) {
	s := &segment{number: 1, size: 500, span: span{records: 1}}
	f.Add(encodeIndex(s, []indexEntry{{offset: 32}}))
	f.Add(encodeErasure([]Position{1 << 40, 1<<40 | 99}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h segment
		h.number = 1
		if readIndexHeader(bytes.NewReader(b), int64(len(b)), &h) == nil {
			if found, err := lookupIndex(bytes.NewReader(b), h.records, wire.InstanceID{}); err != nil || len(found) > h.records {
				t.Errorf("%d of %d entries, %v", len(found), h.records, err)
			}
		}
		if places, err := decodeErasure(b); err == nil {
			if again := encodeErasure(places); !bytes.Equal(again, b) {
				t.Errorf("an erasure of %d places is encoded otherwise", len(places))
			}
		}
		if r, err := decodePayload(b); err == nil {
			frame, err := encodeFrame(r)
			if err != nil && len(b) <= maxPayload {
				t.Fatal(err)
			}
			if err == nil && !bytes.Equal(frame[frameHeader:], b) {
				t.Error("a record is encoded otherwise")
			}
		}
	})
}
