package plan

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/server/control"
)

var steps = []string{
	`CREATE TABLE plan_forbidden (
		path TEXT NOT NULL, version TEXT NOT NULL, with_path TEXT NOT NULL, with_version TEXT NOT NULL,
		words TEXT NOT NULL, time BIGINT NOT NULL,
		PRIMARY KEY (path, version, with_path, with_version))`,
}

// maxWords is how much of a compiler's words is kept, in bytes.
const maxWords = 8 << 10

// A Kept is a Memory in the control state, which outlives the process and is
// shared by servers.
type Kept struct {
	db *control.DB

	mu    sync.Mutex
	pairs []Pair
	read  time.Time
}

// keptFor is how long what another server found may take to be known here.
const keptFor = 10 * time.Second

// OpenKept brings the table up to date.
func OpenKept(ctx context.Context, db *control.DB) (*Kept, error) {
	if err := db.Migrate(ctx, "plan", steps); err != nil {
		return nil, err
	}
	k := &Kept{db: db}
	_, err := k.Forbidden(ctx)
	return k, err
}

// Forbidden lists what is known not to compile.
func (k *Kept) Forbidden(ctx context.Context) ([]Pair, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.read) < keptFor {
		return k.pairs, nil
	}
	var pairs []Pair
	err := k.db.Read(ctx, func(tx *sql.Tx) error {
		pairs = nil
		rows, err := tx.QueryContext(ctx, `SELECT path, version, with_path, with_version, words FROM plan_forbidden`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var p Pair
			if err := rows.Scan(&p.Module.Path, &p.Module.Version, &p.With.Path, &p.With.Version, &p.Words); err != nil {
				return err
			}
			pairs = append(pairs, p)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("reading what is known not to compile: %w", err)
	}
	slices.SortFunc(pairs, func(a, b Pair) int { return strings.Compare(a.key(), b.key()) })
	k.pairs, k.read = pairs, time.Now()
	return pairs, nil
}

// Forbid remembers that a pair does not compile.
func (k *Kept) Forbid(ctx context.Context, p Pair) error {
	words := strings.ToValidUTF8(p.Words[:min(len(p.Words), maxWords)], "")
	err := k.db.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO plan_forbidden (path, version, with_path, with_version, words, time)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (path, version, with_path, with_version) DO UPDATE SET words = excluded.words`,
			p.Module.Path, p.Module.Version, p.With.Path, p.With.Version, words, control.Micros(time.Now()))
		return err
	})
	if err != nil {
		return fmt.Errorf("remembering what does not compile: %w", err)
	}
	k.mu.Lock()
	k.read = time.Time{}
	k.mu.Unlock()
	_, err = k.Forbidden(ctx) // so that Generation changes at once
	return err
}

// Generation changes when something is added to what is known not to compile.
func (k *Kept) Generation() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprint(len(k.pairs))
}

func (p Pair) key() string {
	return strings.Join([]string{p.Module.Path, p.Module.Version, p.With.Path, p.With.Version}, "\x00")
}
