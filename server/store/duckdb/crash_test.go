package duckdb

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// childEnv tells the test binary to be a child process of a test: "commit PATH",
// "open PATH" or "full PATH".
const childEnv = "EVERGREEN_TEST_STORE_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		if err := child(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(job string) error {
	verb, path, _ := strings.Cut(job, " ")
	// A small log makes checkpoints frequent: being killed in one is the point.
	s, err := Open(path, Options{WAL: 1 << 18})
	if err != nil {
		return err
	}
	switch verb {
	case "open":
		return s.Close()
	case "full":
		return childFull(s)
	}
	ctx := context.Background()
	p, err := s.Position(ctx, "crash")
	if err != nil {
		return err
	}
	fmt.Println("ready", p)
	go func() {
		for ctx.Err() == nil {
			if err := s.Compact(ctx, time.Unix(1<<40, 0)); err != nil {
				fmt.Fprintln(os.Stderr, "compacting:", err)
				os.Exit(1)
			}
		}
	}()
	for ; ; p++ {
		if err := s.Commit(ctx, crashBatch(p)); err != nil {
			return err
		}
		fmt.Println(p + 1)
	}
}

const crashRows = 300

// crashBatch is what position p adds. It is the same whoever makes it.
func crashBatch(p store.Position) store.Batch {
	b := store.Batch{Log: "crash", From: p, To: p + 1}
	for i := range crashRows {
		r := store.Row{
			Key:   store.Key{Start: int64(p/50) * 300, Metric: wire.MetricID(i % 3), Facet: wire.Network, Value: fmt.Sprintf("AS%05d", i)},
			Count: uint64(p) + 1, Sum: 1, Reports: 1, Top: uint64(p),
		}
		if i%3 == 0 {
			r.Buckets = make([]uint64, wire.Buckets)
			r.Buckets[p%wire.Buckets] = 1
		}
		b.Rows = append(b.Rows, r)
	}
	for i := range 20 {
		b.Instances = append(b.Instances, store.Instance{ID: wire.InstanceID{byte(p % 10), byte(i)}, High: uint64(p)})
	}
	return b
}

// checkCrash compares what is in s with what the log's position says.
func checkCrash(t *testing.T, s *Store) store.Position {
	t.Helper()
	ctx := t.Context()
	p, err := s.Position(ctx, "crash")
	if err != nil {
		t.Fatal(err)
	}
	for m := range wire.MetricID(3) {
		rows, err := s.Query(ctx, store.Query{Metric: m, Facet: wire.Network, From: time.Unix(0, 0), To: time.Unix(1<<40, 0)})
		if err != nil {
			t.Fatal(err)
		}
		var got, want store.Row
		if len(rows) > 0 {
			got = rows[0]
		}
		if n := uint64(p); n > 0 {
			const each = crashRows / 3
			want = store.Row{
				Key:   store.Key{Metric: m, Facet: wire.Network},
				Count: each * n * (n + 1) / 2, Sum: each * n, Reports: uint32(each * n), Top: n - 1,
			}
			if m == 0 {
				want.Buckets = make([]uint64, wire.Buckets)
				for i := range n {
					want.Buckets[i%wire.Buckets] += each
				}
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("metric %d at position %d (-want +got):\n%s", m, p, d)
		}
	}
	var ids []wire.InstanceID
	for i := range 10 {
		ids = append(ids, wire.InstanceID{byte(i), 19})
	}
	ins, err := s.Instances(ctx, ids)
	if err != nil {
		t.Fatal(err)
	}
	if len(ins) != int(min(p, 10)) {
		t.Fatalf("%d instances at position %d", len(ins), p)
	}
	for _, in := range ins {
		// The last position that is not after p and touched the instance.
		want := uint64(p-1) - (uint64(p-1)+10-uint64(in.ID[0]))%10
		if in.High != want {
			t.Fatalf("instance %d is at %d instead of %d at position %d", in.ID[0], in.High, want, p)
		}
	}
	return p
}

// TestKilled kills a process that commits and compacts, again and again: all
// that it acknowledged is there, and everything counts once.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.duckdb")
	rnd := rand.New(rand.NewPCG(1, 1))
	kills := 12
	if s := os.Getenv("EVERGREEN_TEST_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	var acked store.Position
	ahead := 0
	for range kills {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"=commit "+path)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(out)
		if !in.Scan() || !strings.HasPrefix(in.Text(), "ready ") {
			t.Fatalf("the child did not start: %q %v", in.Text(), cmd.Wait())
		}
		// Not before it has committed, and then at any moment.
		for range 1 + rnd.IntN(60) {
			if !in.Scan() {
				t.Fatalf("the child ended: %v: %s", cmd.Wait(), &stderr)
			}
			acked = parsePosition(t, in.Text())
		}
		time.Sleep(time.Duration(rnd.IntN(8000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for in.Scan() {
			acked = parsePosition(t, in.Text())
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // it was killed

		s := open(t, path, Options{})
		p := checkCrash(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if p < acked || p > acked+1 {
			t.Fatalf("position %d after %d was acknowledged", p, acked)
		}
		if p > acked {
			ahead++
		}
		acked = p
	}
	t.Logf("%d kills, %d batches, %d committed but not acknowledged", kills, acked, ahead)
}

func parsePosition(t *testing.T, s string) store.Position {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return store.Position(n)
}

// TestTwoProcesses has another process open what is open.
func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.duckdb")
	s := open(t, path, Options{})
	run := func() (string, error) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"=open "+path)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run(); err == nil || !strings.Contains(out, "another process has it open") {
		t.Errorf("the other process: %v: %s", err, out)
	}
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "already open in this process") {
		t.Errorf("opening twice in a process: %v", err)
	}
	if err := s.Commit(t.Context(), crashBatch(0)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := run(); err != nil {
		t.Errorf("the other process, afterwards: %v: %s", err, out)
	}
	checkCrash(t, open(t, path, Options{}))
}
