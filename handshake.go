package evergreen

import (
	"context"
	"crypto/tls"
	"net"
	"reflect"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/clients"
	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

var (
	familyUnknown  = wire.ClientFamily.Value("unknown")
	libraryUnknown = wire.TLSLibrary.Value("unknown")
	familyIPv6     = wire.Family.Value("ipv6")
	bytesOfClient  = wire.ByteDirection.Value("client")
	bytesOfServer  = wire.ByteDirection.Value("server")
	present        = wire.Presence.Value("present")
	absent         = wire.Presence.Value("absent")
	full           = wire.Resumption.Value("full")
	resumed        = wire.Resumption.Value("resumed")
)

// A handshaker is a TLS connection.
type handshaker interface {
	net.Conn
	HandshakeContext(context.Context) error
	NetConn() net.Conn
	ConnectionState() tls.ConnectionState
}

// tlsConn is the connection itself, out of what other modules wrapped it in, or nil.
func tlsConn(nc net.Conn) handshaker {
	for range 8 {
		if c, ok := nc.(handshaker); ok {
			return c
		}
		v := reflect.ValueOf(nc)
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return nil
		}
		var inner net.Conn
		for i := range v.NumField() { // embedded
			if f := v.Type().Field(i); f.Anonymous && v.Field(i).CanInterface() {
				if inner, _ = v.Field(i).Interface().(net.Conn); inner != nil {
					break
				}
			}
		}
		if inner == nil {
			return nil
		}
		nc = inner
	}
	return nil
}

// tapOf finds the tap below a connection, or nil.
func tapOf(nc net.Conn) *tap {
	if c, ok := nc.(*tls.Conn); ok {
		t, _ := c.NetConn().(*tap)
		return t
	}
	if c := tlsConn(nc); c != nil {
		t, _ := c.NetConn().(*tap)
		return t
	}
	return nil
}

// A glimpse is what is kept of a hello when it was counted.
type glimpse struct {
	library wire.Value
	had     bool // there was a hello
	sni     bool
	ech, pq bool // offered
}

func glimpseOf(h *clienthello.Hello) glimpse {
	g := glimpse{library: libraryUnknown, had: true, sni: h.ServerName != "", ech: h.ECH}
	for _, group := range h.Groups {
		g.pq = g.pq || wire.PostQuantum(group)
	}
	return g
}

// countHello counts a connection's hello. A nil client is one that is unknown.
func countHello(rec *recorder.Recorder, h *clienthello.Hello, malformed bool, client *clients.Client) glimpse {
	family := familyUnknown
	if client != nil {
		family = client.Family()
	}
	rec.Hello(h, malformed, family)
	g := glimpseOf(h)
	if malformed || h.Transport == clienthello.QUIC {
		return g // a judgement needs what only the raw hello has
	}
	c := clients.Client{}
	if client != nil {
		c = *client
	}
	j := clients.Judge(h, c)
	g.library = j.Library
	rec.Add(wire.TLSLibraries, wire.Dims{j.Library, family}, 1)
	if client != nil {
		rec.Add(wire.TLSInterception, wire.Dims{j.Verdict, family}, 1)
		rec.Add(wire.TLSInterceptionLibraries, wire.Dims{j.Library, j.Verdict}, 1)
	}
	return g
}

// firstRequest counts what is known of a connection at its first request.
func (c *conn) firstRequest(state *tls.ConnectionState, userAgent string, http3 bool) {
	_ = guard("see a handshake", func() error {
		rec := c.site.rec
		client := rec.Classify(userAgent)
		g := c.countHello(&client)
		f := recorder.FeatureAll
		has := func(there bool, feature recorder.Features) {
			if there {
				f |= feature
			}
		}
		has(c.family == familyIPv6, recorder.FeatureIPv6)
		has(http3, recorder.FeatureHTTP3)
		has(g.ech, recorder.FeatureECHOffered)
		has(g.pq, recorder.FeaturePQOffered)
		if state != nil {
			f |= recorder.FeatureTLS
			has(state.ServerName != "" || g.sni, recorder.FeatureSNI)
			has(state.ECHAccepted, recorder.FeatureECHAccepted)
			has(wire.PostQuantum(uint16(state.CurveID)), recorder.FeaturePQ)
			has(state.Version == tls.VersionTLS13, recorder.FeatureTLS13)
			has(state.DidResume, recorder.FeatureResumed)
			has(http3 && !state.HandshakeComplete, recorder.FeatureEarlyData)
		}
		c.features = f
		rec.ConnectionFeatures(f, client.Family())
		return nil
	})
}

// countHello counts the connection's hello if there is one that was not counted.
func (c *conn) countHello(client *clients.Client) (g glimpse) {
	g.library = libraryUnknown
	if c.tap == nil {
		if c.quic != nil {
			var f fingerprint
			g, f = c.quic.count(c.site.app.proc, client)
			c.watch.greeted(f)
		}
		return g
	}
	s, p := c.tap.take()
	if p == nil {
		return g
	}
	if s.hello == helloNone {
		p.free()
		return g
	}
	c.watch.greeted(c.site.app.proc.attacks.fingerprints.of(&p.hello))
	if client != nil {
		g = glimpseOf(&p.hello)
		p.hello.ServerName = sniMark(p.hello.ServerName)
		c.site.app.proc.hellos.put(heldHello{p, s.hello == helloBroken, *client})
		return g
	}
	g = countHello(c.site.rec, &p.hello, s.hello == helloBroken, nil)
	p.free()
	return g
}

// shaken counts what the tap has seen of a handshake that was completed.
func (c *conn) shaken(state *tls.ConnectionState) {
	if c.tap == nil {
		return
	}
	c.tap.mu.Lock()
	s := c.tap.sight
	c.tap.mu.Unlock()
	rec, version := c.site.rec, recorder.TLSVersionOf(state.Version)
	how, retried := full, absent
	if state.DidResume {
		how = resumed
	}
	if s.retried {
		retried = present
	}
	rec.Add(wire.TLSRetries, wire.Dims{retried, version}, 1)
	if !s.complete.IsZero() {
		rec.Observe(wire.TLSHandshakeTime, wire.Dims{version, how}, s.complete.Sub(s.first).Microseconds())
		rec.Observe(wire.TLSHandshakeBytes, wire.Dims{bytesOfClient, how}, s.bytesIn)
		rec.Observe(wire.TLSHandshakeBytes, wire.Dims{bytesOfServer, how}, s.bytesOut)
	}
}

// ended counts the hello of a connection that ends without a request, and why
// its handshake failed.
func (c *conn) ended(state *tls.ConnectionState) {
	if c.tap == nil {
		return
	}
	_ = guard("see a handshake end", func() error {
		c.tap.mu.Lock()
		s := c.tap.sight
		c.tap.mu.Unlock()
		g := c.countHello(nil)
		if state != nil && state.HandshakeComplete {
			return nil
		}
		var err error
		if tc := tlsConn(c.net); tc != nil {
			// crypto/tls keeps the error that the handshake failed with.
			err = tc.HandshakeContext(context.Background())
		}
		if countFailure(c.site.rec, &s, err, g.library) {
			c.site.app.proc.tally.Load().HandshakeFailed()
		}
		return nil
	})
}
