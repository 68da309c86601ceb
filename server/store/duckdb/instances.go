package duckdb

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"

	driver "github.com/duckdb/duckdb-go/v2"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// instanceColumns are the columns of instances, in order.
var instanceColumns = []string{"id", "high", "seen", "counted_window", "counted_hour", "counted_day", "first", "last"}

const mergeInstancesSQL = `
MERGE INTO instances AS i USING appended_data AS n ON i.id = n.id
WHEN MATCHED THEN UPDATE SET high = n.high, seen = n.seen, counted_window = n.counted_window,
	counted_hour = n.counted_hour, counted_day = n.counted_day, first = n.first, last = n.last
WHEN NOT MATCHED THEN INSERT VALUES
	(n.id, n.high, n.seen, n.counted_window, n.counted_hour, n.counted_day, n.first, n.last)`

// mergeInstances stores new states, in the connection's transaction.
func mergeInstances(ctx context.Context, conn sqldriver.Conn, ins []store.Instance) error {
	if len(ins) == 0 {
		return nil
	}
	types := make([]driver.TypeInfo, len(instanceColumns))
	for i := range types {
		t := driver.TYPE_BIGINT
		switch i {
		case 0:
			t = driver.TYPE_UUID
		case 1, 2:
			t = driver.TYPE_UBIGINT
		}
		var err error
		if types[i], err = driver.NewTypeInfo(t); err != nil {
			return err
		}
	}
	a, err := driver.NewQueryAppender(conn, mergeInstancesSQL, "", types, instanceColumns)
	if err != nil {
		return err
	}
	for i := range ins {
		in := &ins[i]
		if i%checkEvery == 0 && ctx.Err() != nil {
			return errors.Join(ctx.Err(), a.Close())
		}
		err := a.AppendRow(driver.UUID(in.ID), in.High, in.Seen,
			in.Counted[store.Window], in.Counted[store.Hour], in.Counted[store.Day], in.First, in.Last)
		if err != nil {
			return errors.Join(err, a.Close())
		}
	}
	return a.Close()
}

// Instances implements store.Store.
func (s *Store) Instances(ctx context.Context, ids []wire.InstanceID) ([]store.Instance, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	// As text: the driver's UUID arguments have the wrong sign.
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id.String()
	}
	var ins []store.Instance
	err := s.with(func(db *sql.DB) error {
		rows, err := db.QueryContext(ctx, `SELECT id, high, seen, counted_window, counted_hour, counted_day, first, last
			FROM instances WHERE id IN (SELECT unnest(?::VARCHAR[]::UUID[]))`, list)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var in store.Instance
			err := rows.Scan((*driver.UUID)(&in.ID), &in.High, &in.Seen,
				&in.Counted[store.Window], &in.Counted[store.Hour], &in.Counted[store.Day], &in.First, &in.Last)
			if err != nil {
				return err
			}
			ins = append(ins, in)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("reading %d instances: %w", len(ids), err)
	}
	return ins, nil
}

// Forget implements store.Store.
func (s *Store) Forget(ctx context.Context, id wire.InstanceID) error {
	if err := s.writing.take(ctx); err != nil {
		return err
	}
	defer s.writing.give()
	err := s.with(func(db *sql.DB) error {
		return transact(ctx, db, func(conn *sql.Conn) error {
			for _, sql := range []string{
				"DELETE FROM instances WHERE id = ?::VARCHAR::UUID",
				"DELETE FROM incidents WHERE instance = ?::VARCHAR::UUID",
			} {
				if _, err := conn.ExecContext(ctx, sql, id.String()); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("forgetting instance %s: %w", id, err)
	}
	return nil
}
