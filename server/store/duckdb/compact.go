package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	driver "github.com/duckdb/duckdb-go/v2"

	"github.com/caddy-evergreen/evergreen/server/store"
)

// The levels of rows.
const (
	fresh  = 0 // as committed
	folded = 1 // equal keys of a short range merged
	sorted = 2 // a long range merged and sorted by metric and facet
)

// A tier is a step of compaction: ranges of time, aligned to their length, in
// which rows of a lower level become rows of this one.
type tier struct {
	level  int
	length [len(store.Grains)]int64 // seconds
}

// The long ranges come first, so that nothing is rewritten twice in one go.
var tiers = [...]tier{
	{sorted, [...]int64{86400, 7 * 86400, 32 * 86400}},
	{folded, [...]int64{3600, 6 * 3600, 86400}},
}

const (
	// A range is rewritten when at least one in amortize of its rows is new to
	// the tier, so that a few late rows don't rewrite a day, and each row is
	// rewritten a bounded number of times.
	amortize = 8
	// A range with more rows stays as it is: rewriting it would take minutes.
	tooMany = 1 << 24
)

// Compact implements store.Store. It takes one range after another, each in a
// transaction of its own, which commits and queries don't wait for.
func (s *Store) Compact(ctx context.Context, before time.Time) error {
	if err := s.rewriting.take(ctx); err != nil {
		return err
	}
	defer s.rewriting.give()
	rewrote := false
	for g, t := range tables {
		for _, tier := range tiers {
			ranges, err := s.due(ctx, t, tier, tier.length[g], seconds(before))
			if err != nil {
				return fmt.Errorf("looking for what to compact in %s: %w", t, err)
			}
			for _, r := range ranges {
				if err := s.rewrite(ctx, t, tier.level, r); err != nil {
					return fmt.Errorf("compacting %s: %w", t, err)
				}
				rewrote = true
			}
		}
	}
	if !rewrote {
		return nil
	}
	return s.checkpoint(ctx)
}

// An interval is [from, to) in Unix seconds.
type interval struct{ from, to int64 }

// due lists the ranges of a tier that are worth rewriting. Those of the last
// tier may reach beyond before, and are cut there; the others are left until
// they have passed.
func (s *Store) due(ctx context.Context, table string, t tier, length, before int64) (due []interval, err error) {
	err = s.with(func(db *sql.DB) error {
		due = nil
		// The first step reads only the row groups of lower levels.
		res, err := db.QueryContext(ctx, fmt.Sprintf(`
			WITH candidates AS (
				SELECT DISTINCT start - ((start %% %d) + %[1]d) %% %[1]d AS chunk
				FROM %s WHERE level < %d AND start < ?
			)
			SELECT chunk, min(start), count(*) FILTER (level < %[3]d), count(*)
			FROM %[2]s JOIN candidates ON start >= chunk AND start < chunk + %[1]d AND start < ?
			GROUP BY chunk ORDER BY chunk`, length, table, t.level), before, before)
		if err != nil {
			return err
		}
		defer res.Close()
		for res.Next() {
			var chunk, first int64
			var lower, all int64
			if err := res.Scan(&chunk, &first, &lower, &all); err != nil {
				return err
			}
			end := chunk + length
			if t.level == folded {
				end = min(end, before)
			}
			if end <= before && lower*amortize >= all && all <= tooMany {
				due = append(due, interval{chunk, end})
			}
		}
		return res.Err()
	})
	return due, err
}

// rewrite merges the rows of r in one transaction. Rows committed meanwhile are
// not in its snapshot, so it neither merges nor deletes them.
func (s *Store) rewrite(ctx context.Context, table string, level int, r interval) error {
	return s.with(func(db *sql.DB) error {
		return transact(ctx, db, func(conn *sql.Conn) error {
			for _, st := range []struct {
				sql  string
				args []any
			}{
				{"CREATE OR REPLACE TEMP TABLE rewriting AS SELECT " + keyColumns + ", " + merged + fmt.Sprintf(", %d::UTINYINT", level) +
					" FROM " + table + " WHERE start >= ? AND start < ? GROUP BY " + keyColumns, []any{r.from, r.to}},
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
// don't. Where a running query is in the way, the engine makes up for it after
// one of the next commits.
func (s *Store) checkpoint(ctx context.Context) error {
	if err := s.writing.take(ctx); err != nil {
		return err
	}
	defer s.writing.give()
	err := s.with(func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "CHECKPOINT")
		var e *driver.Error
		if errors.As(err, &e) && e.Type == driver.ErrorTypeTransaction {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("folding the write-ahead log into the file: %w", err)
	}
	return nil
}
