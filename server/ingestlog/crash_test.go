package ingestlog_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
)

// TestMain makes the test's own binary the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("INGESTLOG_TEST_CHILD"); dir != "" {
		appendUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// appendUntilKilled appends from 8 goroutines and prints each record's number
// once it is acknowledged.
func appendUntilKilled(dir string) {
	first, err := strconv.Atoi(os.Getenv("INGESTLOG_TEST_FIRST"))
	if err != nil {
		panic(err)
	}
	l, err := ingestlog.Open(dir, ingestlog.Options{SegmentBytes: 16 << 10})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	next := make(chan int)
	for range 8 {
		go func() {
			for n := range next {
				if err := l.Append(bg, record(n%5, n)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Println(n) // one write of whole lines
			}
		}()
	}
	for n := first; ; n++ {
		next <- n
	}
}

func TestKilledUnderLoad(t *testing.T) {
	dir := t.TempDir()
	first := 1
	acked := map[uint64]bool{}
	for range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "INGESTLOG_TEST_CHILD="+dir, "INGESTLOG_TEST_FIRST="+strconv.Itoa(first))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			number, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			acked[number] = true
			if n == 40 { // in the midst of appending; what it printed before it died counts
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("the child was not killed: %v", err)
		}
		l, err := ingestlog.Open(dir, ingestlog.Options{SegmentBytes: 16 << 10, Logger: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[uint64]bool{}
		for _, r := range all(t, l, 0, 1<<20) {
			if seen[r.Number] {
				t.Fatalf("record %d is there twice", r.Number)
			}
			seen[r.Number] = true
			if d := cmp.Diff(record(int(r.Number)%5, int(r.Number)), r); d != "" {
				t.Fatal(d)
			}
			first = max(first, int(r.Number)+100)
		}
		for n := range acked {
			if !seen[n] {
				t.Errorf("record %d was acknowledged and is lost", n)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acked) < 20*40 {
		t.Errorf("only %d records were acknowledged", len(acked))
	}
}

func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(from, f.Name()))
		if os.IsNotExist(err) {
			continue // a temporary file
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, f.Name()), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, ingestlog.Options{})
	add(t, l, record(1, 1), record(2, 2))
	whole := int64(l.Durable() & (1<<40 - 1))
	add(t, l, record(1, 3))
	end := int64(l.Durable() & (1<<40 - 1))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	segment := "0000000001.seg"
	want := []ingestlog.Record{record(1, 1), record(2, 2)}
	for size := whole; size < end; size++ {
		for _, zeros := range []bool{false, true} { // the length may reach the disk before the content
			torn := copyDir(t, dir)
			name := filepath.Join(torn, segment)
			if err := os.Truncate(name, size); err != nil {
				t.Fatal(err)
			}
			if zeros {
				if err := os.Truncate(name, end); err != nil {
					t.Fatal(err)
				}
			}
			l, err := ingestlog.Open(torn, ingestlog.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, all(t, l, 0, 1<<20)); d != "" {
				t.Fatalf("cut at %d, zeros %v (-want +got):\n%s", size, zeros, d)
			}
			if size%16 == 0 {
				add(t, l, record(2, 4))
				if d := cmp.Diff(append(want[:2:2], record(2, 4)), all(t, l, 0, 1<<20)); d != "" {
					t.Fatalf("cut at %d, after another record (-want +got):\n%s", size, d)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, size := range []int64{0, 5, 31, 32} { // while the segment was being made
		torn := copyDir(t, dir)
		if err := os.Truncate(filepath.Join(torn, segment), size); err != nil {
			t.Fatal(err)
		}
		l := open(t, torn, ingestlog.Options{})
		if got := all(t, l, 0, 1000); got != nil {
			t.Errorf("%v", got)
		}
		add(t, l, record(1, 1))
	}
}

func TestCopiedUnderLoad(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, ingestlog.Options{SegmentBytes: 20 << 10})
	var mu sync.Mutex
	acked := map[uint64]bool{}
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for g := range 6 {
		wait.Go(func() {
			for n := g; ; n += 6 {
				select {
				case <-stop:
					return
				default:
				}
				if err := l.Append(bg, record(g, n)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[uint64(n)] = true
				mu.Unlock()
			}
		})
	}
	for range 8 {
		time.Sleep(10 * time.Millisecond)
		mu.Lock()
		before := make([]uint64, 0, len(acked))
		for n := range acked {
			before = append(before, n)
		}
		mu.Unlock()
		// Sealed segments' files don't change, and of the last one a prefix is copied.
		snapshot := open(t, copyDir(t, dir), ingestlog.Options{})
		seen := map[uint64]bool{}
		for _, r := range all(t, snapshot, 0, 1<<20) {
			if seen[r.Number] {
				t.Fatalf("record %d is there twice", r.Number)
			}
			seen[r.Number] = true
		}
		for _, n := range before {
			if !seen[n] {
				t.Errorf("record %d was acknowledged before the copy and is not in it", n)
			}
		}
	}
	close(stop)
	wait.Wait()
}

func TestDamage(t *testing.T) {
	dir := t.TempDir()
	o := ingestlog.Options{SegmentBytes: 2000}
	l := open(t, dir, o)
	for n := range 60 {
		add(t, l, record(1, n))
	}
	entries, _, err := l.Read(bg, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	name := func(dir string, p ingestlog.Position) (string, int) {
		return filepath.Join(dir, fmt.Sprintf("%010d.seg", p>>40)), int(p & (1<<40 - 1))
	}
	without := func(n ...int) []ingestlog.Record {
		var rs []ingestlog.Record
		for i, e := range entries {
			gone := false
			for _, n := range n {
				gone = gone || i == n
			}
			if !gone {
				rs = append(rs, e.Record)
			}
		}
		return rs
	}
	for _, c := range []struct {
		name     string
		at, gone int
		offset   int
		noIndex  bool
	}{
		{"payload of a sealed segment's record", 5, 5, 40, false},
		{"the same without its index", 5, 5, 40, true},
		{"header of a sealed segment's record", 6, 6, 1, false},
		{"payload in the last segment", 57, 57, 40, false},
	} {
		bad := copyDir(t, dir)
		file, off := name(bad, entries[c.at].Position)
		flip(t, file, off+c.offset)
		if c.noIndex {
			if err := os.Remove(file[:len(file)-3] + "idx"); err != nil {
				t.Fatal(err)
			}
		}
		l := open(t, bad, o)
		if d := cmp.Diff(without(c.gone), all(t, l, 0, 3000)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
		if got := len(instance(t, l, id(1), start, start.AddDate(0, 0, 1))); got != 59 {
			t.Errorf("%s: %d records by instance, want 59", c.name, got)
		}
	}
	// A file that is no segment is set aside, and the rest goes on.
	bad := copyDir(t, dir)
	file, _ := name(bad, entries[0].Position)
	flip(t, file, 3)
	if err := os.Remove(file[:len(file)-3] + "idx"); err != nil {
		t.Fatal(err)
	}
	l = open(t, bad, o)
	if got := all(t, l, 0, 3000); len(got) == 0 || got[len(got)-1].Number != 59 || got[0].Number == 0 {
		t.Errorf("%d records", len(got))
	}
}
