package main

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-evergreen/evergreen/server/campaigns"
	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/store"
)

// retainEvery is how often out-of-date data is looked for. Rollups are kept in
// parts until then, so it bounds how many parts a query merges, too.
const retainEvery = 15 * time.Minute

// retain drops what the configuration keeps no longer, and compacts the store,
// until ctx is done. A failure is logged and tried again the next time.
func (s *service) retain(ctx context.Context) error {
	t := time.NewTicker(retainEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			if err := s.retainAt(ctx, now); err != nil && ctx.Err() == nil {
				s.log.Error("dropping what is out of date failed; it is tried again", "in", retainEvery, "error", err)
			}
		}
	}
}

func (s *service) retainAt(ctx context.Context, now time.Time) error {
	r := s.config.Retention
	for _, k := range []struct {
		grain store.Grain
		keep  time.Duration
	}{{store.Window, r.Window.Duration}, {store.Hour, r.Hour.Duration}, {store.Day, r.Day.Duration}} {
		if k.keep == 0 {
			continue
		}
		if err := s.store.DropBefore(ctx, k.grain, now.Add(-k.keep)); err != nil {
			return fmt.Errorf("dropping sums by %s: %w", k.grain, err)
		}
	}
	if keep := s.config.Campaigns.Keep.Duration; keep > 0 {
		// A day more, so that the hours that are compared with are there as a whole.
		if err := s.store.DropIncidents(ctx, now.Add(-keep-campaigns.Lookback-24*time.Hour)); err != nil {
			return fmt.Errorf("dropping incidents: %w", err)
		}
	}
	if r.Raw.Duration > 0 {
		done, err := s.store.Position(ctx, "local")
		if err != nil {
			return err
		}
		if err := s.reports.DropBefore(now.Add(-r.Raw.Duration), ingestlog.Position(done)); err != nil {
			return fmt.Errorf("dropping raw reports: %w", err)
		}
	}
	if err := s.store.Compact(ctx, now.Add(-time.Hour)); err != nil {
		return fmt.Errorf("compacting the store: %w", err)
	}
	return nil
}
