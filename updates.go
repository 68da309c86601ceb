package evergreen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

type updatesKey struct{}

// updates is what outlives configurations: the updater and its goroutine. It is
// made for the first configuration that has updates on, and ends with the last
// one. It does not depend on telemetry.
type updates struct {
	dir     string
	log     *zap.Logger
	updater *updater.Updater
	self    self
	loads   atomic.Uint64 // configurations that have started
	policy  atomic.Pointer[updatesPolicy]
	gauges  updateGauges

	watching  *watching
	observer  observer
	committed atomic.Bool // to a switch: this process becomes another executable
	orphaned  atomic.Bool // no configuration uses it any more

	mu     sync.Mutex
	apps   []*App // started ones; the newest, whose policy holds, is last
	told   map[string]bool
	cancel context.CancelFunc
	done   chan struct{}
}

func newUpdates(p updatesPolicy) (*updates, error) {
	u := &updates{dir: updatesDir(), log: liveLogger().Named("updates"), told: map[string]bool{}}
	u.policy.Store(&p)
	u.gauges.u = u
	u.observer = observer{changed: make(chan struct{}, 1), settled: settled}
	var err error
	if u.watching, err = newWatching(u.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		u.log.Warn("what is usual for this server is not known, and learnt anew", zap.Error(err))
	}
	u.updater, err = updater.New(updater.Config{
		Dir: u.dir, Running: thisProcess(), Policy: u.policyOf(p), Actions: u.actions(), Log: u.log,
	})
	return u, err
}

func currentUpdates() *updates {
	var u *updates
	processes.Range(func(_, v any) bool { u, _ = v.(*updates); return u == nil })
	return u
}

// policyOf is p as the updater takes it.
func (u *updates) policyOf(p updatesPolicy) updater.Policy {
	policy := updater.Policy{
		Off: p.Off, Scope: p.Scope, Notify: p.Notify != "", NotifyWhy: p.Notify, Channel: p.Channel, Every: p.Every, Pins: p.Pins, Service: p.Server,
	}
	if p.Window == "" {
		return policy
	}
	w, err := updater.ParseWindow(p.Window)
	if err != nil {
		policy.Notify, policy.NotifyWhy = true, err.Error()
	}
	policy.Window = w
	return policy
}

// enter makes a's policy hold. The first to enter starts the updater.
func (u *updates) enter(a *App) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.apps = append(u.apps, a)
	u.loads.Add(1)
	u.apply()
	u.watching.count(currentProcess(), a.updates.Off == "" && a.updates.Notify == "")
	if u.cancel != nil || a.updates.Off != "" {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	u.cancel, u.done = cancel, make(chan struct{})
	go u.observer.run(ctx, u.watching.observe, u.underTrial)
	go func(done chan struct{}) {
		defer close(done)
		awaitFormer(ctx)
		if err := guard("update", func() error { u.updater.Run(ctx); return nil }); err != nil {
			u.log.Error("updating has ended; Caddy is not affected. Restart Caddy at a time that suits you to have it again", zap.Error(err))
		}
	}(u.done)
}

// leave takes back a's policy, which happens when its configuration is replaced,
// and also when it failed to start and the former one goes on.
func (u *updates) leave(a *App) {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := slices.Index(u.apps, a)
	if i < 0 {
		return
	}
	u.apps = slices.Delete(u.apps, i, i+1)
	if len(u.apps) > 0 {
		u.apply()
	}
}

// apply gives the updater the newest policy, and says once what keeps updates
// from being installed although nobody said so.
func (u *updates) apply() {
	p := u.apps[len(u.apps)-1].updates
	u.policy.Store(&p)
	u.updater.SetPolicy(u.policyOf(p))
	if p.Off == "" && p.Notify != "" && !p.Said && !u.told[p.Notify] {
		u.told[p.Notify] = true
		u.log.Info("updates are told of, not installed", zap.String("because", p.Notify))
	}
}

// endTime is how long the updater may take to end in order: it writes a line.
const endTime = 10 * time.Second

// Destruct ends the updater.
func (u *updates) Destruct() error {
	u.mu.Lock()
	cancel, done := u.cancel, u.done
	u.mu.Unlock()
	if cancel == nil {
		return nil
	}
	if u.committed.Load() {
		// It is the updater that ends Caddy's apps, to become another executable.
		// If that fails, the same configuration is loaded again, and its updater
		// begins when this one has written down how it went, and has ended.
		processes.LoadOrStore(formerKey{}, former{done})
		u.orphaned.Store(true)
		return nil
	}
	cancel()
	select {
	case <-done:
		return nil
	case <-time.After(endTime):
		return fmt.Errorf("updating did not end within %s", endTime)
	}
}

// A former updater has been told to end.
type former struct{ done chan struct{} }

type formerKey struct{}

func (former) Destruct() error { return nil }

// awaitFormer waits for the updater before this one, if it could not be waited
// for: both would have the same files.
func awaitFormer(ctx context.Context) {
	var f former
	processes.Range(func(_, v any) bool {
		var ok bool
		f, ok = v.(former)
		return !ok
	})
	if f.done == nil {
		return
	}
	select {
	case <-f.done:
	case <-ctx.Done():
	}
	_, _ = processes.Delete(formerKey{})
}

// noUpdates keeps why updates are off, for as long as an app is there for which
// they are.
type noUpdates struct{ why atomic.Pointer[string] }

type noUpdatesKey struct{}

func (*noUpdates) Destruct() error { return nil }

// whyNoUpdates tells why updates are off.
func whyNoUpdates() string {
	var n *noUpdates
	processes.Range(func(_, v any) bool { n, _ = v.(*noUpdates); return n == nil })
	if n == nil || n.why.Load() == nil {
		return "Evergreen has not started"
	}
	return *n.why.Load()
}

// prepareUpdates resolves the policy, and joins the process's updater if it is
// on. The error is of what the user wrote.
func (a *App) prepareUpdates() error {
	option, err := a.updatesOption()
	if err != nil {
		return err
	}
	if option != nil && a.Config.Updates != nil {
		return errors.New("updates is set twice: as a global option, and in the option evergreen")
	}
	err = guard("prepare updates", func() (err error) {
		a.updates, err = resolveUpdates(a.Config.Updates, option, os.Getenv, builtFrom(BuildSpec), currentSurroundings)
		if err != nil {
			a.log.Warn("a variable in the environment can't be used", zap.Error(err))
		}
		if a.updates.Off != "" {
			return nil
		}
		a.bootLate()
		v, _, err := processes.LoadOrNew(updatesKey{}, func() (caddy.Destructor, error) { return newUpdates(a.updates) })
		if err == nil {
			a.updating = v.(*updates)
			err = a.ctx.GetMetricsRegistry().Register(&a.updating.gauges)
		}
		return err
	})
	if err != nil {
		a.log.Warn("updates are limited; Caddy is not affected", zap.Error(err))
		if a.updating == nil {
			a.updates = updatesPolicy{Off: "it could not be made: Caddy's log says why"}
		}
	}
	return nil
}

// updatesOption is the Caddyfile's global option updates; nil if it is not set.
func (a *App) updatesOption() (*UpdatesConfig, error) {
	raw, loaded, err := configuredApp(a.ctx, updatesApp)
	switch {
	case err != nil:
		// Another Caddy, whose configuration looks different.
		a.log.Warn("whether the global option updates is set can't be seen: updates are as if it were not", zap.Error(err))
		return nil, nil
	case loaded:
		v, err := a.ctx.AppIfConfigured(updatesApp)
		if err != nil {
			return nil, err
		}
		return &v.(*UpdatesApp).UpdatesConfig, nil
	case len(raw) == 0:
		return nil, nil
	}
	c := new(UpdatesConfig)
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, err
	}
	return c, c.check()
}

// startUpdates makes a's policy the process's.
func (a *App) startUpdates() {
	err := guard("start updates", func() error {
		if a.updates.Off != "" {
			v, _ := processes.LoadOrStore(noUpdatesKey{}, new(noUpdates))
			v.(*noUpdates).why.Store(&a.updates.Off)
			a.noUpdates = true
		}
		if u := currentUpdates(); u != nil {
			if a.updating == nil && u.underTrial() {
				// What already serves is watched to the end, and this keeps it so.
				processes.LoadOrStore(updatesKey{}, u)
				a.updating = u
			}
			u.enter(a)
		}
		// A helper or a rehearsal of an update has it off in its environment, and
		// is no start that a slot is given tries for.
		if env, _ := updatesEnv(os.Getenv); env.Scope != string(wire.ScopeNone) {
			a.tellUp()
		}
		return nil
	})
	if err != nil {
		a.log.Warn("there are no updates; Caddy is not affected", zap.Error(err))
	}
}

func (a *App) stopUpdates() {
	_ = guard("stop updates", func() error {
		if u := currentUpdates(); u != nil {
			u.leave(a)
		}
		return nil
	})
}

func (a *App) cleanUpdates() {
	_ = guard("clean up updates", func() (err error) {
		if a.noUpdates {
			_, err = processes.Delete(noUpdatesKey{})
		}
		if a.updating != nil {
			_, err2 := processes.Delete(updatesKey{})
			err = errors.Join(err, err2)
		}
		if err != nil {
			a.log.Warn("ending updates", zap.Error(err))
		}
		return nil
	})
}
