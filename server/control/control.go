// Package control keeps the relational state of the update service: releases,
// rollouts, the queue of builds. It holds no table of its own but the list of
// steps that made the others.
//
// In come SQL statements of the packages that own tables, inside transactions;
// out come their rows. Two engines answer: SQLite, a file, for one server, and
// PostgreSQL for several that share it.
//
// # Guarantees
//
// What a transaction wrote is on disk when Tx returns nil, and is wholly there
// or not at all, whenever the process or the machine ends.
//
// Transactions are serializable: each sees the state that some order of all of
// them, one after the other, would have left. So "look, then write what
// follows" needs no lock. What loses a race is run again.
//
// # One SQL for both
//
// Statements are written once, in what both engines understand:
//
//   - parameters are $1, $2, …;
//   - columns are TEXT, BIGINT or BYTEA, NOT NULL where they can be. Truths are
//     BIGINT 0 and 1; moments are BIGINT microseconds since 1970 (Micros, Time);
//   - no bytes may be read as nil;
//   - keys are made by the caller, or are max + 1 within a transaction:
//     neither's own sequences;
//   - INSERT … ON CONFLICT … DO UPDATE and RETURNING are known to both;
//   - text is compared byte by byte in SQLite and as the database was made in
//     PostgreSQL: ORDER BY text only where the order does not matter, or sort in Go.
package control

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// A DB is the control state. Its methods may be called from several goroutines.
type DB struct {
	// write and read are one pool with PostgreSQL. With SQLite, write has a
	// single connection, so that writers wait in Go rather than fail as busy,
	// and read has others, which a writer does not hold up.
	write, read *sql.DB
	engine      engine
}

type engine int

const (
	engineSQLite engine = iota
	enginePostgres
)

const (
	maxConns    = 8
	maxAttempts = 12
	openTimeout = 20 * time.Second
)

// Open opens the state at "sqlite:PATH" (a file, made if it is not there, with
// its folder, readable by this user only) or "postgres://USER@HOST/DATABASE".
// Errors tell no password.
func Open(ctx context.Context, where string) (*DB, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	scheme, path, _ := strings.Cut(where, ":")
	switch scheme {
	case "sqlite":
		d, err := openSQLite(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("opening the control state in the file %q: %w", path, err)
		}
		return d, nil
	case "postgres", "postgresql":
		d, err := openPostgres(ctx, where)
		if err != nil {
			return nil, fmt.Errorf("opening the control state in PostgreSQL: %w", err)
		}
		return d, nil
	}
	return nil, fmt.Errorf(`the control state's place begins with %.20q: write "sqlite:PATH" or "postgres://USER@HOST/DATABASE"`, scheme)
}

func openSQLite(ctx context.Context, path string) (*DB, error) {
	path = strings.TrimPrefix(path, "//")
	if path == "" || path == ":memory:" {
		return nil, errors.New("it needs the path of a file")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	// It holds hashes of tokens: SQLite itself would make it readable for all.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	open := func(conns int, pragmas ...string) (*sql.DB, error) {
		q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{
			"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		}, pragmas...)}
		if conns > 1 {
			q.Set("_txlock", "deferred")
		}
		u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}
		db, err := sql.Open("sqlite", u.String())
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(conns)
		db.SetMaxIdleConns(conns)
		if err := db.PingContext(ctx); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return db, nil
	}
	write, err := open(1)
	if err != nil {
		return nil, err
	}
	read, err := open(maxConns, "query_only(1)")
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return &DB{write: write, read: read, engine: engineSQLite}, nil
}

func openPostgres(ctx context.Context, where string) (*DB, error) {
	if _, err := pgx.ParseConfig(where); err != nil {
		return nil, err // pgx leaves the password out
	}
	db, err := sql.Open("pgx", where)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2 * maxConns)
	db.SetMaxIdleConns(maxConns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &DB{write: db, read: db, engine: enginePostgres}, nil
}

// Close waits for what runs, and ends it.
func (d *DB) Close() error {
	if d.read == d.write {
		return d.write.Close()
	}
	return errors.Join(d.read.Close(), d.write.Close())
}

// Tx runs f in a transaction, and runs it again if it lost a race with
// another: f must have no effect but through its transaction, and must read
// all rows of a query before it asks the next. An error of f undoes all.
//
// An error after which it is not known whether the transaction was kept (the
// database went away while it was being committed) is returned, not retried.
func (d *DB) Tx(ctx context.Context, f func(*sql.Tx) error) error {
	return retry(ctx, func() error {
		return within(ctx, d.write, &sql.TxOptions{Isolation: d.isolation(sql.LevelSerializable)}, f)
	})
}

// Read runs f with one unchanging view of the state, and waits for no writer.
// f may be run again; it can't write.
func (d *DB) Read(ctx context.Context, f func(*sql.Tx) error) error {
	opts := &sql.TxOptions{Isolation: d.isolation(sql.LevelRepeatableRead)}
	opts.ReadOnly = d.engine == enginePostgres // SQLite's connections are so by pragma
	return retry(ctx, func() error { return within(ctx, d.read, opts, f) })
}

// isolation is l where levels can be chosen. SQLite has but one.
func (d *DB) isolation(l sql.IsolationLevel) sql.IsolationLevel {
	if d.engine == engineSQLite {
		return sql.LevelDefault
	}
	return l
}

func within(ctx context.Context, db *sql.DB, opts *sql.TxOptions, f func(*sql.Tx) error) (err error) {
	tx, err := db.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	// Also when f panics; after Commit it does nothing.
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// retry runs f until it does not lose a race.
func retry(ctx context.Context, f func() error) error {
	pause := 2 * time.Millisecond
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || !lostRace(err) {
			return err
		}
		if attempt == maxAttempts {
			return fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(rand.N(pause) + time.Millisecond):
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
}

// lostRace tells whether the engine undid a transaction for the sake of
// another, or never began it.
func lostRace(err error) bool {
	if s := (*sqlite.Error)(nil); errors.As(err, &s) {
		code := s.Code() & 0xff // extended codes have the cause in their higher bits
		return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
	}
	if p := (*pgconn.PgError)(nil); errors.As(err, &p) {
		return p.Code == "40001" || p.Code == "40P01" // serialization failure, deadlock
	}
	return false
}

// Conflict tells whether err is of a row whose key is there already.
func Conflict(err error) bool {
	if s := (*sqlite.Error)(nil); errors.As(err, &s) {
		return s.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || s.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE
	}
	p := (*pgconn.PgError)(nil)
	return errors.As(err, &p) && p.Code == "23505"
}

// Micros is how a moment is kept; the zero time is 0.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time is the inverse of Micros, in UTC.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
