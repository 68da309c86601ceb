package evergreen

import (
	"errors"
	"net"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

// accepting counts failures to accept a connection. It hands connections on as
// they are.
type accepting struct {
	net.Listener
	rec *recorder.Recorder
}

func (l *accepting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		l.failed(err)
	}
	return c, err
}

func (l *accepting) failed(err error) {
	defer func() { _ = recover() }()
	kind := kindOf(err)
	// Caddy ends a listener that a newer configuration still uses by a time-out.
	if errors.Is(err, net.ErrClosed) || kind == kindTimeout || kind == kindClosed {
		return
	}
	l.rec.Add(wire.CaddyAcceptErrors, wire.Dims{kind}, 1)
	if kind == kindDescriptors {
		l.rec.Add(wire.CaddyNoDescriptors, wire.Dims{useAccept}, 1)
	}
}
