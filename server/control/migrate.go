package control

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// migrationLock is any number that nothing else locks in the database.
const migrationLock = 0x65766572 // "ever"

const stepsTable = `CREATE TABLE IF NOT EXISTS control_steps (
	component TEXT NOT NULL,
	step BIGINT NOT NULL,
	sum TEXT NOT NULL,
	PRIMARY KEY (component, step)
)`

// Migrate brings the tables of a component ("release") to where its steps lead.
// A step is one or more statements; each is run once in the life of the state,
// in the order given, in one transaction with its number. Steps are only ever
// added at the end: one that was changed after it ran is refused, and so is a
// state that a newer program has been at.
//
// Several servers may migrate the same state at the same time.
func (d *DB) Migrate(ctx context.Context, component string, steps []string) error {
	for n := 0; n <= len(steps); n++ { // 0: is the state newer?
		if err := d.step(ctx, component, steps, n); err != nil {
			return fmt.Errorf("bringing the tables of %s up to date: %w", component, err)
		}
	}
	return nil
}

func (d *DB) step(ctx context.Context, component string, steps []string, n int) error {
	// Not serializable: who waited for the lock must see what its holder did.
	opts := &sql.TxOptions{Isolation: d.isolation(sql.LevelReadCommitted)}
	return retry(ctx, func() error {
		return within(ctx, d.write, opts, func(tx *sql.Tx) error {
			if d.engine == enginePostgres {
				if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
					return err
				}
			}
			if n == 0 {
				return begin(ctx, tx, component, len(steps))
			}
			return apply(ctx, tx, component, n, steps[n-1])
		})
	})
}

func begin(ctx context.Context, tx *sql.Tx, component string, known int) error {
	if _, err := tx.ExecContext(ctx, stepsTable); err != nil {
		return err
	}
	var last int
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(step), 0) FROM control_steps WHERE component = $1", component).Scan(&last); err != nil {
		return err
	}
	if last > known {
		return fmt.Errorf("a newer evergreen has been here (step %d; this one knows %d): run that version, or go back to a backup", last, known)
	}
	return nil
}

func apply(ctx context.Context, tx *sql.Tx, component string, n int, step string) error {
	h := sha256.Sum256([]byte(step))
	sum := hex.EncodeToString(h[:])
	var had string
	switch err := tx.QueryRowContext(ctx, "SELECT sum FROM control_steps WHERE component = $1 AND step = $2", component, n).Scan(&had); {
	case err == nil && had == sum:
		return nil
	case err == nil:
		return fmt.Errorf("step %d was another when it ran: steps are never changed, only added", n)
	case err != sql.ErrNoRows:
		return err
	}
	if _, err := tx.ExecContext(ctx, step); err != nil {
		return fmt.Errorf("step %d: %w", n, err)
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO control_steps (component, step, sum) VALUES ($1, $2, $3)", component, n, sum)
	return err
}

// Steps reads the .sql files of a folder, in the order of their names
// (001_releases.sql, 002_…): what Migrate takes.
func Steps(fsys fs.FS) ([]string, error) {
	names, err := fs.Glob(fsys, "*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var steps []string
	for i, name := range names {
		if want := fmt.Sprintf("%03d_", i+1); len(name) < 4 || name[:4] != want {
			return nil, fmt.Errorf("step %d is in %s: its name should begin with %s", i+1, path.Base(name), want)
		}
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, string(b))
	}
	return steps, nil
}
