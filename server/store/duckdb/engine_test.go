package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/store/storetest"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestMigrations opens files of every schema there has been, with rows in it.
func TestMigrations(t *testing.T) {
	all := migrations()
	for n := range len(all) + 1 {
		path := filepath.Join(t.TempDir(), "store.duckdb")
		db, err := sql.Open("duckdb", path)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := migrate(t.Context(), conn, all[:n]); err != nil {
			t.Fatal(err)
		}
		if n >= 1 {
			_, err := conn.ExecContext(t.Context(), `
				INSERT INTO rollup_day VALUES (0, 1, 2, 'AT', 1, 2, 3, 4, 5, '', 7, 8, 9, 10, NULL, NULL, 0);
				INSERT INTO instances VALUES ('01000000000000000000000000000000', 1, 2, 3, 4, 5, 6, 7);
				INSERT INTO positions VALUES ('a', 5)`)
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(conn.Close(), db.Close()); err != nil {
			t.Fatal(err)
		}
		s := open(t, path, Options{})
		if n >= 1 {
			rows, err := s.Query(t.Context(), store.Query{Metric: 1, Facet: 2, Grain: store.Day, From: time.Unix(0, 0), To: time.Unix(1, 0), ByValue: true, ByDims: []int{0, 1, 2, 3, 4}})
			if err != nil {
				t.Fatal(err)
			}
			want := []store.Row{{
				Key:   store.Key{Grain: store.Day, Metric: 1, Facet: 2, Value: "AT", Dims: wire.Dims{1, 2, 3, 4, 5}},
				Count: 7, Sum: 8, Reports: 9, Top: 10,
			}}
			if d := cmp.Diff(want, rows); d != "" {
				t.Errorf("rows of schema %d (-want +got):\n%s", n, d)
			}
			if p, err := s.Position(t.Context(), "a"); p != 5 || err != nil {
				t.Errorf("position %d: %v", p, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMigrationFails leaves the old schema as it was, and refuses a newer one.
func TestMigrationFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.duckdb")
	db, err := sql.Open("duckdb", path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := migrations()
	bad := append(all, migration{len(all) + 1, "CREATE TABLE half (a INTEGER); SELECT * FROM missing"})
	if err := migrate(t.Context(), conn, bad); err == nil || !strings.Contains(err.Error(), "migrating the schema to version") {
		t.Errorf("a failing migration: %v", err)
	}
	var half, version int
	err = conn.QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM duckdb_tables() WHERE table_name = 'half'), (SELECT max(version) FROM schema_version)").Scan(&half, &version)
	if half != 0 || version != len(all) || err != nil {
		t.Errorf("after a failing migration there is version %d and half of it (%d): %v", version, half, err)
	}
	if _, err := conn.ExecContext(t.Context(), "INSERT INTO schema_version VALUES (1000)"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(conn.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "use the newer program") {
		t.Errorf("opening a newer file: %v", err)
	}
}

// TestSandbox tries what SQL must not do.
func TestSandbox(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "store.duckdb"), Options{})
	secret := filepath.Join(dir, "secret.csv")
	if err := os.WriteFile(secret, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		"SELECT * FROM read_csv('" + secret + "')",
		"SELECT * FROM read_text('" + secret + "')",
		"COPY positions TO '" + filepath.Join(dir, "out.csv") + "'",
		"ATTACH '" + filepath.Join(dir, "other.duckdb") + "'",
		"INSTALL httpfs",
		"SET enable_external_access = true",
		"SET memory_limit = '100GB'",
	} {
		if _, err := s.db.ExecContext(t.Context(), q); err == nil {
			t.Errorf("%s worked", q)
		}
	}
}

// TestLittleMemory compacts and sorts more than fits into the memory allowed.
func TestLittleMemory(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.duckdb"), Options{Memory: 64 << 20, Threads: 1})
	if err := storetest.Fill(t.Context(), s, 150000, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context(), storetest.FillEnd); err != nil {
		t.Fatal(err)
	}
	var levels int
	if err := s.db.QueryRowContext(t.Context(), "SELECT count(*) FROM rollup_window WHERE level = 0").Scan(&levels); err != nil || levels != 0 {
		t.Errorf("%d rows were not compacted: %v", levels, err)
	}
	// Spilling to the disk still works after the configuration is locked.
	_, err := s.db.ExecContext(t.Context(), "CREATE TEMP TABLE big AS SELECT range AS a, md5(range::VARCHAR) AS b FROM range(2000000) ORDER BY b")
	if err != nil {
		t.Error(err)
	}
}

// TestLog commits a lot while queries run: the write-ahead log stays small, and
// what is compacted and dropped gives its room back.
func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.duckdb")
	const limit = 1 << 20
	s := open(t, path, Options{WAL: limit})
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() {
		for ctx.Err() == nil {
			if _, err := s.Query(ctx, store.Query{Metric: 1, Facet: wire.Network, From: time.Unix(0, 0), To: time.Unix(1<<40, 0), ByTime: true, ByValue: true}); err != nil && ctx.Err() == nil {
				stopped <- err
				return
			}
		}
		stopped <- nil
	}()
	var largest, file int64
	for p := range store.Position(300) {
		if err := s.Commit(t.Context(), crashBatch(p)); err != nil {
			t.Fatal(err)
		}
		if i, err := os.Stat(path + ".wal"); err == nil {
			largest = max(largest, i.Size())
		}
	}
	cancel()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if largest > 8*limit {
		t.Errorf("the write-ahead log grew to %d bytes", largest)
	}
	size := func() int64 {
		i, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return i.Size()
	}
	file = size()
	count := func() (n int) {
		if err := s.db.QueryRowContext(t.Context(), "SELECT count(*) FROM rollup_window").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	if err := s.Compact(t.Context(), time.Unix(1<<40, 0)); err != nil {
		t.Fatal(err)
	}
	checkCrash(t, s)
	if want := crashRows * 300 / 50; count() != want {
		t.Errorf("%d rows after compaction of %d, instead of %d", count(), before, want)
	}
	if err := s.DropBefore(t.Context(), store.Window, time.Unix(1<<40, 0)); err != nil {
		t.Fatal(err)
	}
	// The room of what was dropped is used again.
	for p := range store.Position(300) {
		b := crashBatch(p)
		b.Log = "again"
		if err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("largest log %d bytes, file %d bytes, then %d", largest, file, size())
	if size() > 2*file+limit {
		t.Errorf("the file grew from %d to %d bytes", file, size())
	}
}

// TestCompactAmortizes sees that one late row does not rewrite a range.
func TestCompactAmortizes(t *testing.T) {
	s := open(t, "", Options{})
	levels := func() string {
		var out []string
		rows, err := s.db.QueryContext(t.Context(), "SELECT level, count(*) FROM rollup_window GROUP BY ALL ORDER BY ALL")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var level, n int
			if err := rows.Scan(&level, &n); err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("%d:%d", level, n))
		}
		return strings.Join(out, " ")
	}
	p := store.Position(0)
	commit := func(start int64, values int) {
		b := store.Batch{Log: "a", From: p, To: p + 1}
		p++
		for i := range values {
			b.Rows = append(b.Rows, store.Row{Key: store.Key{Start: start, Facet: wire.Network, Value: fmt.Sprintf("AS%05d", i)}, Count: 1})
		}
		if err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	compact := func(before int64, want string) {
		t.Helper()
		if err := s.Compact(t.Context(), time.Unix(before, 0)); err != nil {
			t.Fatal(err)
		}
		if got := levels(); got != want {
			t.Errorf("levels %s, want %s", got, want)
		}
	}
	const day = 86400 // what is sorted at once
	for range 3 {
		commit(0, 100)
		commit(3600, 100)
	}
	compact(0, "0:600")
	compact(1800, "0:300 1:100")
	compact(7200, "1:200")
	commit(0, 5)
	compact(7200, "0:5 1:200") // too few to rewrite for
	compact(day, "2:200")
	commit(0, 5)
	compact(day, "0:5 2:200")
	commit(0, 30)
	compact(day, "2:200")
	commit(day, 1)
	compact(day+1, "1:1 2:200")
}

func TestClosed(t *testing.T) {
	s := open(t, "", Options{})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Position(t.Context(), "a"); !errors.Is(err, ErrClosed) {
		t.Errorf("%v instead of ErrClosed", err)
	}
	if _, err := Open("a?b", Options{}); err == nil {
		t.Error("a path with a question mark was opened")
	}
}
