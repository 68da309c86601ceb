package aggregate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Reader is an ingest log, such as an *ingestlog.Log.
type Reader interface {
	Read(ctx context.Context, from ingestlog.Position, maxBytes int) (entries []ingestlog.Entry, next ingestlog.Position, err error)
	Wait(ctx context.Context, after ingestlog.Position) error
	Durable() ingestlog.Position
}

// A Config is what an Aggregator works with.
type Config struct {
	LogName         string // names the log in the store
	Log             Reader
	Store           store.Store
	Timing          wire.Timing // DefaultTiming if zero
	Logger          *slog.Logger
	Registerer      prometheus.Registerer
	Now             func() time.Time
	CutFile         string        // remembers the range of the batch that is being committed; "" for an engine that needs no identical retries
	FlushEvery      time.Duration // how long a record waits for others at most; 5 s if 0
	Committed       func()        // called after each batch, and returns soon; may be nil
	MaxBatchRecords int           // 20,000 if 0
	MaxBatchBytes   int           // of compressed reports; 16 MiB if 0
	MaxBatchRows    int           // rows of grain window, from which the others follow; 150,000 if 0. A batch has at least one record.
}

// An Aggregator folds one log into a store.
type Aggregator struct {
	c       Config
	log     *slog.Logger
	metrics *metrics
	// turn is held by whoever reads the log, folds or commits. It is a channel
	// so that waiting for it can be given up.
	turn chan struct{}

	// The rest belongs to who has the turn.
	placed    bool               // committed and cursor are known
	committed store.Position     // where the next batch begins
	cursor    ingestlog.Position // where reading goes on, behind pending
	pending   []ingestlog.Entry
	bytes     int       // of their bodies
	since     time.Time // when the first of them was read
	cut       *cut      // where the next batch must end
	words     *vocabulary
	poisoned  bool // a record that can't be decoded was logged
}

// New makes an aggregator and starts nothing. It panics if the registerer has
// the metrics already: an aggregator for another log needs one that adds a label.
func New(c Config) *Aggregator {
	if c.Timing.Window == 0 {
		c.Timing = wire.DefaultTiming
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.FlushEvery = positive(c.FlushEvery, 5*time.Second)
	c.MaxBatchRecords = positive(c.MaxBatchRecords, 20_000)
	c.MaxBatchBytes = positive(c.MaxBatchBytes, 16<<20)
	c.MaxBatchRows = positive(c.MaxBatchRows, 150_000)
	return &Aggregator{c: c, log: c.Logger, metrics: newMetrics(c.Registerer), turn: make(chan struct{}, 1), words: newVocabulary(c.Store)}
}

func positive[T ~int | ~int64](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Run folds until ctx is done, and returns nil then. What was read but not yet
// committed is read again by the next Run. It returns an error only when the
// log was closed.
func (a *Aggregator) Run(ctx context.Context) error {
	pause := newPause()
	for ctx.Err() == nil {
		more, err := a.step(ctx)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, ingestlog.ErrClosed):
			return fmt.Errorf("aggregating: %w", err)
		case err != nil:
			a.metrics.errors.Inc()
			a.log.Error("aggregation is interrupted and tried again", "cause", err, "again_in", pause.next)
			pause.sleep(ctx)
		default:
			pause = newPause()
			if !more {
				if err := a.wait(ctx); err != nil {
					return fmt.Errorf("aggregating: %w", err)
				}
			}
		}
	}
	return nil
}

// wait blocks until there is something to read or to flush.
func (a *Aggregator) wait(ctx context.Context) error {
	if len(a.pending) > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.c.FlushEvery-a.c.Now().Sub(a.since))
		defer cancel()
	}
	if err := a.c.Log.Wait(ctx, a.cursor); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// step reads what there is and commits a batch if one is due. There is more if
// it didn't come to the log's end.
func (a *Aggregator) step(ctx context.Context) (more bool, err error) {
	if err := a.take(ctx); err != nil {
		return false, err
	}
	defer a.leave()
	if !a.placed {
		if err := a.place(ctx); err != nil {
			return false, err
		}
	}
	more, err = a.read(ctx)
	if err != nil || !a.due() {
		return more, err
	}
	if err := a.flush(ctx); err != nil {
		return false, err
	}
	return more || len(a.pending) > 0, nil
}

func (a *Aggregator) take(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Aggregator) leave() { <-a.turn }

// Forget erases an instance from the store, between two batches. Its reports
// must have been erased from the log before, or they would bring it back.
func (a *Aggregator) Forget(ctx context.Context, id wire.InstanceID) error {
	if err := a.take(ctx); err != nil {
		return err
	}
	defer a.leave()
	kept := a.pending[:0]
	for _, e := range a.pending {
		if e.Record.Instance != id {
			kept = append(kept, e)
		} else {
			a.bytes -= len(e.Record.Body)
		}
	}
	clear(a.pending[len(kept):])
	a.pending = kept
	if err := a.c.Store.Forget(ctx, id); err != nil {
		return fmt.Errorf("forgetting an instance: %w", err)
	}
	return nil
}

// A pause grows with each failure.
type pause struct{ next time.Duration }

func newPause() *pause { return &pause{10 * time.Millisecond} }

func (p *pause) sleep(ctx context.Context) {
	select {
	case <-time.After(p.next):
	case <-ctx.Done():
	}
	p.next = min(2*p.next, 10*time.Second)
}
