package evergreen

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

// redirectServer is the name of the server that Caddy adds to redirect HTTP to
// HTTPS, where no server of the user's listens on that address.
const redirectServer = "remaining_auto_https_redirects"

var (
	roleSite       = wire.Role.Value("site")
	roleRedirect   = wire.Role.Value("redirect")
	transportPlain = wire.Transport.Value("plain")
	transportTLS   = wire.Transport.Value("tls")
	protocolHTTP3  = wire.Protocol.Value("http/3")
)

// A site is one of the configuration's servers, as we see it.
type site struct {
	app         *App
	rec         *recorder.Recorder
	role        wire.Value
	errorRoutes bool        // the user has error routes
	outermost   atomic.Bool // HTTP/1 and HTTP/2 requests are measured around http.Server's handler
	swap        sync.Once
	policy      atomic.Pointer[readPolicy] // the latest that a response had
	conns       sync.Map                   // net.Conn → *conn, open TCP and unix connections
	quic        sync.Map                   // net.Addr → *conn, open QUIC connections that had a request, see quicConn
}

// siteOf makes a server's site, or finds the one that a handler of the server
// made before.
func (a *App) siteOf(srv *caddyhttp.Server) *site {
	if s := a.sites[srv]; s != nil {
		return s
	}
	s := &site{app: a, rec: a.proc.rec, role: roleSite, errorRoutes: srv.Errors != nil && len(srv.Errors.Routes) > 0}
	if a.sites == nil {
		a.sites = map[*caddyhttp.Server]*site{}
	}
	a.sites[srv] = s
	return s
}

// watch registers our callbacks on a server before it starts.
func (a *App) watch(srv *caddyhttp.Server, redirect bool) {
	s := a.siteOf(srv)
	if redirect {
		s.role = roleRedirect
	}
	srv.RegisterConnContext(s.connContext)
	srv.RegisterConnState(s.connState)
	watchCertificates(s.rec, srv)
}

// A conn is an open connection. What its first request tells is kept for when
// it ends.
type conn struct {
	site *site
	net  net.Conn   // nil for QUIC
	tap  *tap       // nil for QUIC, or without TLS
	quic *quicHello // of QUIC, if its hello was seen

	// Guarded by seen: written before it is set.
	once                sync.Once
	seen                atomic.Bool
	protocol            wire.Value
	family, transport   wire.Value
	features            recorder.Features
	handshake, finished atomic.Bool

	watch connWatch
}

type connKey struct{}

// connContext is called for a new connection, before anything is read from it:
// asking for its remote address here could wait for a PROXY header.
func (s *site) connContext(ctx context.Context, nc net.Conn) context.Context {
	_ = guard("see a connection", func() error {
		c := &conn{site: s, net: nc, tap: tapOf(nc)}
		s.conns.Store(nc, c)
		s.rec.ConnOpened()
		ctx = context.WithValue(ctx, connKey{}, c)
		c.watch.opened = time.Now()
		return nil
	})
	// Before the server's first connection is served, so that no request can
	// read the handler meanwhile.
	s.swap.Do(func() {
		s.app.try("measure around the server", "HTTP/1 and HTTP/2 requests that no route answers are not counted", func() error {
			if hs, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok && hs.Handler != nil {
				hs.Handler = &outermost{s, hs.Handler}
				s.outermost.Store(true)
			}
			return nil
		})
	})
	return ctx
}

// connState is called when a connection ends, or is taken over by a handler: it
// then ends with that handler.
func (s *site) connState(nc net.Conn, state http.ConnState) {
	if state == http.StateActive {
		s.active(nc)
	}
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	_ = guard("see a connection end", func() error {
		if v, ok := s.conns.LoadAndDelete(nc); ok && (state == http.StateClosed || !s.outermost.Load()) {
			v.(*conn).close()
		}
		return nil
	})
}

// connectionOf finds the connection of a request, and counts what there is to
// count on its first one.
func (s *site) connectionOf(r *http.Request) (c *conn, family, transport wire.Value) {
	if r.ProtoMajor == 3 {
		if c = s.quicConn(r); c == nil {
			return nil, recorder.FamilyOfRemote(r.RemoteAddr), transportTLS
		}
		c.shakenHands(r.TLS)
		c.once.Do(func() { c.firstRequest(r.TLS, r.UserAgent(), true) })
		return c, c.family, c.transport
	}
	c, _ = r.Context().Value(connKey{}).(*conn)
	if c == nil {
		return nil, recorder.FamilyOfRemote(r.RemoteAddr), transportOf(r.TLS != nil)
	}
	if !c.seen.Load() {
		c.once.Do(func() {
			state := r.TLS
			if state == nil {
				state = tlsState(c.net)
			}
			c.protocol = recorder.ProtocolOf(r.ProtoMajor, r.ProtoMinor)
			c.family = recorder.FamilyOf(c.net.RemoteAddr())
			c.transport = transportOf(state != nil)
			c.shakenHands(state)
			c.firstRequest(state, r.UserAgent(), false)
			c.seen.Store(true)
		})
	}
	return c, c.family, c.transport
}

func transportOf(encrypted bool) wire.Value {
	if encrypted {
		return transportTLS
	}
	return transportPlain
}

// shakenHands counts a completed handshake once per connection.
func (c *conn) shakenHands(state *tls.ConnectionState) {
	if state == nil || !state.HandshakeComplete || c.handshake.Load() || !c.handshake.CompareAndSwap(false, true) {
		return
	}
	c.site.rec.Handshake(&recorder.Handshake{
		Version: state.Version, Suite: state.CipherSuite, Group: uint16(state.CurveID),
		ALPN: state.NegotiatedProtocol, Resumed: state.DidResume, SNI: state.ServerName != "",
	})
	c.site.app.proc.tally.Load().Handshake()
	c.shaken(state)
}

// close counts a connection that ended.
func (c *conn) close() {
	if !c.finished.CompareAndSwap(false, true) {
		return
	}
	if c.seen.Load() {
		c.site.rec.ConnClosed(c.protocol, c.family, c.transport, c.site.role)
		return
	}
	// It had no request, but may have shaken hands.
	state := tlsState(c.net)
	c.shakenHands(state)
	c.ended(state)
	c.site.rec.ConnClosed(wire.Other, recorder.FamilyOf(c.net.RemoteAddr()), transportOf(state != nil), c.site.role)
	c.watched(connectionState{
		tls: state != nil, complete: state != nil && state.HandshakeComplete, h2: state != nil && state.NegotiatedProtocol == "h2",
	})
}

// tlsState is the state of a connection that is TLS, or nil. Caddy hides TLS
// connections that other modules have wrapped in a type of its own.
func tlsState(nc net.Conn) *tls.ConnectionState {
	for range 8 {
		if c, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
			state := c.ConnectionState()
			return &state
		}
		v := reflect.ValueOf(nc)
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return nil
		}
		v = v.FieldByName("Conn") // embedded
		if !v.IsValid() || !v.CanInterface() {
			return nil
		}
		inner, ok := v.Interface().(net.Conn)
		if !ok || inner == nil {
			return nil
		}
		nc = inner
	}
	return nil
}

// quicConn finds the QUIC connection of an HTTP/3 request. There are no
// callbacks for them: a connection is known by its remote address's pointer,
// which http3 puts into its context once, it is counted from its first request,
// and ends with its context. One without any request is not counted.
func (s *site) quicConn(r *http.Request) *conn {
	addr, _ := r.Context().Value(http3.RemoteAddrContextKey).(net.Addr)
	if addr == nil {
		return nil
	}
	if v, ok := s.quic.Load(addr); ok {
		return v.(*conn)
	}
	ctx := connectionContext(r.Context())
	if ctx == nil {
		s.app.fallBack("find QUIC connections", "HTTP/3 connections are not counted", nil)
		return nil
	}
	c := &conn{site: s, protocol: protocolHTTP3, family: recorder.FamilyOf(addr), transport: transportTLS}
	if v, ok := s.app.proc.quicHellos.Load(addr); ok {
		c.quic = v.(*quicHello)
		c.quic.asked.Store(true)
	}
	c.seen.Store(true)
	if v, known := s.quic.LoadOrStore(addr, c); known {
		return v.(*conn)
	}
	s.rec.ConnOpened()
	context.AfterFunc(ctx, func() {
		_ = guard("see a connection end", func() error {
			s.quic.Delete(addr)
			c.close()
			return nil
		})
	})
	return c
}

// connectionContext is the context of a request's connection: the outermost
// parent that has the connection's values. The standard library's contexts embed
// their parent in an exported field.
func connectionContext(ctx context.Context) context.Context {
	for range 64 {
		v := reflect.ValueOf(ctx)
		if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
			return nil
		}
		v = v.Elem().FieldByName("Context")
		if !v.IsValid() || !v.CanInterface() {
			return nil
		}
		parent, ok := v.Interface().(context.Context)
		if !ok || parent == nil {
			return nil
		}
		if parent.Value(http3.RemoteAddrContextKey) == nil {
			return ctx
		}
		ctx = parent
	}
	return nil
}

// outermost stands around http.Server's handler, where every request over
// HTTP/1 and HTTP/2 passes once, and the status that was sent is seen.
type outermost struct {
	site *site
	next http.Handler
}

func (o *outermost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := o.site.begin(r)
	if x == nil {
		o.next.ServeHTTP(w, r)
		return
	}
	returned := false
	defer func() {
		if !returned {
			x.panicking(recover())
		}
	}()
	o.next.ServeHTTP(x.writer(w), r)
	returned = true
	x.end()
}
