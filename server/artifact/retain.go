package artifact

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// usedLately is how long an executable stays after it was last found, or
// run by one who asked: instances ask more often than once a day.
const usedLately = 48 * time.Hour

// retain withdraws executables until what is left has at most MaxBytes, those
// first that nobody has asked for the longest. What was asked for lately stays,
// however much that is: what a live rollout brings is asked for all the time.
func (r *Repository) retain(ctx context.Context) error {
	if r.o.MaxBytes <= 0 {
		return nil
	}
	type executable struct {
		sum  string
		size int64
		used time.Time
	}
	x := &r.index
	bytes := map[string]int64{}
	var all []executable
	var total int64
	x.mu.RLock()
	for _, l := range x.byName {
		total += l.size
		if l.custom.Kind == wire.TargetExecutable {
			bytes[l.sha256] += l.size
			all = append(all, executable{sum: l.sha256})
		} else {
			bytes[l.custom.Of] += l.size
		}
	}
	x.mu.RUnlock()
	if total <= r.o.MaxBytes {
		return nil
	}
	x.usedMu.Lock()
	for i := range all {
		e := &all[i]
		e.size, e.used = bytes[e.sum], x.used[e.sum]
		if e.used.IsZero() {
			e.used = r.opened // before, nobody took notes
		}
	}
	x.usedMu.Unlock()
	slices.SortFunc(all, func(a, b executable) int { return a.used.Compare(b.used) })
	var gone []string
	for _, e := range all {
		if total <= r.o.MaxBytes || e.used.After(r.o.Now().Add(-usedLately)) {
			break
		}
		gone, total = append(gone, e.sum), total-e.size
	}
	if len(gone) == 0 {
		return nil
	}
	if err := r.withdraw(ctx, gone); err != nil {
		return fmt.Errorf("making room in the repository: %w", err)
	}
	x.usedMu.Lock()
	for _, sum := range gone {
		delete(x.used, sum)
	}
	x.usedMu.Unlock()
	r.o.Log.Info("withdrew executables that nobody asks for", "count", len(gone), "bytes_left", total)
	return nil
}
