package evergreen

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"

	"github.com/caddy-evergreen/evergreen/updater/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// All that a request costs beside its handler, from http.Server's call to the
// last counter: with HSTS and the watcher of attacks, and where updates are
// installed what an update will be judged by, on a connection that had
// requests before. The handler alone is taken off.
func BenchmarkExchange(b *testing.B) {
	for _, c := range []struct {
		name string
		tls  bool
		hsts string
	}{
		{name: "plain"},
		{name: "tls", tls: true},
		{name: "tls with HSTS", tls: true, hsts: "max-age=31536000; includeSubDomains"},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, err := newProcess(settings{Timing: wire.DefaultTiming})
			if err != nil {
				b.Fatal(err)
			}
			s := &site{app: &App{proc: p}, rec: p.rec, role: roleSite}
			inner := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.hsts != "" {
					w.Header()["Strict-Transport-Security"] = []string{c.hsts}
				}
				w.WriteHeader(http.StatusOK)
			})
			h := &outermost{s, inner}
			local, remote := net.Pipe()
			defer local.Close()
			defer remote.Close()
			ctx := context.WithValue(b.Context(), connKey{}, &conn{site: s, net: fromLoopback{local}})
			r := (&http.Request{
				Method: http.MethodGet, ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, RequestURI: "/blog/2026/11/a-page.html?from=feed",
				Host: "www.example.com", RemoteAddr: "192.0.2.7:1234",
				Header: http.Header{"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"}},
			}).WithContext(ctx)
			if c.tls {
				r.TLS = &tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS13, ServerName: "www.example.com"}
			}
			w := discard{http.Header{}}
			b.Run("handler", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					inner.ServeHTTP(w, r)
				}
			})
			for _, name := range []string{"measured", "watched"} {
				if name == "watched" {
					p.tally.Store(watch.NewTally(1))
				}
				b.Run(name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						h.ServeHTTP(w, r)
					}
				})
			}
		})
	}
}

// fromLoopback is a connection with an address.
type fromLoopback struct{ net.Conn }

func (fromLoopback) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1234}
}

// discard is a response that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
