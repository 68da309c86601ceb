package programs

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
	"github.com/caddy-evergreen/evergreen/server/hellos"
	"github.com/caddy-evergreen/evergreen/server/pcap"
)

// A Relay passes UDP on between clients and a server on loopback, and reads the
// ClientHellos of QUIC in it, as anybody on the way can.
type Relay struct {
	conn *net.UDPConn
	to   *net.UDPAddr

	mu      sync.Mutex
	clients map[netip.AddrPort]*net.UDPConn
	finder  hellos.Finder
	seen    [][]byte
}

// NewRelay listens until it is closed. The server is at to.
func NewRelay(to string) (*Relay, error) {
	server, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		return nil, fmt.Errorf("relaying UDP: %w", err)
	}
	ports, err := freeport.Pick(1)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: ports[0]})
	if err != nil {
		return nil, fmt.Errorf("relaying UDP: %w", err)
	}
	r := &Relay{conn: conn, to: server, clients: map[netip.AddrPort]*net.UDPConn{}}
	go r.receive()
	return r, nil
}

// Addr is where clients send to.
func (r *Relay) Addr() string { return r.conn.LocalAddr().String() }

// Hellos are the handshake messages that were seen, in their order.
func (r *Relay) Hellos() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([][]byte(nil), r.seen...)
}

// Close ends it.
func (r *Relay) Close() {
	_ = r.conn.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.clients {
		_ = c.Close()
	}
}

func (r *Relay) receive() {
	b := make([]byte, 1<<16)
	for {
		n, from, err := r.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if up := r.look(from, b[:n]); up != nil {
			_, _ = up.Write(b[:n])
		}
	}
}

// look reads what a client sends, and returns the connection that it goes on by.
func (r *Relay) look(from netip.AddrPort, b []byte) *net.UDPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finder.Packet(datagram(from, r.to.AddrPort(), b), func(f hellos.Found) {
		r.seen = append(r.seen, append([]byte(nil), f.Bytes...))
	})
	up := r.clients[from]
	if up == nil {
		var err error
		if up, err = net.DialUDP("udp", nil, r.to); err != nil {
			return nil
		}
		r.clients[from] = up
		go func() {
			b := make([]byte, 1<<16)
			for {
				n, err := up.Read(b)
				if err != nil {
					return
				}
				_, _ = r.conn.WriteToUDPAddrPort(b[:n], from)
			}
		}()
	}
	return up
}

// datagram is one as it is in a capture without a link's headers.
func datagram(from, to netip.AddrPort, data []byte) pcap.Packet {
	const raw = 101
	b := make([]byte, 28, 28+len(data))
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(28+len(data)))
	source, destination := from.Addr().Unmap().As4(), to.Addr().Unmap().As4()
	copy(b[12:], source[:])
	copy(b[16:], destination[:])
	binary.BigEndian.PutUint16(b[20:], from.Port())
	binary.BigEndian.PutUint16(b[22:], to.Port())
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(data)))
	return pcap.Packet{Link: raw, Data: append(b, data...)}
}
