package evergreen

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/updater"
)

// switchTo makes this process another executable. commit is called last before
// the point of no return.
func (u *updates) switchTo(ctx context.Context, to updater.Destination, commit func() error) error {
	o := switchOptions{
		Log: u.log, Rough: to.Rough,
		Before: func() error {
			if err := u.watching.save(); err != nil {
				u.log.Warn("what runs next will be judged by an older baseline", zap.Error(err))
			}
			if err := commit(); err != nil {
				return err
			}
			// From here on Caddy's apps are stopped, and with them the updater,
			// which waits for this function.
			u.committed.Store(true)
			return nil
		},
	}
	if unit := notRestarted(os.DirFS("/")); unit != "" && !to.Back {
		u.once("restart", func() {
			u.log.Warn("nobody starts Caddy again if the update crashes while it is watched: give the unit Restart=on-failure, as in docs/updates.md", zap.String("unit", unit))
		})
	}
	if to.Rough {
		o.Grace = roughGrace
	}
	err := switchTo(ctx, switchTarget{Executable: to.Path, Slot: to.Slot}, o)
	u.committed.Store(false)
	if u.orphaned.Load() {
		go u.endOrphan()
	}
	return err
}

// roughGrace is what connections of an executable that does harm are given.
const roughGrace = 5 * time.Second

// endOrphan ends an updater whose configurations are gone, when it has written
// down how the switch went that ended them.
func (u *updates) endOrphan() {
	_ = guard("end updates", func() error {
		for until := time.Now().Add(endTime); u.updater.Status().State == updater.Switching && time.Now().Before(until); {
			time.Sleep(20 * time.Millisecond)
		}
		return nil
	})
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cancel()
}

// watch judges the executable that runs on trial.
func (u *updates) watch(ctx context.Context, _ updater.Candidate) (harm string, err error) {
	u.watching.count(currentProcess(), true)
	u.observer.judge(true)
	defer u.observer.judge(false)
	return u.watching.watch(ctx, u.policy.Load().Watch)
}

// settled is how long a process runs before what it does counts as usual: by
// then the updater knows whether it is on trial.
const settled = 30 * time.Second

// An observer adds to the baseline what is usual, but for when it is judged.
type observer struct {
	judging atomic.Bool
	changed chan struct{} // wakes run; has room for one
	settled time.Duration // before which nothing is observed
}

func (o *observer) judge(on bool) {
	o.judging.Store(on)
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// run observes until ctx is done. busy tells whether an update is under way.
func (o *observer) run(ctx context.Context, observe func(context.Context), busy func() bool) {
	wait := o.settled
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.changed:
			continue
		case <-time.After(wait):
		}
		if o.judging.Load() || busy() {
			wait = time.Second
			continue // an update's end is not told, and not urgent
		}
		observing, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = guard("observe what is usual", func() error { observe(observing); return nil })
		}()
		select {
		case <-ctx.Done():
		case <-o.changed:
		case <-ended:
		}
		stop()
		<-ended
	}
}

// underTrial tells whether an update is being switched to or watched.
func (u *updates) underTrial() bool {
	s := u.updater.Status().State
	return s == updater.Switching || s == updater.Watching
}
