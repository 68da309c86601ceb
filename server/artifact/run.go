package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"time"
)

const (
	tick       = time.Second
	pruneEvery = time.Hour
	// pruneGrace is how long a client may go on with metadata that was replaced.
	pruneGrace = 24 * time.Hour
	// expiryWarning is when the log begins to ask for the offline keys.
	expiryWarning = 30 * 24 * time.Hour
)

// Run signs again what would expire, installs what `evergreen keys publish` left,
// makes the deltas that were asked for, and removes what nothing refers to. It
// returns when ctx ends.
func (r *Repository) Run(ctx context.Context) error {
	var w sync.WaitGroup
	defer w.Wait()
	w.Add(1)
	go func() {
		defer w.Done()
		r.makeDeltas(ctx)
	}()
	t := time.NewTicker(tick)
	defer t.Stop()
	var pruned, warned time.Time
	failing := false
	for {
		err := r.step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case err != nil && !failing:
			r.o.Log.Error("the repository can't be signed: it is tried each second", "error", err)
		case err == nil && failing:
			r.o.Log.Info("the repository is signed again")
		}
		failing = err != nil
		now := r.o.Now()
		if now.Sub(pruned) >= pruneEvery {
			pruned = now
			if err := errors.Join(r.retain(ctx), r.prune(ctx, pruneGrace)); err != nil && ctx.Err() == nil {
				r.o.Log.Error("old files stay", "error", err)
			}
		}
		if now.Sub(warned) >= 24*time.Hour {
			warned = now
			r.warn(now)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func (r *Repository) step(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.ready(ctx); err != nil {
		return err
	}
	err := r.install(ctx)
	if again := r.ready(ctx); again != nil {
		return errors.Join(err, again)
	}
	// What can't be installed must not let the rest expire.
	return errors.Join(err, r.renew(ctx))
}

func (r *Repository) warn(now time.Time) {
	r.mu.Lock()
	st := r.state
	r.mu.Unlock()
	if st == nil {
		return
	}
	for role, expires := range map[string]time.Time{RoleRoot: st.root.Signed.Expires, RoleTargets: st.targets.Signed.Expires} {
		if now.Add(expiryWarning).After(expires) {
			r.o.Log.Warn("offline metadata expires soon, and then no client updates: renew it with `evergreen keys rotate`, sign and publish", "role", role, "expires", expires)
		}
	}
}

func sha256Hex(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
