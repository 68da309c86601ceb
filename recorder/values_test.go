package recorder

import (
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

type customAddr struct{ network, address string }

func (a customAddr) Network() string { return a.network }
func (a customAddr) String() string  { return a.address }

// The mappers know positions in vocabularies by heart: each must have its name.
func TestValues(t *testing.T) {
	check := func(what string, d *wire.Dimension, got wire.Value, want string) {
		t.Helper()
		if diff := cmp.Diff(want, d.ValueName(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	for _, name := range wire.Method.Values {
		check(name, wire.Method, MethodOf(name), name)
	}
	for _, name := range []string{"", "get", "GETX", "other "} {
		check(name, wire.Method, MethodOf(name), "other")
	}
	for _, c := range []struct {
		major, minor int
		want         string
	}{{1, 0, "http/1.0"}, {1, 1, "http/1.1"}, {2, 0, "http/2"}, {3, 0, "http/3"}, {0, 9, "other"}, {4, 0, "other"}} {
		check("protocol", wire.Protocol, ProtocolOf(c.major, c.minor), c.want)
	}
	for _, name := range wire.Status.Values {
		code := 0
		for _, c := range name {
			code = code*10 + int(c-'0')
		}
		if name == "other" {
			code = 600
		}
		check(name, wire.Status, StatusOf(code), name)
		if name != "other" {
			check(name, wire.StatusClass, StatusClassOf(code), name[:1]+"xx")
		}
	}
	for _, code := range []int{-1, 0, 99, 600, 1 << 40} {
		check("status", wire.Status, StatusOf(code), "other")
		check("status", wire.StatusClass, StatusClassOf(code), "other")
	}
	for _, c := range []struct {
		code uint16
		want string
	}{{0x0300, "other"}, {0x0301, "TLS 1.0"}, {0x0302, "TLS 1.1"}, {0x0303, "TLS 1.2"}, {0x0304, "TLS 1.3"}, {0x0305, "other"}} {
		check("TLS version", wire.TLSVersion, TLSVersionOf(c.code), c.want)
	}
	for _, name := range wire.ALPN.Values {
		if name == "none" {
			check("ALPN", wire.ALPN, ALPNOf(""), name)
		} else {
			check("ALPN", wire.ALPN, ALPNOf(name), name)
		}
	}
	check("resumption", wire.Resumption, resumption(false), "full")
	check("resumption", wire.Resumption, resumption(true), "resumed")
	check("presence", wire.Presence, presence(true), "present")
	check("presence", wire.Presence, presence(false), "absent")
	check("phase", wire.AbortPhase, phase(&Request{}), "before_header")
	check("phase", wire.AbortPhase, phase(&Request{Status: 200}), "after_header")
	check("phase", wire.AbortPhase, phase(&Request{FirstByte: 1}), "after_header")

	for _, c := range []struct {
		addr net.Addr
		want string
	}{
		{nil, "other"},
		{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, "ipv4"},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1")}, "ipv4"},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Zone: "eth0"}, "ipv6"},
		{&net.UDPAddr{IP: net.ParseIP("2001:db8::1")}, "ipv6"},
		{&net.TCPAddr{}, "other"},
		{&net.UnixAddr{Name: "/run/caddy.sock", Net: "unix"}, "unix"},
		{customAddr{"tcp", "192.0.2.1:443"}, "ipv4"},
		{customAddr{"tcp", "[::ffff:192.0.2.1]:443"}, "ipv4"},
		{customAddr{"tcp", "2001:db8::1"}, "ipv6"},
		{customAddr{"unix", "@"}, "unix"},
		{customAddr{"pipe", "pipe"}, "other"},
	} {
		check("family", wire.Family, FamilyOf(c.addr), c.want)
	}
	for remote, want := range map[string]string{"": "unix", "@": "unix", "192.0.2.1:1": "ipv4", "[::1]:1": "ipv6", "nonsense": "other"} {
		check(remote, wire.Family, FamilyOfRemote(remote), want)
	}
}

// A cell's word and its values are each other's inverse, and no two cells or
// metrics share a word.
func TestLayout(t *testing.T) {
	l, err := newLayout()
	if err != nil {
		t.Fatal(err)
	}
	next := uint32(0)
	for i := range l.metrics {
		m := &l.metrics[i]
		if m.base != next || int(m.cells) != m.def.Cells() {
			t.Errorf("%s lies at %d with %d cells, want %d with %d", m.def.Name, m.base, m.cells, next, m.def.Cells())
		}
		next += m.cells * m.width
		var last wire.Cell
		for c := range m.cells {
			d := m.dims(c)
			if w := m.word(&d); w != m.base+c*m.width {
				t.Fatalf("%s: cell %d has the word %d", m.def.Name, c, w)
			}
			if cell := d.Cell(); c > 0 && cell <= last || !m.def.Valid(cell) {
				t.Fatalf("%s: cell %d is %#x after %#x", m.def.Name, c, cell, last)
			} else {
				last = cell
			}
			var w uint32
			switch len(m.def.Dims) {
			case 1:
				w = m.cell1(d[0])
			case 2:
				w = m.cell2(d[0], d[1])
			case 3:
				w = m.cell3(d[0], d[1], d[2])
			case 4:
				w = m.cell4(d[0], d[1], d[2], d[3])
			default:
				continue
			}
			if w != m.base+c*m.width {
				t.Fatalf("%s: cell %d has the word %d by its values", m.def.Name, c, w)
			}
		}
	}
	if next != l.words {
		t.Errorf("%d words, want %d", l.words, next)
	}
	t.Logf("%d metrics, %d words, %d KiB a stripe", len(l.metrics), l.words, l.words/128)
}
