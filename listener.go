package evergreen

import (
	"bytes"
	"encoding/json"
	"net"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(ListenerWrapper{})
}

// ListenerWrapper stands directly before TLS, where handshakes are seen in the
// clear, see tap. Connections of a listener without TLS it hands on as they are, so
// that sendfile and other modules' type assertions work as without it.
//
// Its place in time matters as much: Caddy provisions a server's wrappers after
// automatic HTTPS has looked at the routes, and before it compiles them. That is
// when our handler goes into the routes, unseen by automatic HTTPS.
type ListenerWrapper struct {
	srv      *caddyhttp.Server // nil: not injected by us, does nothing
	httpPort int
}

// CaddyModule returns the Caddy module information.
func (ListenerWrapper) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.evergreen", New: func() caddy.Module { return new(ListenerWrapper) }}
}

// Provision puts our handlers into the server's routes.
func (l *ListenerWrapper) Provision(ctx caddy.Context) error {
	a, _ := ctx.Value(appKey{}).(*App)
	srv, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if a == nil || srv == nil {
		return nil // in a configuration of the user's: it does nothing
	}
	l.srv, l.httpPort = srv, a.httpPort
	a.try("see QUIC's handshakes", "HTTP/3's handshakes are not counted", func() error {
		matchHandshakes(srv)
		return nil
	})
	a.try("insert the handler", "HTTP/3 requests and handler errors are not counted", func() error {
		srv.Routes = slices.Concat(caddyhttp.RouteList{route(primary)}, srv.Routes, caddyhttp.RouteList{route(last)})
		if srv.Errors != nil && len(srv.Errors.Routes) > 0 {
			srv.Errors.Routes = slices.Insert(slices.Clone(srv.Errors.Routes), 0, route(onError))
		}
		return nil
	})
	return nil
}

// WrapListener taps the connections of a listener that Caddy puts TLS on.
func (l *ListenerWrapper) WrapListener(ln net.Listener) net.Listener {
	if l.srv == nil || len(l.srv.TLSConnPolicies) == 0 {
		return ln
	}
	if a, ok := ln.Addr().(*net.TCPAddr); ok && a.Port == l.httpPort {
		return ln
	}
	return tapListener{ln}
}

func route(phase string) caddyhttp.Route {
	return caddyhttp.Route{HandlersRaw: []json.RawMessage{routeHandler(phase)}}
}

func routeHandler(phase string) json.RawMessage {
	return json.RawMessage(`{"handler":"evergreen","phase":"` + phase + `"}`)
}

// settle finishes the routes of a server when all of them are provisioned: the
// first one must not appear in Caddy's own metrics as one more handler, and the
// last one, which brought us here, has done its work.
func settle(ctx caddy.Context, srv *caddyhttp.Server) error {
	n := len(srv.Routes)
	if n < 2 || len(srv.Routes[n-1].HandlersRaw) != 1 || !bytes.Equal(srv.Routes[n-1].HandlersRaw[0], routeHandler(last)) {
		return nil // Caddy does this in another order: they stay, and do no harm
	}
	if err := srv.Routes[0].ProvisionHandlers(ctx, nil); err != nil {
		return err
	}
	srv.Routes = srv.Routes[:n-1]
	return nil
}

var (
	_ caddy.Provisioner     = (*ListenerWrapper)(nil)
	_ caddy.ListenerWrapper = (*ListenerWrapper)(nil)
)
