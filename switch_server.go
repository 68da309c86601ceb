package evergreen

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-evergreen/evergreen/bridge"
)

// A switchServer is what a switch can do with this process's Caddy. The http
// app's servers are stopped by themselves: the configuration stays loaded and
// the admin endpoint answers, so that `caddy reload` and `caddy stop` work
// throughout.
type switchServer struct {
	live            []byte         // to serve again with; nil in a helper, which never does
	loaded          atomic.Uintptr // the configuration that the switch began with
	configuredGrace time.Duration  // the http app's grace_period
	admin           *heldAdmin     // nil: the admin endpoint's queue is not handed on
	stopped         atomic.Bool    // all of Caddy is, not only its servers
	halted          atomic.Bool    // the servers are
}

// newSwitchServer is for the running configuration.
func newSwitchServer(live []byte) *switchServer {
	s := &switchServer{live: live}
	s.loaded.Store(running())
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

// Retire has answers to HTTP/1 requests ask for a new connection.
func (s *switchServer) Retire(on bool) { retiring.Store(on) }

// Stop closes the listeners and returns when connections have finished, or ctx
// has ended. Upgraded connections are not waited for: the bridge sees them.
func (s *switchServer) Stop(ctx context.Context) error {
	err := guard("stop the servers", func() error {
		if err := s.Abort(); err != nil {
			return err
		}
		s.halted.Store(true)
		if app := httpOf(caddy.ActiveContext()); app != nil {
			if err := stopHTTP(app); err != nil {
				return err
			}
		}
		return s.stopOthers(ctx)
	})
	if err != nil {
		return err
	}
	for openConnections() > 0 && ctx.Err() == nil {
		pause(ctx, 20*time.Millisecond)
	}
	return nil
}

func stopHTTP(app *caddyhttp.App) error {
	// The delay is for load balancers to take a server out that goes away: this
	// one does not. And without a grace period Stop's goroutines tell idle
	// connections to go for as long as there are any: how long that may take is
	// bounded by who called us.
	grace := app.GracePeriod
	app.ShutdownDelay, app.GracePeriod = 0, 0
	defer func() { app.GracePeriod = grace }() // for when Caddy is told to exit meanwhile
	return app.Stop()
}

// stopOthers stops all of Caddy if other apps than http listen, too: they can't
// be stopped by themselves, as they may not bear being stopped twice.
func (s *switchServer) stopOthers(ctx context.Context) error {
	admin := isAdmin()
	for began := time.Now(); ; pause(ctx, 20*time.Millisecond) {
		sockets, err := bridge.Survey()
		if err != nil {
			return nil // where sockets can't be looked at none is bridged
		}
		others := false
		for _, l := range sockets {
			others = others || l.Network == "tcp" && !l.Passed && (admin == nil || !admin(l.Network, l.Addr))
		}
		switch {
		case !others || ctx.Err() != nil:
			return nil
		case time.Since(began) > 2*time.Second: // http's close at once
			s.stopped.Store(true)
			return caddy.Stop()
		}
	}
}

// Resume serves again after Stop, with the same configuration.
func (s *switchServer) Resume(context.Context) error {
	s.admin.release()
	if !s.halted.Load() && !s.stopped.Load() || caddy.Exiting() {
		return nil
	}
	if now := running(); now != 0 && now != s.loaded.Load() {
		return nil // a reload has done it
	}
	if err := caddy.Load(s.live, true); err != nil {
		return fmt.Errorf("serving again after a switch that failed: %w: load the configuration with `caddy reload`", err)
	}
	s.loaded.Store(running())
	s.halted.Store(false)
	s.stopped.Store(false)
	return nil
}

// Abort tells why the switch must be given up.
func (s *switchServer) Abort() error {
	stopped := s.stopped.Load()
	switch {
	case caddy.Exiting():
		return bridge.ErrExit
	case s.live == nil: // a helper has no admin endpoint
		return nil
	case !stopped && running() != s.loaded.Load(), stopped && running() != 0:
		return errReloaded
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
