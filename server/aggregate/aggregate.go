// Package aggregate folds ranges of an ingest log into batches of rollup rows.
package aggregate

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Reader is an ingest log.
type Reader interface {
	Read(ctx context.Context, from ingestlog.Position, maxBytes int) (entries []ingestlog.Entry, next ingestlog.Position, err error)
	Wait(ctx context.Context, after ingestlog.Position) error
}

// A Config is what an Aggregator works with.
type Config struct {
	LogName         string // names the log in the store
	Log             Reader
	Store           store.Store
	Timing          wire.Timing
	Logger          *slog.Logger
	Registerer      prometheus.Registerer
	Now             func() time.Time
	CutFile         string        // remembers where a batch that is being committed ends; "" for none
	FlushEvery      time.Duration // 5 s if 0
	MaxBatchRecords int           // 20,000 if 0
	MaxBatchBytes   int           // 32 MiB if 0
}

// An Aggregator folds one log into a store.
type Aggregator struct{}

// New makes an aggregator and starts nothing.
func New(c Config) *Aggregator { return &Aggregator{} }

// Run folds until ctx is done.
func (a *Aggregator) Run(ctx context.Context) error { return errors.New("not written yet") }

// Forget erases an instance from the store, between two commits. Erase it from the log first.
func (a *Aggregator) Forget(ctx context.Context, id wire.InstanceID) error {
	return errors.New("not written yet")
}
