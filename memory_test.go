//go:build !race

// With the race detector a million requests take minutes: `make e2e` runs this without.

package evergreen

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/clients"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestMemoryUnderAttack sends a million requests, each from another source, with
// another ClientHello, User-Agent, host and path, half of them over TLS where
// they are given HSTS. All that a process keeps must stay within the budget of
// 8 MiB, and what it reports too.
func TestMemoryUnderAttack(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools hold is freed by the second
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	hello, buf := helloOf(t), make([]byte, 4096)
	before := heap()
	p, err := newProcess(settings{Timing: wire.DefaultTiming})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{app: &App{proc: p}, rec: p.rec, role: roleSite}
	h := &outermost{s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		}
		w.WriteHeader(http.StatusNotFound)
	})}
	const n = 1_000_000
	state := &tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS13}
	for i := range n {
		// Cipher suites begin after the header, version, random, session and its length.
		suites := hello[5+4+2+32+1+int(hello[5+4+2+32])+2:]
		binary.BigEndian.PutUint32(suites, uint32(i))
		f := newFeed(hello)
		capture(p.rec, f, buf, &clients.Client{})
		r := &http.Request{
			Method: http.MethodGet, ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, RequestURI: fmt.Sprintf("/%x", i), Host: fmt.Sprintf("%d.test", i),
			RemoteAddr: fmt.Sprintf("%d.%d.%d.%d:1234", i>>16+1, i>>8&255, i&255, i%251),
			Header:     http.Header{"User-Agent": {fmt.Sprintf("attacker %d", i)}},
		}
		if i%2 == 0 {
			r.TLS = state
		}
		h.ServeHTTP(discard{http.Header{}}, r)
	}
	windows := incidentWindows{p.windows, p.attacks}.Close(time.Now().Add(time.Hour))
	windows = append(windows, p.windows.Peek(time.Now()))
	grown := heap() - before
	if grown > 8<<20 {
		t.Errorf("a million sources, hellos, hosts and paths take %d bytes", grown)
	}
	t.Logf("%d bytes", grown)
	runtime.KeepAlive(windows)
	runtime.KeepAlive(p)
}
