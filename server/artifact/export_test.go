package artifact

import (
	"context"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/caddy-evergreen/evergreen/delta"
)

// Step is what Run does each second.
func (r *Repository) Step(ctx context.Context) error { return r.step(ctx) }

// Prune is what Run does each hour.
func (r *Repository) Prune(ctx context.Context, grace time.Duration) error {
	return r.prune(ctx, grace)
}

// OnWriting has f called before each write to the storage, which fails if f does.
func (r *Repository) OnWriting(f func(name string) error) { r.s.before = f }

// OnWrite has f called after each write to the storage.
func (r *Repository) OnWrite(f func(name string)) { r.s.after = f }

// Sign signs metadata as who has some keys can.
func Sign[T metadata.Roles](m *metadata.Metadata[T], keys ...*Key) ([]byte, error) {
	if err := sign(m, keys); err != nil {
		return nil, err
	}
	return m.ToBytes(false)
}

// MakeDelta is what Run does for WantDelta.
func (r *Repository) MakeDelta(ctx context.Context, from, to string, m delta.Method) error {
	return r.makeDelta(ctx, deltaJob{from, to, m})
}

// Retain is what Run does each hour before it prunes.
func (r *Repository) Retain(ctx context.Context, most int64) error {
	r.o.MaxBytes = most
	return r.retain(ctx)
}
