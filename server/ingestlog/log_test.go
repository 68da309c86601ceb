package ingestlog_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/wire"
)

// bg outlives a test.
var bg = context.Background()

var start = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

func id(n int) wire.InstanceID {
	var id wire.InstanceID
	binary.BigEndian.PutUint64(id[:], uint64(n)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

// record is the nth report of an instance, its windows five minutes apart.
func record(instance, n int) ingestlog.Record {
	from := start.Unix() + int64(n)*300
	return ingestlog.Record{
		Received: time.Unix(from+301, int64(n)).UTC(), Instance: id(instance), Number: uint64(n), From: from, To: from + 300,
		Country: "NL", Network: 64496, MediaType: wire.TypeProtobuf,
		Body: bytes.Repeat([]byte{byte(instance), byte(n), 7}, 20+n%50),
	}
}

func open(t testing.TB, dir string, o ingestlog.Options) *ingestlog.Log {
	t.Helper()
	l, err := ingestlog.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func add(t testing.TB, l *ingestlog.Log, rs ...ingestlog.Record) {
	t.Helper()
	for _, r := range rs {
		if err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// all reads the log from a position to its end, in steps of maxBytes.
func all(t testing.TB, l *ingestlog.Log, from ingestlog.Position, maxBytes int) []ingestlog.Record {
	t.Helper()
	var rs []ingestlog.Record
	last := from
	for {
		entries, next, err := l.Read(context.Background(), from, maxBytes)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Position < last {
				t.Fatalf("position %s after %s", e.Position, last)
			}
			last = e.Position
			rs = append(rs, e.Record)
		}
		if next == from {
			if durable := l.Durable(); next != durable {
				t.Fatalf("reading stopped at %s, the log ends at %s", next, durable)
			}
			return rs
		}
		from = next
	}
}

func instance(t testing.TB, l *ingestlog.Log, id wire.InstanceID, from, to time.Time) []ingestlog.Record {
	t.Helper()
	var rs []ingestlog.Record
	for r, err := range l.Instance(id, from, to) {
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return rs
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	small := ingestlog.Options{SegmentBytes: 2000}
	l := open(t, dir, small)
	var want []ingestlog.Record
	for n := range 100 {
		r := record(n%3, n)
		switch n {
		case 5:
			r.MediaType, r.Country, r.Network = wire.TypeJSON, "", 0
		case 6:
			r.Body = []byte{}
		case 7:
			r.Body = bytes.Repeat([]byte("large"), 50_000)
		}
		want = append(want, r)
		add(t, l, r)
	}
	check := func(l *ingestlog.Log) {
		t.Helper()
		for _, max := range []int{1, 500, 70_000, 1 << 20} {
			if d := cmp.Diff(want, all(t, l, 0, max)); d != "" {
				t.Fatalf("in steps of %d bytes (-want +got):\n%s", max, d)
			}
		}
		var ones []ingestlog.Record // the last received first
		for n := 97; n >= 0; n -= 3 {
			ones = append(ones, want[n])
		}
		if d := cmp.Diff(ones, instance(t, l, id(1), start, start.Add(time.Hour*24))); d != "" {
			t.Errorf("by instance (-want +got):\n%s", d)
		}
		// Half-open: the window that ends at from and the one that begins at to are out.
		got := instance(t, l, id(1), start.Add(10*300*time.Second), start.Add(16*300*time.Second))
		if d := cmp.Diff([]ingestlog.Record{want[13], want[10]}, got); d != "" {
			t.Errorf("by instance and time (-want +got):\n%s", d)
		}
		if got := instance(t, l, id(9), start, start.Add(time.Hour*24)); got != nil {
			t.Errorf("of an unknown instance: %v", got)
		}
	}
	check(l)
	entries, _, err := l.Read(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, small)
	check(l)
	for i, e := range entries { // positions stay valid
		if got := all(t, l, e.Position, 1<<20); len(got) != len(want)-i {
			t.Fatalf("from entry %d on there are %d records", i, len(got))
		}
	}
	// Indexes can be rebuilt.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	indexes, _ := filepath.Glob(filepath.Join(dir, "*.idx"))
	if len(indexes) < 5 {
		t.Fatalf("%d indexes", len(indexes))
	}
	for i, name := range indexes {
		if i%2 == 0 {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			continue
		}
		flip(t, name, -1)
	}
	check(open(t, dir, small))
}

// flip damages one byte of a file, counted from its end if negative.
func flip(t testing.TB, name string, at int) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0x55
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, ingestlog.Options{})
	if _, err := ingestlog.Open(dir, ingestlog.Options{}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second Open: %v", err)
	}
	r := record(1, 1)
	r.MediaType = "text/plain"
	if l.Append(t.Context(), r) == nil {
		t.Error("a record of unknown type was taken")
	}
	r = record(1, 1)
	r.Body = make([]byte, 1<<20)
	if l.Append(t.Context(), r) == nil {
		t.Error("a huge record was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Append(ctx, record(1, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if got := all(t, l, 0, 1000); got != nil {
		t.Errorf("what was refused is in the log: %v", got)
	}
	add(t, l, record(1, 1))
	if _, _, err := l.Read(t.Context(), l.Durable()+1, 1000); err == nil {
		t.Error("a position beyond the end was taken")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), record(1, 2)); !errors.Is(err, ingestlog.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestWait(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := open(t, dir, ingestlog.Options{})
		got := make(chan error, 1)
		go func() { got <- l.Wait(t.Context(), 0) }()
		synctest.Wait()
		select {
		case err := <-got:
			t.Fatalf("returned at once: %v", err)
		default:
		}
		add(t, l, record(1, 1))
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.Wait(ctx, l.Durable()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a deadline: %v", err)
		}
		go func() { got <- l.Wait(t.Context(), l.Durable()) }()
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-got; !errors.Is(err, ingestlog.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

func TestMaxBytes(t *testing.T) {
	l := open(t, t.TempDir(), ingestlog.Options{SegmentBytes: 1000, MaxBytes: 4000})
	n := 0
	var err error
	for ; err == nil; n++ {
		err = l.Append(t.Context(), record(1, n))
	}
	if !errors.Is(err, ingestlog.ErrFull) {
		t.Fatal(err)
	}
	n--
	if got := len(all(t, l, 0, 1000)); got != n || l.Size() > 4000 {
		t.Errorf("%d records of %d in %d bytes", got, n, l.Size())
	}
	if err := l.DropBefore(record(1, n/2).Received, l.Durable()); err != nil {
		t.Fatal(err)
	}
	add(t, l, record(1, n)) // there is room again
}

func TestDropBefore(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, ingestlog.Options{SegmentBytes: 1500})
	var positions []ingestlog.Position
	for n := range 60 {
		add(t, l, record(1, n))
	}
	entries, _, err := l.Read(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		positions = append(positions, e.Position)
	}
	first := func() uint64 { return all(t, l, 0, 1<<20)[0].Number }
	if err := l.DropBefore(record(1, 30).Received, positions[10]); err != nil {
		t.Fatal(err)
	}
	if got := first(); got > 10 || got == 0 {
		t.Errorf("up to the position of record 10, dropped up to %d", got)
	}
	if err := l.DropBefore(record(1, 30).Received, l.Durable()); err != nil {
		t.Fatal(err)
	}
	if got := first(); got > 30 || got < 15 {
		t.Errorf("before the time of record 30, dropped up to %d", got)
	}
	// A cursor into what was dropped goes on with what is left.
	if got := all(t, l, positions[3], 1<<20); got[0].Number != first() {
		t.Errorf("an old cursor goes on at %d", got[0].Number)
	}
	if err := l.DropBefore(start.AddDate(1, 0, 0), l.Durable()); err != nil {
		t.Fatal(err)
	}
	if got := all(t, l, 0, 1<<20); got != nil {
		t.Errorf("%d records are left", len(got))
	}
	durable := l.Durable()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, ingestlog.Options{})
	if l.Durable() < durable {
		t.Errorf("positions went back from %s to %s", durable, l.Durable())
	}
	add(t, l, record(1, 99))
	if got := all(t, l, durable, 1<<20); len(got) != 1 || got[0].Number != 99 {
		t.Errorf("after everything was dropped: %v", got)
	}
}

func TestSegmentAge(t *testing.T) {
	now := record(1, 0).Received
	l := open(t, t.TempDir(), ingestlog.Options{Now: func() time.Time { return now }})
	add(t, l, record(1, 0), record(1, 1))
	a := l.Durable()
	now = now.Add(25 * time.Hour)
	add(t, l, record(1, 300))
	if err := l.DropBefore(now.Add(-24*time.Hour), l.Durable()); err != nil {
		t.Fatal(err)
	}
	if got := all(t, l, 0, 1000); len(got) != 1 || a>>40 != 1 || l.Durable()>>40 != 2 {
		t.Errorf("a day's segment was not sealed: %d records, %s", len(got), l.Durable())
	}
}

func TestErase(t *testing.T) {
	dir := t.TempDir()
	o := ingestlog.Options{SegmentBytes: 3000}
	l := open(t, dir, o)
	var keep []ingestlog.Record
	for n := range 90 {
		r := record(n%3, n)
		r.Body = append(bytes.Repeat([]byte("secret of "), 3), r.Instance[:]...)
		if n%3 != 1 {
			keep = append(keep, r)
		}
		add(t, l, r)
	}
	cursor := l.Durable()
	if err := l.Erase(t.Context(), id(1)); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		if d := cmp.Diff(keep, all(t, l, 0, 1<<20)); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if got := instance(t, l, id(1), start, start.AddDate(0, 0, 1)); got != nil {
			t.Errorf("%d records are still found", len(got))
		}
		if got := len(instance(t, l, id(2), start, start.AddDate(0, 0, 1))); got != 30 {
			t.Errorf("%d records of another instance are found", got)
		}
		gone := id(1)
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, gone[:]) {
				t.Errorf("%s still holds the instance's id", filepath.Base(f))
			}
		}
	}
	check()
	if l.Durable() != cursor {
		t.Error("erasing moved the end")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, o)
	check()
	keep = append(keep, record(4, 91))
	add(t, l, record(4, 91))
	check()
	if err := l.Erase(t.Context(), id(77)); err != nil {
		t.Errorf("an unknown instance: %v", err)
	}
}

func TestReport(t *testing.T) {
	report := &wire.Report{Number: 7, Created: start.Unix(), Facts: &wire.Facts{CaddyVersion: "v2.11.9", Os: "linux"},
		Windows: []*wire.Window{{Start: start.Unix(), Seconds: 300, Series: []*wire.Series{
			{Metric: uint32(wire.HTTPPanics), Cells: []uint64{2}, Values: []uint64{3}}}}}}
	asProto, err := proto.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := wire.EncodeJSON(report)
	if err != nil {
		t.Fatal(err)
	}
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for media, body := range map[string][]byte{wire.TypeProtobuf: asProto, wire.TypeJSON: asJSON} {
		got, err := ingestlog.Record{MediaType: media, Body: w.EncodeAll(body, nil)}.Report()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(report, got, protocmp.Transform()); d != "" {
			t.Errorf("%s (-want +got):\n%s", media, d)
		}
	}
	var stream bytes.Buffer // has no size in its header
	sw, err := zstd.NewWriter(&stream)
	if err != nil {
		t.Fatal(err)
	}
	for range 64 {
		if _, err := sw.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := sw.Close(); err != nil {
		t.Fatal(err)
	}
	half := w.EncodeAll(make([]byte, wire.MaxReport/2+1), nil)
	for name, body := range map[string][]byte{
		"not zstd":           asProto,
		"bomb with size":     w.EncodeAll(make([]byte, 64<<20), nil),
		"bomb without size":  stream.Bytes(),
		"two frames":         append(bytes.Clone(half), half...),
		"cut":                w.EncodeAll(asProto, nil)[:12],
		"not a report":       w.EncodeAll([]byte{0xff, 0xff}, nil),
		"empty body, no zst": {1, 2},
	} {
		if _, err := (ingestlog.Record{MediaType: wire.TypeProtobuf, Body: body}).Report(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := (ingestlog.Record{MediaType: "text/plain", Body: w.EncodeAll(asProto, nil)}).Report(); err == nil {
		t.Error("an unknown type was decoded")
	}
}

// testLog sends the log's own messages to the test's.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}
