package evergreen

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/quic-go/quic-go"

	"github.com/caddy-evergreen/evergreen/attacks"
	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/clients"
	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

func init() {
	caddy.RegisterModule(HandshakeMatcher{})
}

// HandshakeMatcher matches every ClientHello. It stands in every connection
// policy of a server, as the one place that QUIC's hellos pass: their records
// are encrypted, so that there is nothing to tap. It changes no policy: what
// matched still matches, and in the same order.
type HandshakeMatcher struct {
	proc *process // nil: not injected by us, does nothing
}

// CaddyModule returns the Caddy module information.
func (HandshakeMatcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.handshake_match.evergreen", New: func() caddy.Module { return new(HandshakeMatcher) }}
}

// Provision finds the process that counts.
func (m *HandshakeMatcher) Provision(ctx caddy.Context) error {
	if a, _ := ctx.Value(appKey{}).(*App); a != nil {
		m.proc = a.proc
	}
	return nil
}

// Match is always true.
func (m *HandshakeMatcher) Match(info *tls.ClientHelloInfo) bool {
	if m.proc != nil {
		_ = guard("see a QUIC hello", func() error {
			m.proc.quicHello(info)
			return nil
		})
	}
	return true
}

// matchHandshakes puts the matcher into every policy, before they are provisioned.
func matchHandshakes(srv *caddyhttp.Server) {
	for _, policy := range srv.TLSConnPolicies {
		if policy != nil {
			policy.MatchersRaw = maps.Clone(policy.MatchersRaw)
			if policy.MatchersRaw == nil {
				policy.MatchersRaw = caddy.ModuleMap{}
			}
			policy.MatchersRaw["evergreen"] = json.RawMessage(`{}`)
		}
	}
}

// A quicHello is the hello of a QUIC connection, until that has its first
// request or ends.
type quicHello struct {
	opened time.Time
	asked  atomic.Bool // there was a request
	shaken atomic.Bool // the handshake is over, and the connection was not

	once        sync.Once
	hello       *clienthello.Hello
	seen        glimpse
	fingerprint fingerprint
}

// count counts the hello at the first call.
func (q *quicHello) count(p *process, client *clients.Client) (glimpse, fingerprint) {
	q.once.Do(func() {
		q.fingerprint = p.attacks.fingerprints.of(q.hello)
		q.seen = countHello(p.rec, q.hello, false, client)
		q.hello = nil
	})
	return q.seen, q.fingerprint
}

// quicHello notes a hello of a QUIC connection, which is known by its remote
// address's pointer, as in quicConn.
func (p *process) quicHello(info *tls.ClientHelloInfo) {
	addr, ok := info.Conn.RemoteAddr().(*net.UDPAddr)
	if !ok {
		return // TCP, where the tap sees more
	}
	ctx := parentContext(info.Context())
	if ctx == nil {
		return
	}
	q := &quicHello{hello: new(clienthello.Hello), opened: time.Now()}
	q.hello.FromClientHelloInfo(info, clienthello.QUIC)
	q.hello.ServerName = sniMark(q.hello.ServerName)
	if _, known := p.quicHellos.LoadOrStore(net.Addr(addr), q); known {
		return // matched against another policy, or the second after a HelloRetryRequest
	}
	context.AfterFunc(info.Context(), func() {
		if ctx.Err() == nil {
			q.shaken.Store(true)
		}
	})
	context.AfterFunc(ctx, func() {
		_ = guard("see a QUIC handshake end", func() error {
			p.quicHellos.Delete(net.Addr(addr))
			g, f := q.count(p, nil)
			cause := context.Cause(ctx)
			if countQUICFailure(p.rec, cause, g.library) {
				p.tally.Load().HandshakeFailed()
			}
			if !q.asked.Load() {
				p.attacks.silentQUIC(addr, q, f, cause)
			}
			return nil
		})
	})
}

// silentQUIC tells the watcher of a QUIC connection that ended without a request.
func (a *attackWatch) silentQUIC(addr *net.UDPAddr, q *quicHello, f fingerprint, cause error) {
	if a.off.all.Load() {
		return
	}
	how := attacks.Abandoned
	if q.completed(cause) {
		how = attacks.Silent
	}
	a.Connection(&attacks.Event{
		Source: attacks.SourceOf(addr.AddrPort().Addr()), Family: recorder.FamilyOf(addr), Began: q.opened,
		Hello: f.hash, Known: f.known,
	}, how)
}

// completed reports whether the connection's handshake was, by what it ended of.
func (q *quicHello) completed(cause error) bool {
	var application *quic.ApplicationError
	if errors.As(cause, &application) {
		return true // its frame is not allowed before (RFC 9000, 12.5)
	}
	var transport *quic.TransportError
	if errors.As(cause, &transport) && transport.ErrorCode.IsCryptoError() {
		return false
	}
	return q.shaken.Load()
}

// sniMark keeps that there was a name, and not the name.
func sniMark(name string) string {
	if name != "" {
		return "-"
	}
	return ""
}

// parentContext is the context of a QUIC connection: that of its handshake, which
// ends sooner, is derived from it.
func parentContext(ctx context.Context) context.Context {
	v := reflect.ValueOf(ctx)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil
	}
	if v = v.Elem().FieldByName("Context"); !v.IsValid() || !v.CanInterface() {
		return nil
	}
	parent, _ := v.Interface().(context.Context)
	return parent
}

// countQUICFailure counts the handshake if it is what the connection ended of,
// and reports whether that may be the server's fault.
func countQUICFailure(rec *recorder.Recorder, cause error, library wire.Value) bool {
	var transport *quic.TransportError
	var timeout *quic.HandshakeTimeoutError
	s := sight{hello: helloWhole, bytesIn: 1}
	switch {
	case errors.As(cause, &transport) && transport.ErrorCode.IsCryptoError():
		number := uint8(transport.ErrorCode) // 0x100 and the alert
		if transport.Remote {
			s.alerted, s.alertIn = true, number
		} else {
			s.alerting, s.alertOut = true, number
		}
		return countFailure(rec, &s, errors.New(transport.ErrorMessage), library)
	case errors.As(cause, &timeout):
		return countFailure(rec, &s, cause, library)
	}
	return false
}

var (
	_ caddy.Provisioner          = (*HandshakeMatcher)(nil)
	_ caddytls.ConnectionMatcher = (*HandshakeMatcher)(nil)
)
