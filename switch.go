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
// process id and the same configuration.
//
// Where package bridge is supported, a helper process (the candidate itself)
// serves meanwhile: no connection is refused and no request fails. Elsewhere the
// process stops its servers, lets them finish, and execs: new connections are
// refused for as long as a start of Caddy takes. What will happen is in the log
// before it does.

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

	// errExiting is that Caddy was told to exit.
	errExiting = errors.New("Caddy is exiting")

	// errReloaded is that another configuration was loaded while the switch was on its way.
	errReloaded = errors.New("a configuration was loaded in the middle of the switch; it is tried again with that one")
)

// switching is set while a switch is on its way: one at a time in a process.
// From the last words before exec on, whoever ends with the configuration must
// not wait for the one that asked for the switch.
var switching atomic.Bool

// switchTo makes this process the target's executable. It returns only if that
// failed, and then the process serves as before, unless Caddy is exiting.
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
		if err != nil {
			return err
		}
		defer next.discard()
		return restart(ctx, to, next, o)
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

// restart is the switch without a helper: new connections are refused from when
// the servers stop until the next executable is up.
func restart(ctx context.Context, to switchTarget, next *nextStart, o switchOptions) error {
	if !canExec {
		return errors.New("this platform can't replace a running process: the update is used from the next start on")
	}
	o.Log.Warn("switching without a helper: new connections are refused for a moment",
		zap.String("to", to.Executable))
	s := newSwitchServer(next.live)
	if err := s.Stop(ctx); err != nil {
		return errors.Join(fmt.Errorf("stopping the servers: %w", err), s.Resume(ctx))
	}
	wait, cancel := context.WithTimeout(ctx, o.grace(s.configuredGrace))
	err := s.finished(wait)
	cancel()
	if err == nil {
		err = s.lastWords(o.Before)
	}
	if err == nil {
		err = fmt.Errorf("exec %s: %w", to.Executable, execve(to.Executable, started.args, next.environ(to)))
	}
	return errors.Join(err, s.Resume(context.WithoutCancel(ctx)))
}

// lastWords stops all of Caddy but its admin endpoint, as at an exit: plugins
// flush what they have, the reporter spools, upgraded connections are told that
// they end, storage is unlocked.
func (s *switchServer) lastWords(before func() error) error {
	if err := s.Abort(); err != nil {
		return err
	}
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	s.stopped = true
	if err := caddy.Stop(); err != nil {
		return fmt.Errorf("stopping Caddy's apps: %w", err)
	}
	certmagic.CleanUpOwnLocks(context.Background(), caddy.Log())
	if caddy.Exiting() {
		return errExiting
	}
	return nil
}

// switchUp returns when this process serves, with its part of the switch that
// made it done: there is no helper any more. An error says why it never will.
// In a process that no switch made it waits for the first configuration.
func switchUp(ctx context.Context) error {
	for running() == 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
