// Package controltest is what the control state promises, as tests that each
// engine passes.
package controltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-evergreen/evergreen/server/control"
)

var accounts = []string{
	`CREATE TABLE accounts (name TEXT NOT NULL PRIMARY KEY, cents BIGINT NOT NULL, seal BYTEA NOT NULL, opened BIGINT NOT NULL);
	 CREATE INDEX accounts_by_cents ON accounts (cents)`,
	`ALTER TABLE accounts ADD COLUMN note TEXT NOT NULL DEFAULT ''`,
}

// empty: an engine may read no bytes as nil.
var empty = cmpopts.EquateEmpty()

type account struct {
	Name, Note string
	Cents      int64
	Seal       []byte
	Opened     time.Time
}

// Run tests the state at a place that nobody else uses. It opens it several
// times, as several servers would.
func Run(t *testing.T, where func(t *testing.T) string) {
	for name, test := range map[string]func(*testing.T, string){
		"what is written is read": values, "an error undoes all": undone, "lost updates": lostUpdates,
		"write skew": writeSkew, "a view does not change": unchanging, "migrations": migrations,
		"servers migrate together": together, "conflict": conflict, "a panic undoes all": panicking,
	} {
		t.Run(name, func(t *testing.T) { test(t, where(t)) })
	}
}

func open(t *testing.T, where string) *control.DB {
	t.Helper()
	db, err := control.Open(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func migrated(t *testing.T, where string) *control.DB {
	t.Helper()
	db := open(t, where)
	if err := db.Migrate(t.Context(), "accounts", accounts); err != nil {
		t.Fatal(err)
	}
	return db
}

const insert = "INSERT INTO accounts (name, cents, seal, opened, note) VALUES ($1, $2, $3, $4, $5)"

func put(ctx context.Context, tx *sql.Tx, a account) error {
	_, err := tx.ExecContext(ctx, insert, a.Name, a.Cents, a.Seal, control.Micros(a.Opened), a.Note)
	return err
}

func mustPut(t *testing.T, db *control.DB, as ...account) {
	t.Helper()
	for _, a := range as {
		if a.Seal == nil {
			a.Seal = []byte{}
		}
		if err := db.Tx(t.Context(), func(tx *sql.Tx) error { return put(t.Context(), tx, a) }); err != nil {
			t.Fatal(err)
		}
	}
}

func all(t *testing.T, db *control.DB) map[string]account {
	t.Helper()
	var got map[string]account
	if err := db.Read(t.Context(), func(tx *sql.Tx) (err error) {
		got, err = query(t.Context(), tx)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func query(ctx context.Context, tx *sql.Tx) (map[string]account, error) {
	rows, err := tx.QueryContext(ctx, "SELECT name, cents, seal, opened, note FROM accounts")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	got := map[string]account{}
	for rows.Next() {
		var a account
		var opened int64
		if err := rows.Scan(&a.Name, &a.Cents, &a.Seal, &opened, &a.Note); err != nil {
			return nil, err
		}
		a.Opened = control.Time(opened)
		got[a.Name] = a
	}
	return got, rows.Err()
}

func values(t *testing.T, where string) {
	db := migrated(t, where)
	want := map[string]account{
		"ä'\"; --": {Name: "ä'\"; --", Cents: -1 << 62, Seal: []byte{0, 1, 255}, Opened: time.Date(2026, 11, 21, 1, 2, 3, 4000, time.UTC), Note: "$1 ? ?1 \n"},
		"never":    {Name: "never", Cents: 1<<63 - 1, Seal: []byte{}},
	}
	for _, a := range want {
		mustPut(t, db, a)
	}
	if diff := cmp.Diff(want, all(t, db), empty); diff != "" {
		t.Error("what was read (-want +got):\n" + diff)
	}
	// Parameters are numbered, not counted.
	var name string
	if err := db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRowContext(t.Context(), "SELECT name FROM accounts WHERE cents < $2 AND cents < $2 AND name <> $1", "never", 0).Scan(&name)
	}); err != nil || name != "ä'\"; --" {
		t.Errorf("the one below zero is %q, %v", name, err)
	}
	// Another server sees it, and so does the next life.
	if diff := cmp.Diff(want, all(t, migrated(t, where)), empty); diff != "" {
		t.Error("what was read by another (-want +got):\n" + diff)
	}
}

func undone(t *testing.T, where string) {
	db := migrated(t, where)
	mustPut(t, db, account{Name: "a", Cents: 1})
	mine := errors.New("mine")
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(t.Context(), "UPDATE accounts SET cents = 2"); err != nil {
			return err
		}
		if err := put(t.Context(), tx, account{Name: "b", Seal: []byte{}}); err != nil {
			return err
		}
		return mine
	})
	if !errors.Is(err, mine) {
		t.Errorf("the error is %v, not what the function returned", err)
	}
	if diff := cmp.Diff(map[string]account{"a": {Name: "a", Cents: 1, Seal: []byte{}}}, all(t, db), empty); diff != "" {
		t.Error("after the error (-want +got):\n" + diff)
	}
	if err := db.Read(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "UPDATE accounts SET cents = 3")
		return err
	}); err == nil {
		t.Error("Read lets write")
	}
}

func panicking(t *testing.T, where string) {
	db := migrated(t, where)
	func() {
		defer func() { recover() }()
		db.Tx(t.Context(), func(tx *sql.Tx) error {
			if err := put(t.Context(), tx, account{Name: "b", Seal: []byte{}}); err != nil {
				t.Error(err)
			}
			panic("in a transaction")
		})
	}()
	mustPut(t, db, account{Name: "a", Cents: 1}) // nothing is locked
	if diff := cmp.Diff(map[string]account{"a": {Name: "a", Cents: 1, Seal: []byte{}}}, all(t, db), empty); diff != "" {
		t.Error("after the panic (-want +got):\n" + diff)
	}
}

// lostUpdates has two servers add to the same number from many goroutines.
func lostUpdates(t *testing.T, where string) {
	servers := []*control.DB{migrated(t, where), migrated(t, where)}
	mustPut(t, servers[0], account{Name: "a"})
	const workers, each = 3, 5
	var wg sync.WaitGroup
	for _, db := range servers {
		for range workers {
			wg.Go(func() {
				for range each {
					if err := db.Tx(t.Context(), func(tx *sql.Tx) error {
						var n int64
						if err := tx.QueryRowContext(t.Context(), "SELECT cents FROM accounts WHERE name = $1", "a").Scan(&n); err != nil {
							return err
						}
						_, err := tx.ExecContext(t.Context(), "UPDATE accounts SET cents = $1 WHERE name = $2", n+1, "a")
						return err
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if got := all(t, servers[0])["a"].Cents; got != 2*workers*each {
		t.Errorf("%d additions made %d", 2*workers*each, got)
	}
}

// writeSkew has each server write where the other looks: without serializable
// transactions both would find the place empty.
func writeSkew(t *testing.T, where string) {
	servers := []*control.DB{migrated(t, where), migrated(t, where)}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := servers[i%2].Tx(t.Context(), func(tx *sql.Tx) error {
				var n int64
				if err := tx.QueryRowContext(t.Context(), "SELECT count(*) FROM accounts").Scan(&n); err != nil || n > 0 {
					return err
				}
				return put(t.Context(), tx, account{Name: fmt.Sprint(i), Seal: []byte{}})
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(all(t, servers[0])); n != 1 {
		t.Errorf("%d found that none was there before them", n)
	}
}

func unchanging(t *testing.T, where string) {
	db := migrated(t, where)
	mustPut(t, db, account{Name: "a", Cents: 1})
	if err := db.Read(t.Context(), func(tx *sql.Tx) error {
		before, err := query(t.Context(), tx)
		if err != nil {
			return err
		}
		mustPut(t, db, account{Name: "b"}) // and it does not wait for us
		after, err := query(t.Context(), tx)
		if diff := cmp.Diff(before, after); diff != "" {
			t.Error("a view changed:\n" + diff)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if n := len(all(t, db)); n != 2 {
		t.Errorf("the next view has %d accounts, not 2", n)
	}
}

func migrations(t *testing.T, where string) {
	ctx, db := t.Context(), open(t, where)
	// From the oldest, with rows in it.
	if err := db.Migrate(ctx, "accounts", accounts[:1]); err != nil {
		t.Fatal(err)
	}
	if err := db.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO accounts (name, cents, seal, opened) VALUES ($1, 7, $2, 0)", "old", []byte{9})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	bad := append(append([]string(nil), accounts...), "CREATE TABLE more (n BIGINT NOT NULL); CREATE TABEL")
	if err := db.Migrate(ctx, "accounts", bad); err == nil || !strings.Contains(err.Error(), "step 3") {
		t.Errorf("a step that is no SQL gets %v", err)
	}
	want := map[string]account{"old": {Name: "old", Cents: 7, Seal: []byte{9}}}
	if diff := cmp.Diff(want, all(t, db), empty); diff != "" {
		t.Error("after the second step (-want +got):\n" + diff)
	}
	// The first half of the third was undone, so that it can be made good.
	better := append(append([]string(nil), accounts...), "CREATE TABLE more (n BIGINT NOT NULL)")
	for range 2 {
		if err := db.Migrate(ctx, "accounts", better); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Migrate(ctx, "accounts", accounts); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("an older program gets %v", err)
	}
	changed := append([]string{accounts[0] + " "}, better[1:]...)
	if err := db.Migrate(ctx, "accounts", changed); err == nil || !strings.Contains(err.Error(), "step 1") {
		t.Errorf("a changed step gets %v", err)
	}
	// Another component counts for itself.
	if err := db.Migrate(ctx, "other", []string{"CREATE TABLE other (n BIGINT NOT NULL)"}); err != nil {
		t.Error(err)
	}
}

func together(t *testing.T, where string) {
	var wg sync.WaitGroup
	for range 6 {
		db := open(t, where)
		wg.Go(func() {
			if err := db.Migrate(t.Context(), "accounts", accounts); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	mustPut(t, open(t, where), account{Name: "a"})
}

func conflict(t *testing.T, where string) {
	db := migrated(t, where)
	mustPut(t, db, account{Name: "a"})
	err := db.Tx(t.Context(), func(tx *sql.Tx) error { return put(t.Context(), tx, account{Name: "a", Seal: []byte{}}) })
	if !control.Conflict(err) {
		t.Errorf("a second of the same name gets %v, which is no conflict", err)
	}
	err = db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "INSERT INTO accounts (name, cents, seal, opened) VALUES ('b', 1, NULL, 0)")
		return err
	})
	if err == nil || control.Conflict(err) {
		t.Errorf("a missing value gets %v, which should be an error but no conflict", err)
	}
}
