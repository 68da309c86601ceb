package evergreen

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// A switch makes this process another executable of Caddy, with the same
// process id and the same configuration. Package bridge does it; these files are
// Caddy's side of it, in three roles:
//
//   - the process that is replaced (switchTo, switchServer): its http app's
//     servers stop, its configuration and its admin endpoint stay to the end;
//   - the helper (help, HelperListener), the candidate with helperConfig: no
//     admin endpoint, no telemetry, no updates; it lives for seconds, or for as
//     long as what it has begun takes;
//   - the process that has taken the place (landed), which reads the
//     configuration as it would after any start, or the one that ran if that is
//     another.
//
// Where connections can't be steered, the process stops its servers, lets them
// finish, and execs: new connections are refused for as long as a start of Caddy
// takes. What will happen is in the log before it does.

// A switchTarget is the executable that this process becomes.
type switchTarget struct {
	Executable string // its path
	Slot       string // its slot's ID, or "" for the installed executable
}

// switchOptions are how to switch. The zero value works.
type switchOptions struct {
	// Grace bounds how long open connections may take to finish. 0 is the http
	// app's grace_period, or 10 minutes where it has none.
	Grace time.Duration
	// Settle is how long what is on its way is given to arrive; 0 is the bridge's.
	Settle time.Duration
	// Rough: without a helper, whatever can be had: what serves must go at once.
	Rough bool
	// Before is called when the servers have stopped, and nothing is left to do
	// but to stop Caddy's other apps, which ends the reporter and the updater,
	// and exec. An error gives the switch up.
	Before func() error
	// Log is where each step is told; nil is Caddy's default log.
	Log *zap.Logger
}

// defaultGrace bounds the wait for open connections where the configuration
// does not: a download of 200 MB at 3 Mbit/s fits in it. New connections are
// served by the helper all the while.
const defaultGrace = 10 * time.Minute

var (
	// errSwitching is that a switch is on its way already.
	errSwitching = errors.New("this process is being switched already")

	// errReloaded is that another configuration was loaded while the switch was on its way.
	errReloaded = errors.New("a configuration was loaded in the middle of the switch: it is tried again with that one")
)

// switching is set while a switch is on its way: one at a time in a process.
// From the last words before exec on, whoever ends with the configuration must
// not wait for the one that asked for the switch.
var switching atomic.Bool

// switchTo makes this process the target's executable. It returns only if that
// failed, and then the process serves as before, unless Caddy is exiting
// (bridge.ErrExit).
//
// ctx gives the switch up until the last words before exec: from then on it
// counts no more, since stopping Caddy's apps may end it.
func switchTo(ctx context.Context, to switchTarget, o switchOptions) error {
	if !switching.CompareAndSwap(false, true) {
		return errSwitching
	}
	defer switching.Store(false)
	if o.Log == nil {
		o.Log = liveLogger()
	}
	return guard("switch", func() error {
		if err := executable(to.Executable); err != nil {
			return err
		}
		next, err := planStart(ctx, to.Executable)
		if err != nil && o.Rough {
			o.Log.Warn("the next executable loads what Caddy was started with: the running configuration can't be had", zap.Error(err))
			next, err = planAnew()
		}
		if err != nil {
			return err
		}
		defer next.discard()
		return cross(ctx, to, next, o)
	})
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is no executable file", path)
	}
	return nil
}

// grace is how long open connections may take to finish.
func (o switchOptions) grace(configured time.Duration) time.Duration {
	switch {
	case o.Grace > 0:
		return o.Grace
	case configured > 0:
		return configured
	}
	return defaultGrace
}

// lastWords stops all of Caddy but its admin endpoint, as at an exit: plugins
// flush what they have, the reporter spools, upgraded connections are told that
// they end, storage is unlocked.
func (s *switchServer) lastWords(before func() error) (err error) {
	defer func() {
		if err != nil {
			s.admin.release() // whoever serves next listens anew
		}
	}()
	if err := s.Abort(); err != nil {
		return err
	}
	if err := s.admin.handOver(); err != nil {
		return fmt.Errorf("handing the admin endpoint over: %w", err)
	}
	if err := s.Abort(); err != nil {
		return err // it came with the last request
	}
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	s.stopped.Store(true)
	if err := caddy.Stop(); err != nil {
		return fmt.Errorf("stopping Caddy's apps: %w", err)
	}
	certmagic.CleanUpOwnLocks(context.Background(), caddy.Log())
	return s.Abort()
}

// switchUp returns when this process serves, with its part of the switch that
// made it done: the helper listens no more. An error says what was not done. In
// a process that no switch made it waits for the first configuration.
func switchUp(ctx context.Context) error {
	if l := started.landed; l != nil {
		select {
		case <-l.done:
			return l.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for running() == 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
