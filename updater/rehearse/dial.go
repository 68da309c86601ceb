package rehearse

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"github.com/quic-go/quic-go"
)

// source is the address that both servers are asked from, so that they see the
// same client also where the running one doesn't listen on loopback: sites may
// depend on it. Linux lets a client on loopback ask the machine's other
// addresses, of IPv4. nil: whatever the system chooses.
func (e endpoint) source() net.IP {
	ap, err := netip.ParseAddrPort(e.address)
	if runtime.GOOS != "linux" || e.network != "tcp" || err != nil || !ap.Addr().Is4() {
		return nil
	}
	return net.IPv4(127, 0, 0, 1)
}

// dial connects over TCP, or to a socket of unix.
func (e endpoint) dial(ctx context.Context) (net.Conn, error) {
	if ip := e.source(); ip != nil {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}
		if c, err := d.DialContext(ctx, e.network, e.address); err == nil {
			return c, nil
		}
	}
	return new(net.Dialer).DialContext(ctx, e.network, e.address)
}

// dialQUIC connects over UDP. Its socket is closed with the connection.
func (e endpoint) dialQUIC(ctx context.Context, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
	to, err := net.ResolveUDPAddr("udp", e.address)
	if err != nil {
		return nil, err
	}
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: e.source()})
	if err != nil {
		return nil, fmt.Errorf("opening a socket to ask over HTTP/3: %w", err)
	}
	t := &quic.Transport{Conn: pc}
	end := func() {
		_ = t.Close()
		_ = pc.Close()
	}
	conn, err := t.Dial(ctx, to, tlsConfig, config)
	if err != nil {
		end()
		return nil, err
	}
	context.AfterFunc(conn.Context(), end)
	return conn, nil
}
