package main

import (
	"context"
	"time"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
)

// What the pages show of updates, in the pages' own words: neither package
// knows of the other.

// shownRollouts are all rollouts, the newest first.
func (u *updateService) shownRollouts(ctx context.Context) ([]dashboard.Rollout, error) {
	all, err := u.rollouts.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []dashboard.Rollout
	for _, o := range all {
		out = append(out, dashboard.Rollout{Path: o.Path, Version: o.Version, Share: o.Share, State: string(o.State), Created: o.Created, Changed: o.Changed})
	}
	return out, nil
}

// handouts are the executables that were handed out on each day since one.
func (u *updateService) handouts(ctx context.Context, since time.Time) ([]dashboard.HandoutDay, error) {
	if u.queue == nil {
		return nil, nil
	}
	days, err := u.queue.HandedByDay(ctx, since)
	if err != nil {
		return nil, err
	}
	var out []dashboard.HandoutDay
	for _, h := range days {
		out = append(out, dashboard.HandoutDay{Day: h.Day, With: h.In, Without: h.Out})
	}
	return out, nil
}
