package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
)

// page is how many rows, before merging, Export asks for at once, unless a
// single metric has more of them at a single time.
const page = 1 << 15

// span is the part of the time that Export counts the rows of at once.
var span = [len(store.Grains)]int64{6 * 3600, 7 * 86400, 366 * 86400}

const keyColumns = "start, metric, facet, value, d0, d1, d2, d3, d4, label"

// A place is where rows lie in the order of keys.
type place struct {
	start  int64
	metric uint16
}

// Export implements store.Store. Each page is a snapshot of its own, so that a
// slow reader holds no transaction open; a page begins and ends with a metric
// of a time.
func (s *Store) Export(ctx context.Context, g store.Grain, from, to time.Time) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		if err := s.export(ctx, g, seconds(from), seconds(to), func(r store.Row) bool { return yield(r, nil) }); err != nil {
			yield(store.Row{}, fmt.Errorf("exporting grain %d: %w", g, err))
		}
	}
}

func (s *Store) export(ctx context.Context, g store.Grain, from, to int64, yield func(store.Row) bool) error {
	t, err := table(g)
	if err != nil {
		return err
	}
	for from < to {
		// Skip the time that holds nothing.
		var first sql.NullInt64
		err := s.with(func(db *sql.DB) error {
			return db.QueryRowContext(ctx, "SELECT min(start) FROM "+t+" WHERE start >= ? AND start < ?", from, to).Scan(&first)
		})
		if err != nil || !first.Valid {
			return err
		}
		from = first.Int64
		end := min(from-mod(from, span[g])+span[g], to)
		ends, err := s.pages(ctx, t, from, end)
		if err != nil {
			return err
		}
		begin := place{start: from}
		for _, next := range ends {
			rows, err := s.page(ctx, t, g, begin, next)
			if err != nil {
				return err
			}
			for _, r := range rows {
				if !yield(r) {
					return nil
				}
			}
			begin = next
		}
		from = end
	}
	return nil
}

// pages cuts [from, to) into pages and returns where each ends.
func (s *Store) pages(ctx context.Context, table string, from, to int64) (ends []place, err error) {
	err = s.with(func(db *sql.DB) error {
		ends = nil
		res, err := db.QueryContext(ctx, "SELECT start, metric, count(*) FROM "+table+
			" WHERE start >= ? AND start < ? GROUP BY start, metric ORDER BY start, metric", from, to)
		if err != nil {
			return err
		}
		defer res.Close()
		rows := 0
		for res.Next() {
			var p place
			var n int
			if err := res.Scan(&p.start, &p.metric, &n); err != nil {
				return err
			}
			if rows > 0 && rows+n > page {
				ends = append(ends, p)
				rows = 0
			}
			rows += n
		}
		ends = append(ends, place{start: to})
		return res.Err()
	})
	return ends, err
}

// page reads the rows from begin to before end.
func (s *Store) page(ctx context.Context, table string, g store.Grain, begin, end place) (rows []store.Row, err error) {
	err = s.with(func(db *sql.DB) error {
		rows = nil
		res, err := db.QueryContext(ctx, "SELECT "+keyColumns+", "+merged+" FROM "+table+
			" WHERE start >= ? AND start <= ? AND (start > ? OR metric >= ?) AND (start < ? OR metric < ?)"+
			" GROUP BY "+keyColumns+" ORDER BY "+keyColumns,
			begin.start, end.start, begin.start, begin.metric, end.start, end.metric)
		if err != nil {
			return err
		}
		defer res.Close()
		for res.Next() {
			r := store.Row{Key: store.Key{Grain: g}}
			var value, label []byte
			err := scan(res, &r, &r.Start, &r.Metric, &r.Facet, &value,
				&r.Dims[0], &r.Dims[1], &r.Dims[2], &r.Dims[3], &r.Dims[4], &label)
			if err != nil {
				return err
			}
			r.Value, r.Label = string(value), string(label)
			rows = append(rows, r)
		}
		return res.Err()
	})
	return rows, err
}

// mod is the remainder of a division that rounds down.
func mod(a, b int64) int64 { return ((a % b) + b) % b }
