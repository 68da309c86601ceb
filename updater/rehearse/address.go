package rehearse

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxRange bounds the ports of one listener; Caddy itself allows 65535.
const maxRange = 64

// An address is where a server listens, one port of it.
type address struct {
	network string // "tcp", "udp", "unix", "fd", …, without Caddy's defaults
	host    string // or the path, or the number of the descriptor
	port    int    // 0 if there is none, or the system picks one
}

// parseListen reads an address of a server's listen list, as Caddy does.
func parseListen(s string) ([]address, error) {
	a := address{network: "tcp"}
	rest := s
	if before, after, ok := strings.Cut(s, "/"); ok {
		a.network, rest = strings.ToLower(strings.TrimSpace(before)), after
		if strings.HasPrefix(a.network, "unix") || strings.HasPrefix(a.network, "fd") {
			a.host, _, _ = strings.Cut(rest, "|") // its mode follows
			return []address{a}, nil
		}
	}
	host, ports, err := net.SplitHostPort(rest)
	if err != nil {
		// Without a port, as "localhost" or "[::1]".
		if host, _, err = net.SplitHostPort(net.JoinHostPort(strings.Trim(rest, "[]"), "0")); err != nil {
			return nil, fmt.Errorf("the listener %.100q: %w", s, err)
		}
		ports = "0"
	}
	a.host = host
	first, end, isRange := strings.Cut(ports, "-")
	if !isRange {
		end = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(end, 10, 16)
	switch {
	case errors.Join(err1, err2) != nil || to < from:
		return nil, fmt.Errorf("the listener %.100q: its port is no number", s)
	case to-from >= maxRange:
		return nil, fmt.Errorf("the listener %.100q: more than %d ports can't be rehearsed", s, maxRange)
	}
	var all []address
	for p := from; p <= to; p++ {
		a.port = int(p)
		all = append(all, a)
	}
	return all, nil
}

func (a address) isTCP() bool {
	return a.network == "tcp" || a.network == "tcp4" || a.network == "tcp6"
}
func (a address) isUDP() bool {
	return a.network == "udp" || a.network == "udp4" || a.network == "udp6"
}
func (a address) isUnix() bool { return a.network == "unix" }

// anyHost reports whether it is all of the machine's addresses.
func (a address) anyHost() bool {
	ip, err := netip.ParseAddr(a.host)
	return a.host == "" || err == nil && ip.IsUnspecified()
}

// An endpoint is what is dialled.
type endpoint struct {
	network string // "tcp" for what has TCP, UDP or both; "unix"
	address string
}

func (e endpoint) String() string {
	if e.network == "unix" {
		return "unix/" + e.address
	}
	return e.address
}

// running is where the running server can be asked; an error says why it can't.
func (a address) running() (endpoint, error) {
	switch {
	case a.isUnix():
		return endpoint{"unix", a.host}, nil
	case strings.HasPrefix(a.network, "fd"):
		return descriptor(a.host)
	case !a.isTCP() && !a.isUDP():
		return endpoint{}, fmt.Errorf("network %q is a plugin's", a.network)
	case a.port == 0:
		return endpoint{}, errors.New("the system has picked its port")
	}
	host := a.host
	if a.anyHost() {
		host = "127.0.0.1"
		if strings.HasSuffix(a.network, "6") {
			host = "::1"
		}
	}
	return endpoint{"tcp", net.JoinHostPort(host, strconv.Itoa(a.port))}, nil
}
