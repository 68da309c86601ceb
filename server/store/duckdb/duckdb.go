// Package duckdb keeps rollups in one DuckDB file inside the server's process.
//
// In come batches of partial rows (package store has the contract), out go
// merged rows. Guaranteed in between:
//
//   - A batch is one transaction: rows, instances and log position become
//     durable together, by one fsync of the write-ahead log.
//   - Queries read snapshots and wait for nobody. Commits take turns.
//   - The write-ahead log is folded into the file when it exceeds Options.WAL;
//     if that fails, the batch is committed all the same.
//   - After an error that leaves the engine unusable, such as a full disk in
//     the middle of a checkpoint, the next call opens the file again.
//   - SQL can't reach files or the network, nor change the configuration.
//
// Count, Sum, Top and buckets saturate at 2^63-1 and Reports at 2^32-1, so that
// one absurd report can't make a query fail.
package duckdb

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	driver "github.com/duckdb/duckdb-go/v2"

	"github.com/caddy-evergreen/evergreen/server/store"
)

// Options tune a Store. The zero value works.
type Options struct {
	Memory  int64 // bytes the engine may use before it spills to disk; 0 means 1 GiB
	Threads int   // of all queries together; 0 means one per CPU
	WAL     int64 // bytes the write-ahead log may reach before it is folded into the file; 0 means 32 MiB
	Queries int   // that run at once, others wait; 0 means 8
}

func (o Options) withDefaults() Options {
	if o.Memory == 0 {
		o.Memory = 1 << 30
	}
	if o.WAL == 0 {
		o.WAL = 32 << 20
	}
	if o.Queries == 0 {
		o.Queries = 8
	}
	return o
}

// A Store is one DuckDB database.
type Store struct {
	path string
	opts Options

	// Each is a lock that a context can give up waiting for. Who needs several
	// takes them in this order.
	rewriting turn // Compact and DropBefore
	writing   turn // Commit and Forget
	reading   turn // Query

	foldAt int64 // size of the write-ahead log at which folding it is tried again; belongs to writing

	mu     sync.RWMutex // held for reading while db is used, for writing to replace it
	db     *sql.DB      // nil after Close
	gone   bool         // db is closed, and opening it again failed
	broken atomic.Bool  // db must be opened again before it is used
}

var _ store.Store = (*Store)(nil)

// ErrClosed is what a Store answers after Close.
var ErrClosed = errors.New("the store is closed")

// Open opens the database in the file at path, or makes it. An empty path means
// a database in memory, for tests.
func Open(path string, o Options) (*Store, error) {
	if strings.ContainsAny(path, "?%") {
		return nil, fmt.Errorf("opening the store: the path %q holds a question mark or percent sign, which the database driver misreads: choose another folder", path)
	}
	o = o.withDefaults()
	s := &Store{
		path: path, opts: o,
		rewriting: make(turn, 1), writing: make(turn, 1), reading: make(turn, o.Queries),
	}
	db, err := s.open()
	if err != nil {
		return nil, err
	}
	s.db = db
	return s, nil
}

func (s *Store) open() (*sql.DB, error) {
	q := url.Values{
		"memory_limit": {strconv.FormatInt(s.opts.Memory, 10) + "B"},
		// We fold the log ourselves: a commit that does so fails with it.
		"checkpoint_threshold": {"1TB"},
		// Nothing may come from the network.
		"autoinstall_known_extensions": {"false"},
		"autoload_known_extensions":    {"false"},
	}
	if s.opts.Threads > 0 {
		q.Set("threads", strconv.Itoa(s.opts.Threads))
	}
	if s.path != "" {
		q.Set("temp_directory", s.path+".tmp")
	}
	c, err := driver.NewConnector(s.path+"?"+q.Encode(), nil)
	if err != nil {
		return nil, s.openError(err)
	}
	db := sql.OpenDB(c)
	db.SetMaxIdleConns(s.opts.Queries)
	if err := s.prepare(context.Background(), db); err != nil {
		return nil, errors.Join(s.openError(err), db.Close())
	}
	return db, nil
}

// prepare brings a just opened database to where it can be used.
func (s *Store) prepare(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The engine shares a file among all who open it in one process, and our
	// last step locks the configuration: that tells whether we are the first.
	var locked bool
	if err := conn.QueryRowContext(ctx, "SELECT current_setting('lock_configuration')::BOOLEAN").Scan(&locked); err != nil {
		return err
	}
	if locked {
		return errors.New("it is already open in this process")
	}
	if err := migrate(ctx, conn, migrations()); err != nil {
		return err
	}
	if err := registerSketches(conn); err != nil {
		return err
	}
	// A broken engine must leave the file as it is when it is closed.
	_, err = conn.ExecContext(ctx, `PRAGMA disable_checkpoint_on_shutdown;
		SET enable_external_access = false; SET lock_configuration = true`)
	return err
}

// openError says what to do about the commonest reason.
func (s *Store) openError(err error) error {
	if strings.Contains(err.Error(), "Could not set lock on file") {
		return fmt.Errorf("opening the store %s: another process has it open; stop that one first, or give this one another data folder: %w", s.path, err)
	}
	return fmt.Errorf("opening the store %s: %w", s.path, err)
}

// with runs f with the database, which it opens again first if it broke.
func (s *Store) with(f func(*sql.DB) error) error {
	if err := s.repair(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ErrClosed
	}
	err := f(s.db)
	if fatal(err) {
		s.broken.Store(true)
	}
	return err
}

// repair opens the database again if it broke. Whoever uses the broken one
// gets errors and is soon done.
func (s *Store) repair() error {
	if !s.broken.Load() || s.path == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.broken.Load() || s.db == nil {
		return nil
	}
	if !s.gone {
		// What the broken engine says on closing has been said already.
		_ = s.db.Close()
		s.gone = true
	}
	db, err := s.open()
	if err != nil {
		return err
	}
	s.db, s.gone = db, false
	s.broken.Store(false)
	return nil
}

// fatal reports whether err says that the engine must be opened again. It calls
// some errors fatal itself; after a write that failed while it was committing
// or folding its log, it goes on with a state in memory that is not to be
// trusted, whereas what is on the disk is.
func fatal(err error) bool {
	var e *driver.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Type {
	case driver.ErrorTypeFatal, driver.ErrorTypeInternal, driver.ErrorTypeIO:
		return true
	}
	for _, s := range []string{"database has been invalidated", "Failed to commit", "Failed to create checkpoint"} {
		if strings.Contains(e.Msg, s) {
			return true
		}
	}
	return false
}

// Close folds the write-ahead log into the file and closes it.
func (s *Store) Close() error {
	s.writing <- struct{}{}
	defer s.writing.give()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	db := s.db
	s.db = nil
	if s.gone {
		return nil
	}
	var err error
	if s.path != "" && !s.broken.Load() {
		_, err = db.Exec("CHECKPOINT")
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("closing the store %s: %w", s.path, err)
	}
	return nil
}

// A turn is a lock for as many as its capacity.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }

// transact runs f in a transaction of its own connection. Once f is done, the
// commit is no longer given up, so that its outcome is known.
func transact(ctx context.Context, db *sql.DB, f func(*sql.Conn) error) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	final := context.WithoutCancel(ctx)
	if _, err := conn.ExecContext(final, "BEGIN TRANSACTION"); err != nil {
		return err
	}
	if err = f(conn); err == nil {
		if err = ctx.Err(); err == nil {
			_, err = conn.ExecContext(final, "COMMIT")
		}
	}
	if err != nil {
		// Fails where the engine has rolled back by itself. In no case is the
		// connection used again.
		_, _ = conn.ExecContext(final, "ROLLBACK")
		_ = conn.Raw(func(any) error { return sqldriver.ErrBadConn })
	}
	return err
}
