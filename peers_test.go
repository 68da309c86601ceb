package evergreen

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// What Caddy v1 did to detect interception (caddyhttp/httpserver/mitm.go at
// v1.0.5, after Durumeric et al., NDSS 2017), written anew from its description
// to be measured beside ours: each connection's hello is read into memory of its
// own, parsed, and kept in a locked map by remote address until the connection
// ends; each request looks it up, and compares it with one set of rules for the
// browser that its User-Agent contains the name of.

type v1Hello struct {
	version            uint16
	suites, extensions []uint16
	compressions       []byte
	curves             []uint16
	points             []byte
}

type v1Listener struct {
	mu     sync.RWMutex
	hellos map[string]v1Hello
}

// A v1Conn hands out the hello that it has read ahead.
type v1Conn struct {
	net.Conn
	l      *v1Listener
	remote string
	read   bool
	rest   io.Reader
}

func (c *v1Conn) Read(b []byte) (int, error) {
	if c.read {
		return c.rest.Read(b)
	}
	c.read = true
	header := make([]byte, 5)
	if _, err := io.ReadFull(c.Conn, header); err != nil {
		return 0, err
	}
	hello := make([]byte, int(header[3])<<8|int(header[4]))
	if _, err := io.ReadFull(c.Conn, hello); err != nil {
		return 0, err
	}
	parsed := v1Parse(hello)
	c.l.mu.Lock()
	c.l.hellos[c.remote] = parsed
	c.l.mu.Unlock()
	c.rest = io.MultiReader(bytes.NewReader(header), bytes.NewReader(hello), c.Conn)
	return c.rest.Read(b)
}

func v1Parse(b []byte) (h v1Hello) {
	u16 := func(i int) int { return int(b[i])<<8 | int(b[i+1]) }
	list := func(b []byte) (l []uint16) {
		for ; len(b) >= 2; b = b[2:] {
			l = append(l, uint16(b[0])<<8|uint16(b[1]))
		}
		return l
	}
	if len(b) < 42 {
		return h
	}
	h.version = uint16(u16(4))
	b = b[39+int(b[38]):]
	n := u16(0)
	h.suites = list(b[2 : 2+n])
	b = b[2+n:]
	n = int(b[0])
	h.compressions = append(h.compressions, b[1:1+n]...)
	b = b[3+n:]
	for len(b) >= 4 {
		extension, n := uint16(u16(0)), u16(2)
		h.extensions = append(h.extensions, extension)
		switch body := b[4 : 4+n]; extension {
		case 10:
			h.curves = list(body[2:])
		case 11:
			h.points = append(h.points, body[1:]...)
		}
		b = b[4+n:]
	}
	return h
}

// mitm is v1's answer to a request: whether it checked, and what it found.
func (l *v1Listener) mitm(r *http.Request) (checked, intercepted bool) {
	l.mu.RLock()
	h := l.hellos[r.RemoteAddr]
	l.mu.RUnlock()
	agent := r.Header.Get("User-Agent")
	var required, forbidden []uint16
	switch {
	case strings.Contains(agent, "Edge"), strings.Contains(agent, "MSIE"), strings.Contains(agent, "Trident"):
		required = []uint16{0, 5, 10, 13, 16, 23, 65281}
	case strings.Contains(agent, "Chrome"):
		required, forbidden = []uint16{0, 5, 10, 13, 16, 18, 23}, []uint16{0x0033, 0xc012}
	case strings.Contains(agent, "CriOS"), strings.Contains(agent, "FxiOS"):
		required = []uint16{0, 10, 13, 16}
	case strings.Contains(agent, "Firefox"):
		required, forbidden = []uint16{0, 5, 10, 11, 13, 16, 23, 35}, []uint16{0xc012, 0x0005}
	case strings.Contains(agent, "Safari"):
		required = []uint16{0, 5, 10, 11, 13, 13172, 16, 18, 23}
	default:
		return false, false
	}
	at := 0
	for _, e := range h.extensions {
		if at < len(required) && e == required[at] {
			at++
		}
	}
	bad := at < len(required)
	for _, s := range h.suites {
		for _, f := range forbidden {
			bad = bad || s == f
		}
	}
	return true, bad
}

// flight is a connection that gives one first flight, as much as is asked for.
type flight struct {
	net.Conn
	bytes.Reader
}

func (f *flight) Read(b []byte) (int, error) { return f.Reader.Read(b) }

// One connection with one request.
func BenchmarkCaddyV1(b *testing.B) {
	l := &v1Listener{hellos: map[string]v1Hello{}}
	hello, f, buf := helloOf(b), &flight{}, make([]byte, 4096)
	r := &http.Request{RemoteAddr: "192.0.2.7:1234", Header: http.Header{"User-Agent": {
		"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
	}}}
	b.ReportAllocs()
	for b.Loop() {
		f.Reset(hello)
		c := &v1Conn{Conn: f, l: l, remote: r.RemoteAddr}
		for range 2 {
			_, _ = c.Read(buf)
		}
		if h := l.hellos[r.RemoteAddr]; len(h.suites) == 0 || len(h.extensions) == 0 {
			b.Fatal("no hello was read")
		}
		l.mitm(r)
		l.mu.Lock()
		delete(l.hellos, r.RemoteAddr)
		l.mu.Unlock()
	}
}
