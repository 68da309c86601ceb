package evergreen

import (
	"context"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/wire"
)

// retiring is set while this process is about to stop: its answers to HTTP/1
// requests then ask the client for a new connection, which another process gets.
// A client that had a request ready for an idle connection would otherwise lose
// it when that closes, and may not send a POST twice.
var retiring atomic.Bool

// connections counts the open TCP and unix connections of all http servers.
var connections atomic.Int64

func openConnections() int64 { return connections.Load() }

// prepareSwitch makes the configuration's servers retirable, unless updates are
// off: Caddy's servers are then left as they are.
func (a *App) prepareSwitch() {
	if a.updatesOff() {
		return
	}
	err := guard("prepare for a switch", func() error {
		v, err := a.ctx.AppIfConfigured("http")
		if err == nil {
			retirable(v.(*caddyhttp.App))
		}
		return nil // Caddy reports what is wrong with the app
	})
	if err != nil {
		a.log.Warn("a switch to an update may lose requests on idle connections", zap.Error(err))
	}
}

func (a *App) updatesOff() bool {
	if isOff(os.Getenv("EVERGREEN_UPDATES")) {
		return !asHelper()
	}
	env, _ := updatesEnv(os.Getenv)
	if a.Updates != nil {
		env = a.Updates.over(env)
	}
	scope, err := parseScope(env.Scope)
	return err == nil && scope == wire.ScopeNone
}

// retirable prepares servers, before they start, to be stopped by a switch. It
// is independent of telemetry.
func retirable(app *caddyhttp.App) {
	for _, srv := range app.Servers {
		if srv == nil {
			continue
		}
		var open sync.Map // net.Conn → nothing
		var once sync.Once
		srv.RegisterConnContext(func(ctx context.Context, nc net.Conn) context.Context {
			open.Store(nc, nil)
			connections.Add(1)
			// Before the server's first connection is served, as outermost.
			once.Do(func() {
				if hs, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok && hs.Handler != nil {
					hs.Handler = retiringHandler{hs.Handler}
				}
			})
			return ctx
		})
		srv.RegisterConnState(func(nc net.Conn, state http.ConnState) {
			if state != http.StateClosed && state != http.StateHijacked {
				return
			}
			if _, ok := open.LoadAndDelete(nc); ok {
				connections.Add(-1)
			}
		})
	}
}

type retiringHandler struct{ next http.Handler }

func (h retiringHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if retiring.Load() && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	h.next.ServeHTTP(w, r)
}
