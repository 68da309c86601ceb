package evergreen

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A switchServer is what a switch can do with this process's Caddy. The http
// app's servers are stopped by themselves: the configuration stays loaded and
// the admin endpoint answers, so that `caddy reload` and `caddy stop` work
// throughout.
type switchServer struct {
	live            []byte        // to serve again with
	loaded          uintptr       // the configuration that the switch began with
	configuredGrace time.Duration // the http app's grace_period
	stopped         bool          // all of Caddy is, not only its servers
	halted          bool          // the servers are
}

func newSwitchServer(live []byte) *switchServer {
	s := &switchServer{live: live, loaded: running()}
	if app := httpOf(caddy.ActiveContext()); app != nil {
		s.configuredGrace = time.Duration(app.GracePeriod)
	}
	return s
}

// httpOf is a configuration's http app, or nil.
func httpOf(ctx caddy.Context) *caddyhttp.App {
	if ctx.Context == nil {
		return nil
	}
	v, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	app, _ := v.(*caddyhttp.App)
	return app
}

// Stop closes the http app's listeners; its connections finish by themselves.
func (s *switchServer) Stop(context.Context) error {
	return guard("stop the servers", func() error {
		if err := s.Abort(); err != nil {
			return err
		}
		app := httpOf(caddy.ActiveContext())
		if app == nil {
			return nil
		}
		s.halted = true
		// The delay is for load balancers to take a server out that goes away:
		// this one does not. And without a grace period Stop's goroutines tell
		// idle connections to go for as long as there are any: how long that may
		// take is bounded by who called us.
		grace := app.GracePeriod
		app.ShutdownDelay, app.GracePeriod = 0, 0
		err := app.Stop()
		app.GracePeriod = grace // for when Caddy is told to exit meanwhile
		return err
	})
}

// Resume serves again after Stop, with the same configuration.
func (s *switchServer) Resume(context.Context) error {
	if !s.halted && !s.stopped || caddy.Exiting() {
		return nil
	}
	now := running()
	if now != 0 && now != s.loaded {
		return nil // a reload has done it
	}
	if err := caddy.Load(s.live, true); err != nil {
		return fmt.Errorf("serving again after a switch that failed: %w: load the configuration with `caddy reload`", err)
	}
	s.halted, s.stopped = false, false
	return nil
}

// Abort tells why the switch must be given up.
func (s *switchServer) Abort() error {
	switch {
	case caddy.Exiting():
		return errExiting
	case !s.stopped && running() != s.loaded, s.stopped && running() != 0:
		return errReloaded
	}
	return nil
}

// finished waits until the connections that were open at Stop have ended, or
// ctx has, which is no error: they had their time.
func (s *switchServer) finished(ctx context.Context) error {
	for openConnections() > 0 {
		if err := s.Abort(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil
			}
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return s.Abort()
}
