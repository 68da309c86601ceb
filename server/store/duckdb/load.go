package duckdb

import (
	"context"

	"github.com/caddy-evergreen/evergreen/server/store"
)

// Load is Commit of rows that are in the order of metric, facet and time, and
// whose keys are nowhere else in the store: a history that is written at once.
// Compaction leaves them as they are, unless many rows are added beside them.
func (s *Store) Load(ctx context.Context, b store.Batch) error {
	return s.add(ctx, b, sorted)
}
