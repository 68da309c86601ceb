package plan

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/server/control"
)

//go:embed sql
var sqlFiles embed.FS

// Pairs is a Memory in the control state. Several servers may share it: what one
// found out, the others know at their next plan.
type Pairs struct {
	db  *control.DB
	now func() time.Time

	mu     sync.Mutex
	kept   []Pair
	loaded time.Time
}

// pairsTTL is for how long pairs are not read again, which other servers may
// have added to.
const pairsTTL = 10 * time.Second

// NewPairs opens the memory, and makes its table if there is none. now is
// time.Now if it is nil.
func NewPairs(ctx context.Context, db *control.DB, now func() time.Time) (*Pairs, error) {
	if now == nil {
		now = time.Now
	}
	sub, err := fs.Sub(sqlFiles, "sql")
	if err != nil {
		return nil, err
	}
	steps, err := control.Steps(sub)
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, "plan", steps); err != nil {
		return nil, fmt.Errorf("making the table of what does not compile: %w", err)
	}
	return &Pairs{db: db, now: now}, nil
}

// Forbidden are the pairs, in an order that is always the same.
func (p *Pairs) Forbidden(ctx context.Context) ([]Pair, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.loaded.IsZero() && p.now().Sub(p.loaded) < pairsTTL {
		return p.kept[:len(p.kept):len(p.kept)], nil
	}
	var found []Pair
	err := p.db.Read(ctx, func(tx *sql.Tx) error {
		found = nil
		rows, err := tx.QueryContext(ctx, `SELECT module, version, with_module, with_version, words FROM plan_pairs`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var q Pair
			if err := rows.Scan(&q.Module.Path, &q.Module.Version, &q.With.Path, &q.With.Version, &q.Words); err != nil {
				return err
			}
			found = append(found, q)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("reading what does not compile: %w", err)
	}
	slices.SortFunc(found, func(a, b Pair) int {
		return cmp.Or(strings.Compare(a.Module.String(), b.Module.String()), strings.Compare(a.With.String(), b.With.String()))
	})
	p.kept, p.loaded = found, p.now()
	return found[:len(found):len(found)], nil
}

// Forbid adds a pair.
func (p *Pairs) Forbid(ctx context.Context, q Pair) error {
	err := p.db.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO plan_pairs (module, version, with_module, with_version, words, found)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (module, version, with_module, with_version) DO NOTHING`,
			q.Module.Path, q.Module.Version, q.With.Path, q.With.Version, q.Words, control.Micros(p.now()))
		return err
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loaded = time.Time{}
	return nil
}

// Forget removes what was found of a module as it was raised: a compiler was at
// fault, say, that is mended now. It tells how many pairs that were.
func (p *Pairs) Forget(ctx context.Context, path, version string) (int64, error) {
	var n int64
	err := p.db.Tx(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `DELETE FROM plan_pairs WHERE module = $1 AND version = $2`, path, version)
		if err != nil {
			return err
		}
		n, err = r.RowsAffected()
		return err
	})
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loaded = time.Time{}
	return n, nil
}
