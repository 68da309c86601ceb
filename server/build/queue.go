package build

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/internal/filelock"
	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Publisher signs an executable and lets everyone have it. It may be called
// again for the same build, after a server that ended in the midst of it.
type Publisher interface {
	Publish(ctx context.Context, b artifact.Build, executable string) error
}

// Pins tells of which specs the executables are not to be removed.
type Pins interface {
	Pinned(ctx context.Context) (func(artifact.Spec) bool, error)
}

// A Priority is which build is made first: the higher.
type Priority int

const (
	PriorityPrewarm  Priority = 0  // nobody waits
	PriorityUpdate   Priority = 10 // a fleet does
	PriorityDownload Priority = 20 // a person does
	PrioritySecurity Priority = 30 // a vulnerable fleet does
)

// PriorityOf is that of an update.
func PriorityOf(s wire.Severity) Priority {
	if s == wire.SeverityCritical || s == wire.SeverityImportant {
		return PrioritySecurity
	}
	return PriorityUpdate
}

// QueueConfig is what a Queue needs. Maker, DB and Folder are required.
type QueueConfig struct {
	Maker  *Maker
	DB     *control.DB
	Folder string // for executables; one queue's alone
	// Publish gets what is built; nil lets it be downloaded unsigned.
	Publish Publisher
	Pins    Pins // nil pins nothing
	// Registered tells which plugins are built, by the paths of their modules;
	// nil builds any.
	Registered func(path string) bool
	// MaxBytes of executables are kept; 0 is 20 GiB. What is pinned may
	// exceed it.
	MaxBytes int64
	// Workers build at once; 0 is half of the CPUs, and at least one. Each
	// needs 1 GiB of memory.
	Workers   int
	MaxQueued int           // builds that wait; 0 is 1000
	FailedFor time.Duration // that a failure is remembered; 0 is a day
	Logger    *slog.Logger
	// Registerer gets the metrics; nil drops them.
	Registerer prometheus.Registerer
	Now        func() time.Time // nil is time.Now
}

const (
	defaultMaxBytes  = 20 << 30
	defaultMaxQueued = 1000
	defaultFailedFor = 24 * time.Hour
	// maxAttempts of a build whose server ended, or whose network failed.
	maxAttempts = 3
	retryAfter  = 30 * time.Second // times the attempts
	aliveEvery  = 20 * time.Second
	deadAfter   = 2 * time.Minute
	lookEvery   = 5 * time.Second // for work that another server queued
)

var (
	// ErrFull is what a build gets that the queue has no room for.
	ErrFull = errors.New("too many builds are waiting")
	// ErrNotRegistered says that the operator does not offer a plugin.
	ErrNotRegistered = fmt.Errorf("%w: the plugin is not among those that the operator has registered", ErrSpec)
	// ErrNoBuild says that a build was never asked for, or was dropped.
	ErrNoBuild = errors.New("there is no such build")
	// ErrNotBuilt says that a build is not done.
	ErrNotBuilt = errors.New("the build is not done")
	errLost     = errors.New("another server has taken the build over")
	errCancel   = errors.New("the build was cancelled")
)

// A Queue makes each spec once, however many ask for it, and keeps what it
// made. It persists a build's state before it acts on it: after kill -9 it goes
// on with what was asked for. Several servers may share a control state, each
// with a folder of its own.
type Queue struct {
	cfg     QueueConfig
	owner   string
	lock    *filelock.Lock
	metrics *queueMetrics

	restoring chan struct{} // holds one

	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, when any build changes
	running map[string]context.CancelCauseFunc
}

// NewQueue opens the cache folder and brings the tables up to date. What this
// folder's last queue was at is queued again. It starts nothing.
func NewQueue(ctx context.Context, cfg QueueConfig) (_ *Queue, err error) {
	if cfg.Maker == nil || cfg.DB == nil || cfg.Folder == "" {
		return nil, errors.New("a queue of builds needs a maker, a control state and a folder")
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	if cfg.Workers == 0 {
		cfg.Workers = max(1, runtime.NumCPU()/2)
	}
	if cfg.MaxQueued == 0 {
		cfg.MaxQueued = defaultMaxQueued
	}
	if cfg.FailedFor == 0 {
		cfg.FailedFor = defaultFailedFor
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	q := &Queue{cfg: cfg, changed: make(chan struct{}), running: map[string]context.CancelCauseFunc{}, restoring: make(chan struct{}, 1)}
	if err := os.MkdirAll(cfg.Folder, 0o755); err != nil {
		return nil, fmt.Errorf("making the folder for executables: %w", err)
	}
	if q.lock, err = filelock.Take(filepath.Join(cfg.Folder, "lock")); err != nil {
		return nil, fmt.Errorf("taking the folder for executables: %w (does another server use it?)", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, q.lock.Close())
		}
	}()
	if q.owner, err = ownerOf(cfg.Folder); err != nil {
		return nil, fmt.Errorf("naming the folder for executables: %w", err)
	}
	migrations, err := steps()
	if err != nil {
		return nil, err
	}
	if err := cfg.DB.Migrate(ctx, "build", migrations); err != nil {
		return nil, err
	}
	if q.metrics, err = newQueueMetrics(cfg.Registerer, q); err != nil {
		return nil, err
	}
	if err := q.requeue(ctx, "owner = $1", q.owner); err != nil {
		return nil, fmt.Errorf("taking up what was being built: %w", err)
	}
	if err := q.sweep(ctx); err != nil {
		return nil, fmt.Errorf("clearing the folder for executables: %w", err)
	}
	return q, nil
}

// Close gives the folder back.
func (q *Queue) Close() error { return q.lock.Close() }

// ownerOf is a name that stays with the folder.
func ownerOf(dir string) (string, error) {
	name := filepath.Join(dir, "owner")
	b, err := os.ReadFile(name)
	if err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	owner := rand.Text()
	return owner, writeFile(name, []byte(owner+"\n"))
}

// requeue takes builds from servers that ended.
func (q *Queue) requeue(ctx context.Context, where string, args ...any) error {
	return q.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		rs, err := list(ctx, tx, where+" AND state IN "+quoted(working...), args...)
		if err != nil {
			return err
		}
		for _, r := range rs {
			if r.attempts < maxAttempts {
				err = enter(ctx, tx, r, queued, "owner = ''")
			} else {
				err = enter(ctx, tx, r, failed, "owner = '', ended = $3, error = $4", control.Micros(q.cfg.Now()),
					fmt.Sprintf("the server ended %d times while it was at this build", r.attempts))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Ask queues a spec, unless it is built, being built, or known to fail; a
// higher priority than before moves it forward. It returns how far it is.
func (q *Queue) Ask(ctx context.Context, spec artifact.Spec, p Priority) (wire.BuildProgress, error) {
	spec = spec.Canonical()
	if err := Check(spec); err != nil {
		return wire.BuildProgress{}, err
	}
	for _, p := range spec.Plugins {
		if q.cfg.Registered != nil && !q.cfg.Registered(p.Path) {
			return wire.BuildProgress{}, fmt.Errorf("%w: %s", ErrNotRegistered, p.Path)
		}
	}
	id := spec.ID()
	text, err := json.Marshal(spec)
	if err != nil {
		return wire.BuildProgress{}, err
	}
	var out wire.BuildProgress
	var outcome string
	err = q.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		now := q.cfg.Now()
		r, found, err := get(ctx, tx, id)
		if err != nil {
			return err
		}
		outcome = "joined"
		switch {
		case found && r.state == queued && p > r.priority:
			_, err = tx.ExecContext(ctx, "UPDATE builds SET priority = $2 WHERE id = $1", id, int(p))
		case found && r.state == done:
			outcome = "cached"
			_, err = tx.ExecContext(ctx, "UPDATE builds SET used = $2 WHERE id = $1", id, control.Micros(now))
		case found && !r.state.final():
		case found && r.state == failed && now.Before(r.ended.Add(q.cfg.FailedFor)):
			outcome = "known to fail"
		default:
			var waiting int
			if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM builds WHERE state = 'queued'").Scan(&waiting); err != nil {
				return err
			}
			if waiting >= q.cfg.MaxQueued {
				return ErrFull
			}
			outcome = "queued"
			if found {
				err = enter(ctx, tx, r, queued, "priority = $3, asked = $4, attempts = 0, not_before = 0, error = ''", int(p), control.Micros(now))
			} else {
				_, err = tx.ExecContext(ctx, "INSERT INTO builds (id, spec, state, priority, asked, used) VALUES ($1, $2, $3, $4, $5, $5)",
					id, string(text), string(queued), int(p), control.Micros(now))
			}
		}
		if err != nil {
			return err
		}
		out, _, err = progress(ctx, tx, id)
		return err
	})
	if err != nil {
		return wire.BuildProgress{}, fmt.Errorf("asking for a build: %w", err)
	}
	q.metrics.asked.WithLabelValues(outcome).Inc()
	q.tell()
	return out, nil
}

// progress tells how far a build is; its second result is false if it does not exist.
func progress(ctx context.Context, tx *sql.Tx, id string) (wire.BuildProgress, bool, error) {
	r, found, err := get(ctx, tx, id)
	if err != nil || !found {
		return wire.BuildProgress{}, false, err
	}
	p := wire.BuildProgress{ID: r.id, State: string(r.state), Error: r.err}
	if r.state == queued {
		err = tx.QueryRowContext(ctx, "SELECT count(*) FROM builds WHERE state IN "+quoted(working...)+
			" OR state = 'queued' AND (priority > $1 OR priority = $1 AND asked < $2)", int(r.priority), control.Micros(r.asked)).Scan(&p.Ahead)
	}
	return p, true, err
}

// Progress tells how far a build is: ErrNoBuild if it was never asked for.
func (q *Queue) Progress(ctx context.Context, id string) (p wire.BuildProgress, err error) {
	err = q.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		var found bool
		p, found, err = progress(ctx, tx, id)
		if err == nil && !found {
			err = ErrNoBuild
		}
		return err
	})
	if err != nil {
		return wire.BuildProgress{}, fmt.Errorf("looking for build %.12s: %w", id, err)
	}
	return p, nil
}

// Watch calls each with how far a build is, now and whenever that changes,
// until nothing more will happen, each fails, or the context ends.
func (q *Queue) Watch(ctx context.Context, id string, each func(wire.BuildProgress) error) error {
	var last wire.BuildProgress
	for {
		changed := q.change()
		p, err := q.Progress(ctx, id)
		if err != nil {
			return err
		}
		if p != last {
			if err := each(p); err != nil {
				return err
			}
		}
		if last = p; state(p.State).final() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case <-time.After(lookEvery): // another server's build
		}
	}
}

// Wait waits for the end of a build, and returns what it made. A *Failure is
// in the error's chain if it can't be made.
func (q *Queue) Wait(ctx context.Context, id string) (*artifact.Build, error) {
	var last wire.BuildProgress
	if err := q.Watch(ctx, id, func(p wire.BuildProgress) error { last = p; return nil }); err != nil {
		return nil, err
	}
	if state(last.State) != done {
		return nil, &Failure{Step: last.State, Words: last.Error, Remember: state(last.State) == failed}
	}
	return q.Build(ctx, id)
}

// Build returns what a build made: ErrNotBuilt if it has not.
func (q *Queue) Build(ctx context.Context, id string) (*artifact.Build, error) {
	var b *artifact.Build
	err := q.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		r, found, err := get(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case !found:
			return ErrNoBuild
		case r.state != done:
			return fmt.Errorf("%w: it is %s", ErrNotBuilt, r.state)
		}
		b = r.result
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for build %.12s: %w", id, err)
	}
	return b, nil
}

// Spec returns the spec that a build is of.
func (q *Queue) Spec(ctx context.Context, id string) (s artifact.Spec, err error) {
	err = q.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		r, found, err := get(ctx, tx, id)
		if err == nil && !found {
			err = ErrNoBuild
		}
		s = r.spec
		return err
	})
	if err != nil {
		return s, fmt.Errorf("looking for build %.12s: %w", id, err)
	}
	return s, nil
}

// Cancel ends a build that waits or is being made, for all who asked.
func (q *Queue) Cancel(ctx context.Context, id string) error {
	err := q.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		r, found, err := get(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case !found:
			return ErrNoBuild
		case r.state.final():
			return nil
		}
		return enter(ctx, tx, r, cancelled, "owner = '', ended = $3, error = $4", control.Micros(q.cfg.Now()), "it was cancelled")
	})
	if err != nil {
		return fmt.Errorf("cancelling build %.12s: %w", id, err)
	}
	q.mu.Lock()
	if stop := q.running[id]; stop != nil {
		stop(errCancel)
	}
	q.mu.Unlock()
	q.tell()
	return nil
}

// Retry forgets that a build failed.
func (q *Queue) Retry(ctx context.Context, id string) error {
	err := q.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		r, found, err := get(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case !found:
			return ErrNoBuild
		case !r.state.final() || r.state == done:
			return nil
		}
		return enter(ctx, tx, r, queued, "attempts = 0, not_before = 0, error = ''")
	})
	if err != nil {
		return fmt.Errorf("trying build %.12s again: %w", id, err)
	}
	q.tell()
	return nil
}

func (q *Queue) change() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.changed
}

// tell wakes who watches and who works.
func (q *Queue) tell() {
	q.mu.Lock()
	close(q.changed)
	q.changed = make(chan struct{})
	q.mu.Unlock()
}
