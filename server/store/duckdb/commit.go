package duckdb

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"strconv"

	driver "github.com/duckdb/duckdb-go/v2"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// tables are the rollups by grain.
var tables = [len(store.Grains)]string{"rollup_window", "rollup_hour", "rollup_day"}

// table is the table of a grain.
func table(g store.Grain) (string, error) {
	if int(g) >= len(tables) {
		return "", fmt.Errorf("grain %d does not exist", g)
	}
	return tables[g], nil
}

// Position implements store.Store.
func (s *Store) Position(ctx context.Context, log string) (p store.Position, err error) {
	err = s.with(func(db *sql.DB) error {
		p, err = position(ctx, db, log)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("reading the position of log %q: %w", log, err)
	}
	return p, nil
}

// querier is a database or one of its connections.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func position(ctx context.Context, db querier, log string) (store.Position, error) {
	var p uint64
	err := db.QueryRowContext(ctx, "SELECT position FROM positions WHERE log = ?", []byte(log)).Scan(&p)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	return store.Position(p), nil
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, b store.Batch) error { return s.add(ctx, b, fresh) }

// add commits a batch whose rows are of a level of compaction.
func (s *Store) add(ctx context.Context, b store.Batch, level uint8) error {
	if err := check(b); err != nil {
		return fmt.Errorf("committing a batch of log %q: %w", b.Log, err)
	}
	if err := s.writing.take(ctx); err != nil {
		return err
	}
	defer s.writing.give()
	err := s.with(func(db *sql.DB) error {
		return transact(ctx, db, func(conn *sql.Conn) error { return commit(ctx, conn, b, level) })
	})
	if err != nil {
		return fmt.Errorf("committing log %q from %d to %d: %w", b.Log, b.From, b.To, err)
	}
	// The batch is committed, whatever comes of this.
	if wal, err := os.Stat(s.path + ".wal"); s.path != "" && err == nil && wal.Size() > max(s.foldAt, s.opts.WAL) {
		s.foldAt = 0
		if s.foldLog(context.WithoutCancel(ctx)) != nil {
			s.foldAt = 2 * wal.Size() // trying after each commit would be slow
		}
	}
	return nil
}

// check refuses what could not be stored or could not be read again.
func check(b store.Batch) error {
	if b.To <= b.From {
		return fmt.Errorf("it ends at %d, which is not after its begin at %d", b.To, b.From)
	}
	for i := range b.Rows {
		r := &b.Rows[i]
		if int(r.Grain) >= len(tables) {
			return fmt.Errorf("row %d has grain %d, which does not exist", i, r.Grain)
		}
		if r.Buckets != nil && len(r.Buckets) != wire.Buckets {
			return fmt.Errorf("row %d has %d buckets instead of %d", i, len(r.Buckets), wire.Buckets)
		}
		if n := len(r.Registers); r.Registers != nil && (bits.OnesCount(uint(n)) != 1 || n > maxRegisters) {
			return fmt.Errorf("row %d has %d registers, which is not a power of two up to %d", i, n, maxRegisters)
		}
	}
	return nil
}

func commit(ctx context.Context, conn *sql.Conn, b store.Batch, level uint8) error {
	at, err := position(ctx, conn, b.Log)
	if err != nil {
		return err
	}
	if at != b.From {
		return fmt.Errorf("the log is at %d: %w", at, store.ErrPosition)
	}
	err = conn.Raw(func(c any) error {
		for g, t := range tables {
			if err := appendRows(ctx, c.(sqldriver.Conn), t, store.Grain(g), b.Rows, level); err != nil {
				return fmt.Errorf("appending to %s: %w", t, err)
			}
		}
		if err := mergeInstances(ctx, c.(sqldriver.Conn), b.Instances); err != nil {
			return fmt.Errorf("storing %d instances: %w", len(b.Instances), err)
		}
		if err := mergeIncidents(ctx, c.(sqldriver.Conn), b.Incidents); err != nil {
			return fmt.Errorf("storing %d incidents: %w", len(b.Incidents), err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The driver's conversion refuses integers from 2^63 on: give it digits.
	to := strconv.FormatUint(uint64(b.To), 10)
	res, err := conn.ExecContext(ctx, "UPDATE positions SET position = ?::VARCHAR::UBIGINT WHERE log = ?", to, []byte(b.Log))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	_, err = conn.ExecContext(ctx, "INSERT INTO positions VALUES (?, ?::VARCHAR::UBIGINT)", []byte(b.Log), to)
	return err
}

// checkEvery is how many rows are appended between two looks at the context,
// which the engine's appender does not know.
const checkEvery = 4096

// appendRows appends those of rows that have grain g. Rows are sorted by grain
// first, but that is not relied upon.
func appendRows(ctx context.Context, conn sqldriver.Conn, table string, g store.Grain, rows []store.Row, level uint8) error {
	var a *driver.Appender
	for i := range rows {
		r := &rows[i]
		if r.Grain != g {
			continue
		}
		if a == nil {
			var err error
			if a, err = driver.NewAppenderFromConn(conn, "", table); err != nil {
				return err
			}
		}
		if i%checkEvery == 0 && ctx.Err() != nil {
			return errors.Join(ctx.Err(), a.Close()) // what Close flushes is rolled back
		}
		var buckets, registers any
		if r.Buckets != nil {
			buckets = encodeBuckets(r.Buckets)
		}
		if r.Registers != nil {
			registers = encodeRegisters(r.Registers)
		}
		// Strings go as bytes: the driver cuts a string at its first NUL.
		err := a.AppendRow(r.Start, uint16(r.Metric), uint8(r.Facet), []byte(r.Value),
			r.Dims[0], r.Dims[1], r.Dims[2], r.Dims[3], r.Dims[4], []byte(r.Label),
			saturate(r.Count), saturate(r.Sum), int64(r.Reports), saturate(r.Top), buckets, registers, level)
		if err != nil {
			return errors.Join(err, a.Close())
		}
	}
	if a == nil {
		return nil
	}
	return a.Close()
}
