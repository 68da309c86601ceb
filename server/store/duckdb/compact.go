package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	driver "github.com/duckdb/duckdb-go/v2"

	"github.com/caddy-evergreen/evergreen/server/store"
)

// The levels of rows.
const (
	fresh  = 0 // as committed
	folded = 1 // equal keys of a short range merged
	sorted = 2 // a long range sorted by metric and facet
)

// A tier is a step of compaction: ranges of time, aligned to their length, in
// which rows of a lower level become rows of this one.
type tier struct {
	level  int
	length [len(store.Grains)]int64 // seconds
	// Bytes of memory that rewriting takes a row: a range with more rows than
	// fit is rewritten in pieces. Grouping needs them, sorting spills well.
	memory int64
}

var (
	fold = tier{folded, [...]int64{3600, 6 * 3600, 86400}, 2048}
	sort = tier{sorted, [...]int64{86400, 7 * 86400, 32 * 86400}, 64}
)

// A range is rewritten when at least one in amortize of its rows is new to the
// tier, so that a few late rows don't rewrite a day, and each row is rewritten
// a bounded number of times.
const amortize = 8

// Compact implements store.Store. It takes one range after another, each in a
// transaction of its own, which commits and queries don't wait for.
func (s *Store) Compact(ctx context.Context, before time.Time) error {
	if err := s.rewriting.take(ctx); err != nil {
		return err
	}
	defer s.rewriting.give()
	rewrote := false
	for g, t := range tables {
		n, err := s.compact(ctx, t, store.Grain(g), seconds(before))
		rewrote = rewrote || n > 0
		if err != nil {
			return fmt.Errorf("compacting %s: %w", t, err)
		}
	}
	if !rewrote {
		return nil
	}
	return s.checkpoint(ctx)
}

// compact returns how many ranges it has rewritten.
func (s *Store) compact(ctx context.Context, table string, g store.Grain, before int64) (n int, err error) {
	past := interval{math.MinInt64, before}
	rewrite := func(t tier, ranges []interval) error {
		for _, r := range ranges {
			if err := s.rewrite(ctx, table, t, r); err != nil {
				return err
			}
			n++
		}
		return nil
	}
	long, err := s.due(ctx, table, sort, g, past, amortize)
	if err != nil {
		return n, err
	}
	for _, r := range long {
		short, err := s.due(ctx, table, fold, g, r, math.MaxInt32)
		if err != nil {
			return n, err
		}
		if err := errors.Join(rewrite(fold, short), ctx.Err()); err != nil {
			return n, err
		}
		if err := rewrite(sort, []interval{r}); err != nil {
			return n, err
		}
	}
	short, err := s.due(ctx, table, fold, g, past, amortize)
	if err != nil {
		return n, err
	}
	return n, rewrite(fold, short)
}

// An interval is [from, to) in Unix seconds.
type interval struct{ from, to int64 }

// due lists the ranges of a tier inside within of whose rows at least one in
// amortize is of a lower level. Short ranges are cut where within ends, long
// ones are left until they have passed.
func (s *Store) due(ctx context.Context, table string, t tier, g store.Grain, within interval, amortize int64) (due []interval, err error) {
	length := t.length[g]
	err = s.with(func(db *sql.DB) error {
		due = nil
		// The first step reads only the row groups of lower levels.
		res, err := db.QueryContext(ctx, fmt.Sprintf(`
			WITH candidates AS (
				SELECT DISTINCT start - ((start %% %d) + %[1]d) %% %[1]d AS chunk
				FROM %s WHERE level < %d AND start >= ? AND start < ?
			)
			SELECT chunk, count(*) FILTER (level < %[3]d), count(*)
			FROM %[2]s JOIN candidates ON start >= chunk AND start < chunk + %[1]d
			WHERE start >= ? AND start < ?
			GROUP BY chunk ORDER BY chunk`, length, table, t.level), within.from, within.to, within.from, within.to)
		if err != nil {
			return err
		}
		defer res.Close()
		for res.Next() {
			var chunk int64
			var lower, all int64
			if err := res.Scan(&chunk, &lower, &all); err != nil {
				return err
			}
			begin, end := max(chunk, within.from), min(chunk+length, within.to)
			if t.level == sorted && end < chunk+length || lower*amortize < all {
				continue
			}
			// Rows are spread over time about evenly.
			pieces := 1 + all*t.memory/s.opts.Memory
			step := max((end-begin+pieces-1)/pieces, 1)
			for from := begin; from < end; from += step {
				due = append(due, interval{from, min(from+step, end)})
			}
		}
		return res.Err()
	})
	return due, err
}

// rewrite merges or sorts the rows of r in one transaction. Rows committed
// meanwhile are not in its snapshot, so it neither copies nor deletes them.
func (s *Store) rewrite(ctx context.Context, table string, t tier, r interval) error {
	selected := "SELECT " + keyColumns + ", count, sum, reports, top, buckets, registers"
	group := ""
	if t.level == folded {
		selected, group = "SELECT "+keyColumns+", "+merged, " GROUP BY "+keyColumns
	}
	return s.with(func(db *sql.DB) error {
		return transact(ctx, db, func(conn *sql.Conn) error {
			for _, st := range []struct {
				sql  string
				args []any
			}{
				{fmt.Sprintf("CREATE OR REPLACE TEMP TABLE rewriting AS %s, %d::UTINYINT FROM %s WHERE start >= ? AND start < ? %s",
					selected, t.level, table, group), []any{r.from, r.to}},
				{"DELETE FROM " + table + " WHERE start >= ? AND start < ?", []any{r.from, r.to}},
				{"INSERT INTO " + table + " FROM rewriting ORDER BY metric, facet, start, value, d0, d1, d2, d3, d4, label", nil},
				{"DROP TABLE rewriting", nil},
			} {
				if _, err := conn.ExecContext(ctx, st.sql, st.args...); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// DropBefore implements store.Store.
func (s *Store) DropBefore(ctx context.Context, g store.Grain, t time.Time) error {
	name, err := table(g)
	if err != nil {
		return err
	}
	if err := s.rewriting.take(ctx); err != nil {
		return err
	}
	defer s.rewriting.give()
	err = s.with(func(db *sql.DB) error {
		return transact(ctx, db, func(conn *sql.Conn) error {
			_, err := conn.ExecContext(ctx, "DELETE FROM "+name+" WHERE start < ?", seconds(t))
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("dropping from %s: %w", name, err)
	}
	return s.checkpoint(ctx)
}

// checkpoint gives back the room of deleted rows. Commits wait for it; queries
// don't.
func (s *Store) checkpoint(ctx context.Context) error {
	if err := s.writing.take(ctx); err != nil {
		return err
	}
	defer s.writing.give()
	return s.foldLog(ctx)
}

// foldLog moves what the write-ahead log holds into the file. The caller holds
// writing. Where the engine finds a transaction in the way, it is left to the
// next time.
func (s *Store) foldLog(ctx context.Context) error {
	err := s.with(func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "CHECKPOINT")
		var e *driver.Error
		if errors.As(err, &e) && e.Type == driver.ErrorTypeTransaction && !fatal(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("folding the write-ahead log into the file: %w", err)
	}
	return nil
}
