package alerts

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// special are networks that are no public unicast addresses, of those that
// netip does not know as such: IANA's registries of special-purpose addresses.
var special = func() (ps []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		// What carries an IPv4 address, and may lead to a private one.
		"2001::/23", "2002::/16", "2001:db8::/32", "3fff::/20",
	} {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}()

// global is all of IPv6 that is given out for unicast.
var global = netip.MustParsePrefix("2000::/3")

// reachable tells whether an address is public: of somebody else, and not of
// this machine or its network.
func reachable(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !global.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

var errPrivate = errors.New("it is not at a public address")

// transport connects to public addresses only, and keeps no connection: who
// gets an alert a week needs none.
func transport(private bool) http.RoundTripper {
	d := &net.Dialer{Timeout: 10 * time.Second}
	if !private {
		// After the name was resolved, right before the connection.
		d.Control = func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !reachable(at.Addr()) {
				return errPrivate
			}
			return nil
		}
	}
	return &http.Transport{
		DialContext: d.DialContext, DisableKeepAlives: true, TLSHandshakeTimeout: 10 * time.Second,
		ResponseHeaderTimeout: requestTimeout, MaxResponseHeaderBytes: 16 << 10,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, DisableCompression: true,
	}
}
