package build

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/control"
)

// Run builds until ctx ends. What is being built then is queued again, for the
// next Run.
func (q *Queue) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for range q.cfg.Workers {
		all.Go(func() { q.worker(ctx) })
	}
	all.Go(func() { q.watchServers(ctx) })
	all.Wait()
	// The context is over, and the state is to be left clean.
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := q.requeue(rest, "owner = $1", q.owner); err != nil {
		return fmt.Errorf("leaving the queue: %w", err)
	}
	return nil
}

// worker takes one build after the other.
func (q *Queue) worker(ctx context.Context) {
	for {
		changed := q.change()
		r, err := q.claim(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			// The database may come back.
			q.cfg.Logger.Error("taking a build from the queue", "error", err)
		case r != nil:
			q.tell()
			q.one(ctx, *r)
			q.tell()
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(lookEvery): // another server's, or one that is tried again
		}
	}
}

// claim takes the most urgent build, the longest waiting first. It returns nil
// if there is none.
func (q *Queue) claim(ctx context.Context) (*row, error) {
	var claimed *row
	err := q.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		claimed = nil
		now := q.cfg.Now()
		rs, err := list(ctx, tx, "state = 'queued' AND not_before <= $1 ORDER BY priority DESC, asked LIMIT 1", control.Micros(now))
		if err != nil || len(rs) == 0 {
			return err
		}
		r := rs[0]
		// What was made before the server ended is only to be published.
		first := resolving
		if _, err := q.kept(r.id); err == nil {
			first = signing
		}
		if err := enter(ctx, tx, r, first, "owner = $3, alive = $4, began = $4, attempts = attempts + 1", q.owner, control.Micros(now)); err != nil {
			return err
		}
		r.state, r.owner = first, q.owner
		r.attempts++
		claimed = &r
		return nil
	})
	return claimed, err
}

// one makes a build and writes down how it ended.
func (q *Queue) one(ctx context.Context, r row) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	q.mu.Lock()
	q.running[r.id] = cancel
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		delete(q.running, r.id)
		q.mu.Unlock()
	}()
	log := q.cfg.Logger.With("build", r.id[:12])
	log.Info("building", "caddy", r.spec.Caddy, "plugins", len(r.spec.Plugins), "system", r.spec.System.String(), "attempt", r.attempts)
	began := time.Now()
	b, err := q.make(ctx, r)
	took := time.Since(began)

	// How it ended is written also when the server is ending.
	write, stop := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer stop()
	outcome, endErr := q.end(write, r, b, err)
	if endErr != nil {
		// The build stays as it was: whoever finds it so queues it again.
		log.Error("writing down how a build ended", "error", endErr)
	}
	q.metrics.ended(outcome, r.spec, took)
	log.Info("a build ended", "outcome", outcome, "seconds", took.Seconds())
	if outcome == "done" {
		if err := q.evict(write); err != nil {
			log.Error("making room for executables", "error", err)
		}
	}
}

// make makes the executable, unless the folder has it, and publishes it.
func (q *Queue) make(ctx context.Context, r row) (*artifact.Build, error) {
	b, err := q.kept(r.id)
	if err != nil {
		b, err = q.build(ctx, r)
		if err != nil {
			return nil, err
		}
	}
	if q.cfg.Publish == nil {
		return b, nil
	}
	if err := q.step(ctx, r.id, signing); err != nil {
		return nil, err
	}
	if err := q.cfg.Publish.Publish(ctx, *b, q.executable(r.id)); err != nil {
		return nil, fmt.Errorf("publishing: %w", err)
	}
	return b, nil
}

// build makes the executable in the folder.
func (q *Queue) build(ctx context.Context, r row) (*artifact.Build, error) {
	var lost error
	b, err := q.cfg.Maker.Make(ctx, r.spec, q.executable(r.id), func(s string) {
		if err := q.step(ctx, r.id, state(s)); err != nil {
			lost = err
			q.mu.Lock()
			if stop := q.running[r.id]; stop != nil {
				stop(err)
			}
			q.mu.Unlock()
		}
	})
	if lost != nil {
		return nil, lost
	}
	if err != nil {
		return nil, err
	}
	return b, q.keep(r.id, b)
}

// step writes down how far a build is, and fails if it is no longer ours.
func (q *Queue) step(ctx context.Context, id string, to state) error {
	err := q.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		r, found, err := get(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case found && r.state == cancelled:
			return errCancel
		case !found || r.owner != q.owner || !r.state.working():
			return errLost
		case r.state == to:
			return nil
		}
		return enter(ctx, tx, r, to, "alive = $3", control.Micros(q.cfg.Now()))
	})
	q.tell()
	return err
}

// end writes down how a build ended, and tells that in a word.
func (q *Queue) end(ctx context.Context, mine row, b *artifact.Build, err error) (outcome string, _ error) {
	now := control.Micros(q.cfg.Now())
	txErr := q.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		r, found, getErr := get(ctx, tx, mine.id)
		switch {
		case getErr != nil:
			return getErr
		case found && r.state == cancelled:
			outcome = "cancelled"
			return nil
		case !found || r.owner != q.owner || !r.state.working():
			outcome = "lost"
			return nil
		}
		var f *Failure
		switch {
		case err == nil:
			result, jsonErr := json.Marshal(b)
			if jsonErr != nil {
				return jsonErr
			}
			outcome = "done"
			if r.result != nil && r.result.SHA256 != b.SHA256 {
				// The recipe promises otherwise: it is worth a look, and no
				// reason to refuse.
				q.cfg.Logger.Error("a spec was built to other bytes than before", "build", r.id[:12], "before", r.result.SHA256, "now", b.SHA256)
			}
			if err := enter(ctx, tx, r, done, "owner = '', ended = $3, used = $3, error = '', result = $4, size = $5", now, string(result), b.Size); err != nil {
				return err
			}
			return count(ctx, tx, q.cfg.Now(), countBuilt, r.spec)
		case errors.As(err, &f) && f.Remember || errors.Is(err, ErrSpec):
			outcome = "failed"
			return enter(ctx, tx, r, failed, "owner = '', ended = $3, error = $4", now, said(err))
		case errors.Is(err, context.Canceled):
			// The server ends: that is no attempt that failed.
			outcome = "put back"
			return enter(ctx, tx, r, queued, "owner = '', attempts = attempts - 1")
		case r.attempts >= maxAttempts:
			outcome = "failed"
			return enter(ctx, tx, r, failed, "owner = '', ended = $3, error = $4", now, said(err))
		}
		outcome = "to be tried again"
		q.cfg.Logger.Warn("a build failed and is tried again", "build", r.id[:12], "error", err)
		after := q.cfg.Now().Add(retryAfter * time.Duration(r.attempts))
		return enter(ctx, tx, r, queued, "owner = '', not_before = $3, error = $4", control.Micros(after), said(err))
	})
	return outcome, txErr
}

// said is an error for whoever asked: what `go` said, or that something is
// wrong with the server, whose details are its operator's.
func said(err error) string {
	var f *Failure
	switch {
	case errors.As(err, &f):
		return f.Error()
	case errors.Is(err, ErrSpec):
		return err.Error()
	}
	return "the server could not make it: " + strings.SplitN(err.Error(), ":", 2)[0]
}

// watchServers says that our builds are alive, and takes those of servers that
// are not.
func (q *Queue) watchServers(ctx context.Context) {
	t := time.NewTicker(aliveEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := q.alive(ctx); err != nil && ctx.Err() == nil {
			q.cfg.Logger.Error("saying that builds are alive", "error", err)
		}
		if err := q.requeue(ctx, "owner <> $1 AND alive < $2", q.owner, control.Micros(q.cfg.Now().Add(-deadAfter))); err != nil && ctx.Err() == nil {
			q.cfg.Logger.Error("taking over builds of servers that ended", "error", err)
		}
	}
}

func (q *Queue) alive(ctx context.Context) error {
	var mine []string
	err := q.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		mine = nil
		if _, err := tx.ExecContext(ctx, "UPDATE builds SET alive = $1 WHERE owner = $2", control.Micros(q.cfg.Now()), q.owner); err != nil {
			return err
		}
		rs, err := list(ctx, tx, "owner = $1 AND state IN "+quoted(working...), q.owner)
		for _, r := range rs {
			mine = append(mine, r.id)
		}
		return err
	})
	if err != nil {
		return err
	}
	// Another server may have cancelled one, or taken it for dead.
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, stop := range q.running {
		if !slices.Contains(mine, id) {
			stop(errLost)
		}
	}
	return nil
}
