package control_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/control/controltest"
)

func TestSQLite(t *testing.T) {
	controltest.Run(t, func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "control.db") })
}

func TestSQLiteFile(t *testing.T) {
	// A name that is none in a URL, in a folder that is not there.
	path := filepath.Join(t.TempDir(), "state of x", "a?b#c%20d.db")
	db, err := control.Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), "x", []string{"CREATE TABLE x (n BIGINT NOT NULL)"}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Mode().Perm(); got != 0o600 {
		t.Errorf("others may read the file: %v", got)
	}
	if err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		got := map[string]string{}
		for _, p := range []string{"journal_mode", "synchronous", "foreign_keys"} {
			var v string
			if err := tx.QueryRowContext(t.Context(), "PRAGMA "+p).Scan(&v); err != nil {
				return err
			}
			got[p] = v
		}
		if diff := cmp.Diff(map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"}, got); diff != "" {
			t.Error("what durability rests on (-want +got):\n" + diff)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for where, want := range map[string]string{
		"":                      "sqlite:PATH",
		"mysql://x":             "sqlite:PATH",
		"sqlite:":               "path of a file",
		"sqlite::memory:":       "path of a file",
		"sqlite:" + t.TempDir(): "directory",
		"postgres://u:secret@127.0.0.1:1/x?connect_timeout=2": "PostgreSQL",
		"postgres://u:secret@h:port/x":                        "PostgreSQL",
	} {
		db, err := control.Open(t.Context(), where)
		if err == nil {
			db.Close()
			t.Errorf("Open(%q) opens", where)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q) says %q: it should name %q, and no password", where, err, want)
		}
	}
}

func TestSteps(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	got, err := control.Steps(fstest.MapFS{"002_b.sql": file("b"), "001_a.sql": file("a"), "readme.md": file("c")})
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	if _, err := control.Steps(fstest.MapFS{"001_a.sql": file("a"), "003_b.sql": file("b")}); err == nil {
		t.Error("a step that is missing is not missed")
	}
}

func TestTime(t *testing.T) {
	for _, want := range []time.Time{{}, time.Date(2026, 11, 21, 1, 2, 3, 4000, time.UTC), time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if got := control.Time(control.Micros(want)); !got.Equal(want) {
			t.Errorf("%v comes back as %v", want, got)
		}
	}
}
