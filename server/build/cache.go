package build

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/control"
)

// An executable is kept as ID/caddy, and beside it what it is, ID/build.json,
// which is written last: a folder without it is nothing.

func (q *Queue) folder(id string) string     { return filepath.Join(q.cfg.Folder, id) }
func (q *Queue) executable(id string) string { return filepath.Join(q.folder(id), "caddy") }
func (q *Queue) about(id string) string      { return filepath.Join(q.folder(id), "build.json") }

func (q *Queue) keep(id string, b *artifact.Build) error {
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	if err := writeFile(q.about(id), text); err != nil {
		return fmt.Errorf("keeping the build: %w", err)
	}
	return nil
}

// kept is what the folder has of a build.
func (q *Queue) kept(id string) (*artifact.Build, error) {
	text, err := readSmall(q.about(id), 8<<20)
	if err != nil {
		return nil, err
	}
	b := &artifact.Build{}
	if err := json.Unmarshal(text, b); err != nil {
		return nil, err
	}
	info, err := os.Stat(q.executable(id))
	if err != nil {
		return nil, err
	}
	if info.Size() != b.Size || b.Spec.ID() != id {
		return nil, errors.New("the executable is not the one that was built")
	}
	return b, nil
}

func (q *Queue) has(id string) bool {
	_, err := q.kept(id)
	return err == nil
}

// restore makes an executable once more that another server has built, or
// whose file was lost: from the lockfile, to the same bytes. It is not the
// queue's work, since each server has to have the file.
func (q *Queue) restore(ctx context.Context, b *artifact.Build) error {
	select {
	case q.restoring <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-q.restoring }()
	id := b.Spec.ID()
	if q.has(id) {
		return nil
	}
	if err := q.cfg.Maker.adoptLock(id, lockfile{b.GoMod, b.GoSum}); err != nil {
		return err
	}
	made, err := q.cfg.Maker.Make(ctx, b.Spec, q.executable(id), nil)
	if err != nil {
		return fmt.Errorf("making an executable again: %w", err)
	}
	if made.SHA256 != b.SHA256 {
		return errors.Join(fmt.Errorf("build %.12s was built to %s, and now to %s", id, b.SHA256, made.SHA256), os.RemoveAll(q.folder(id)))
	}
	return q.keep(id, b)
}

// Open opens an executable that is built, and notes that it is used. The
// caller closes it. On a server that has not got the file it takes as long as
// building it.
func (q *Queue) Open(ctx context.Context, id string) (*artifact.Build, *os.File, error) {
	b, err := q.Build(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if !q.has(id) {
		if err := q.restore(ctx, b); err != nil {
			return nil, nil, err
		}
	}
	f, err := os.Open(q.executable(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w: it had to make room in this moment", ErrNotBuilt)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("opening an executable: %w", err)
	}
	err = q.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE builds SET used = $2 WHERE id = $1", id, control.Micros(q.cfg.Now()))
		return err
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("noting the use of an executable: %w", err), f.Close())
	}
	return b, f, nil
}

// usedLately is not evicted: it may be about to be opened.
const usedLately = time.Minute

// evict makes room, beginning with what was not used for the longest time.
func (q *Queue) evict(ctx context.Context) error {
	pinned := func(artifact.Spec) bool { return false }
	if q.cfg.Pins != nil {
		var err error
		if pinned, err = q.cfg.Pins.Pinned(ctx); err != nil {
			return fmt.Errorf("asking what is pinned: %w", err)
		}
	}
	var gone []string
	err := q.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		gone = nil
		rs, err := list(ctx, tx, "state = 'done' ORDER BY used")
		if err != nil {
			return err
		}
		var total int64
		for _, r := range rs {
			total += r.size
		}
		for _, r := range rs {
			if total <= q.cfg.MaxBytes {
				break
			}
			if pinned(r.spec) || !r.used.Before(q.cfg.Now().Add(-usedLately)) {
				continue
			}
			if err := enter(ctx, tx, r, evicted, ""); err != nil {
				return err
			}
			total -= r.size
			gone = append(gone, r.id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range gone {
		if err := os.RemoveAll(q.folder(id)); err != nil {
			return err
		}
		q.metrics.evicted.Inc()
	}
	return nil
}

// sweep removes what no row needs: what was evicted when the server ended, and
// halves of builds.
func (q *Queue) sweep(ctx context.Context) error {
	dirs, err := os.ReadDir(q.cfg.Folder)
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	err = q.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		rs, err := list(ctx, tx, "state IN "+quoted(append(slices.Clone(working), queued, done)...))
		for _, r := range rs {
			needed[r.id] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if d.IsDir() && (!needed[d.Name()] || !q.has(d.Name())) {
			if err := os.RemoveAll(q.folder(d.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
