package attacks

import (
	"encoding/binary"
	"net/netip"
)

// A Source is where an event came from: the /24 of an IPv4 address, the /48 of
// an IPv6 one; 0 is unknown.
type Source uint64

const (
	source4 = 4 << 56
	source6 = 6 << 56
)

// SourceOf is an address's source.
func SourceOf(a netip.Addr) Source {
	switch {
	case a.Is4(), a.Is4In6():
		b := a.As4()
		return source4 | Source(b[0])<<16 | Source(b[1])<<8 | Source(b[2])
	case a.Is6():
		b := a.As16()
		return source6 | Source(binary.BigEndian.Uint64(b[:])>>16)
	}
	return 0
}

// SourceOfRemote is SourceOf for a host and port, as in http.Request.RemoteAddr.
func SourceOfRemote(s string) Source {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return 0
	}
	return SourceOf(a.Addr())
}

// prefix is the source as an incident's network has it; nil for what the
// Internet does not route, which tells nobody anything.
func (s Source) prefix() []byte {
	var a netip.Addr
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(s))
	var p []byte
	switch s >> 56 {
	case 4:
		p = b[5:]
		a = netip.AddrFrom4([4]byte{p[0], p[1], p[2], 1})
	case 6:
		p = b[2:]
		a = netip.AddrFrom16([16]byte{p[0], p[1], p[2], p[3], p[4], p[5], 15: 1})
	default:
		return nil
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() || sharedSpace.Contains(a) {
		return nil
	}
	return append([]byte(nil), p...)
}

// sharedSpace is carriers' (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
