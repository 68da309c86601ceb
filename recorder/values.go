package recorder

import (
	"net"
	"net/netip"

	"github.com/caddy-evergreen/evergreen/wire"
)

// The numbers below are positions in the dictionary's vocabularies, which are on
// the wire and never change; a test compares each with its name.

// ProtocolOf is the value of wire.Protocol for a request's HTTP version.
func ProtocolOf(major, minor int) wire.Value {
	switch {
	case major == 1 && minor == 0:
		return 1
	case major == 1:
		return 2
	case major == 2:
		return 3
	case major == 3:
		return 4
	}
	return wire.Other
}

// StatusOf is the value of wire.Status for a status code.
func StatusOf(code int) wire.Value {
	if code < 100 || code > 599 {
		return wire.Other
	}
	return wire.Value(code - 99)
}

// StatusClassOf is the value of wire.StatusClass for a status code.
func StatusClassOf(code int) wire.Value {
	if code < 100 || code > 599 {
		return wire.Other
	}
	return wire.Value(code / 100)
}

// FamilyOf is the value of wire.Family for the address of a connection's peer.
// An IPv4 address that is mapped into IPv6 is IPv4.
func FamilyOf(a net.Addr) wire.Value {
	switch a := a.(type) {
	case nil:
		return wire.Other
	case *net.TCPAddr:
		return familyOfIP(a.IP)
	case *net.UDPAddr:
		return familyOfIP(a.IP)
	case *net.UnixAddr:
		return 3
	}
	switch a.Network() {
	case "unix", "unixgram", "unixpacket":
		return 3
	}
	return FamilyOfRemote(a.String())
}

// FamilyOfRemote is FamilyOf for an address in the form of http.Request.RemoteAddr.
// What a unix socket has there ("@", or nothing) is unix.
func FamilyOfRemote(s string) wire.Value {
	if s == "" || s[0] == '@' || s[0] == '/' {
		return 3
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return familyOfAddr(ap.Addr())
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return familyOfAddr(a)
	}
	return wire.Other
}

func familyOfIP(ip net.IP) wire.Value {
	a, _ := netip.AddrFromSlice(ip)
	return familyOfAddr(a)
}

func familyOfAddr(a netip.Addr) wire.Value {
	switch {
	case a.Is4(), a.Is4In6():
		return 1
	case a.Is6():
		return 2
	}
	return wire.Other
}

// TLSVersionOf is the value of wire.TLSVersion for a code point of crypto/tls.
func TLSVersionOf(version uint16) wire.Value {
	if version < 0x0301 || version > 0x0304 {
		return wire.Other
	}
	return wire.Value(version - 0x0300)
}

// ALPNOf is the value of wire.ALPN for a negotiated protocol, "" if there was none.
func ALPNOf(protocol string) wire.Value {
	switch protocol {
	case "":
		return 1
	case "http/1.0":
		return 2
	case "http/1.1":
		return 3
	case "h2":
		return 4
	case "h3":
		return 5
	case "acme-tls/1":
		return 6
	}
	return wire.Other
}

func resumption(resumed bool) wire.Value {
	if resumed {
		return 2
	}
	return 1
}

func presence(there bool) wire.Value {
	if there {
		return 1
	}
	return 2
}

// phase is how far an aborted request's response had come.
func phase(q *Request) wire.Value {
	if q.Status == 0 && q.FirstByte <= 0 {
		return 1
	}
	return 2
}

// MethodOf is the value of wire.Method for a request's method, which is case-sensitive.
func MethodOf(method string) wire.Value {
	switch method {
	case "GET":
		return 1
	case "HEAD":
		return 2
	case "POST":
		return 3
	case "PUT":
		return 4
	case "DELETE":
		return 5
	case "CONNECT":
		return 6
	case "OPTIONS":
		return 7
	case "TRACE":
		return 8
	case "PATCH":
		return 9
	case "QUERY":
		return 10
	case "PROPFIND":
		return 11
	case "PROPPATCH":
		return 12
	case "MKCOL":
		return 13
	case "COPY":
		return 14
	case "MOVE":
		return 15
	case "LOCK":
		return 16
	case "UNLOCK":
		return 17
	case "REPORT":
		return 18
	case "SEARCH":
		return 19
	case "MKCALENDAR":
		return 20
	case "ACL":
		return 21
	case "BIND":
		return 22
	case "UNBIND":
		return 23
	case "REBIND":
		return 24
	case "LINK":
		return 25
	case "UNLINK":
		return 26
	case "LABEL":
		return 27
	case "MERGE":
		return 28
	case "MKACTIVITY":
		return 29
	case "MKWORKSPACE":
		return 30
	case "CHECKIN":
		return 31
	case "CHECKOUT":
		return 32
	case "UNCHECKOUT":
		return 33
	case "UPDATE":
		return 34
	case "VERSION-CONTROL":
		return 35
	case "BASELINE-CONTROL":
		return 36
	case "ORDERPATCH":
		return 37
	case "UPDATEREDIRECTREF":
		return 38
	case "MKREDIRECTREF":
		return 39
	case "PRI":
		return 40
	}
	return wire.Other
}
