//go:build !linux

package evergreen

import (
	"errors"
	"net"
	"net/netip"
)

// Where connections are not bridged the admin endpoint has the same short gap as
// the servers.
var errNotHeld = errors.New("sockets are handed on by Linux only")

func listeningOn(func(string, netip.AddrPort) bool) (int, error) { return -1, errNotHeld }

func takePlace(int, int) error { return errNotHeld }

func inheritedListener(int) (net.Listener, error) { return nil, errNotHeld }

func dropNew(int) {}
