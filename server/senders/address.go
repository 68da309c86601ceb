package senders

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Address is the address that a request came from: the peer's, or, if the peer
// is a trusted proxy, the rightmost one in X-Forwarded-For that isn't. It is
// invalid if there is none, as on a unix socket.
//
// The result must not be stored, logged or put into an error.
func Address(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer := Parse(r.RemoteAddr)
	if len(trusted) == 0 || peer.IsValid() && !within(trusted, peer) {
		return peer
	}
	// Several fields are one list, in order (RFC 9110, 5.3).
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	addr := peer
	for i := len(hops) - 1; i >= 0; i-- {
		hop := Parse(strings.TrimSpace(hops[i]))
		if !hop.IsValid() {
			break // what is left of it can't be trusted either
		}
		if addr = hop; !within(trusted, hop) {
			break
		}
	}
	return addr
}

func within(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Parse takes an address with or without port and brackets; what is
// none is invalid.
func Parse(s string) netip.Addr {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}
