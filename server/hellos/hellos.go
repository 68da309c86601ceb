// Package hellos finds the ClientHellos in captured packets: those of TLS over
// TCP, split over segments as they come, and those of QUIC, in Initial packets that it decrypts.
//
// What arrives are packets of a capture, of both directions and in any order; what
// leaves is each ClientHello, with where it was sent. It keeps at most
// [MaxFlows] connections, the oldest being forgotten for a new one, and of each what
// a hello needs. IP fragments are not put together, and a hello after STARTTLS
// or an HTTP CONNECT is found where it begins a segment.
package hellos

import (
	"bytes"
	"net/netip"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/server/pcap"
)

const (
	// MaxFlows is how many connections are followed at a time.
	MaxFlows = 4096

	maxHello = clienthello.MaxClear
	maxAhead = 64 // segments that came before those in front of them
)

// A Found is a ClientHello, whose Bytes are whole but not yet parsed.
type Found struct {
	From, To  netip.AddrPort
	Transport clienthello.Transport
	SSLv2     bool // Bytes are in SSLv2's format
	Again     bool // the client said it before: it is the one after a HelloRetryRequest
	Bytes     []byte
}

// Parse reads the hello into h.
func (f *Found) Parse(h *clienthello.Hello) error {
	h.Transport = f.Transport
	if f.SSLv2 {
		return h.ParseSSLv2(f.Bytes)
	}
	return h.Parse(f.Bytes)
}

type flowKey struct {
	from, to netip.AddrPort
	udp      bool
}

// A flow is one direction of a connection.
type flow struct {
	records clienthello.Records
	begun   bool
	next    uint32 // sequence number
	ahead   []segment
	waiting int
	hello   bool // one was found
	quic    quicFlow
}

type segment struct {
	seq  uint32
	data []byte
}

// A Finder follows connections. The zero Finder is ready.
type Finder struct {
	flows map[flowKey]*flow
	order []flowKey // a ring of the flows' keys, by age
	at    int
}

// Packet looks at one packet and calls found for every hello that is whole with it.
func (f *Finder) Packet(p pcap.Packet, found func(Found)) {
	s, ok := pcap.Decode(p)
	if !ok || len(s.Data) == 0 && !s.SYN {
		return
	}
	if s.UDP && (len(s.Data) < 7 || s.Data[0]&0xc0 != 0xc0) {
		return // no long header of QUIC
	}
	w := f.flow(flowKey{s.From, s.To, s.UDP})
	if s.UDP {
		if hello := w.quic.datagram(s.Data); hello != nil {
			found(Found{From: s.From, To: s.To, Transport: clienthello.QUIC, Bytes: hello})
		}
		return
	}
	w.tcp(s, func(e clienthello.Event) {
		again := w.hello
		w.hello = true
		found(Found{From: s.From, To: s.To, Transport: clienthello.TCP, SSLv2: e.Kind == clienthello.SSLv2Hello, Again: again, Bytes: e.Bytes})
	})
}

// flow finds or makes a flow.
func (f *Finder) flow(k flowKey) *flow {
	if w := f.flows[k]; w != nil {
		return w
	}
	if f.flows == nil {
		f.flows = map[flowKey]*flow{}
	}
	if len(f.order) < MaxFlows {
		f.order = append(f.order, k)
	} else {
		delete(f.flows, f.order[f.at])
		f.order[f.at] = k
		f.at = (f.at + 1) % MaxFlows
	}
	w := &flow{}
	f.flows[k] = w
	return w
}

// tcp puts the segments of one direction in order.
func (w *flow) tcp(s pcap.Segment, found func(clienthello.Event)) {
	if s.SYN {
		if !w.begun || w.next != s.Seq+1 {
			*w = flow{begun: true, next: s.Seq + 1}
		}
		s.Seq++
	}
	if len(s.Data) == 0 {
		return
	}
	if !w.begun {
		// The capture began after the connection.
		w.begun, w.next = true, s.Seq
	}
	if ahead := int32(s.Seq - w.next); ahead > 0 {
		if len(w.ahead) < maxAhead && w.waiting+len(s.Data) <= maxHello {
			w.ahead = append(w.ahead, segment{s.Seq, bytes.Clone(s.Data)})
			w.waiting += len(s.Data)
		}
		return
	}
	w.take(s.Seq, s.Data, found)
	for i := 0; i < len(w.ahead); {
		a := w.ahead[i]
		if int32(a.seq-w.next) > 0 {
			i++
			continue
		}
		w.waiting -= len(a.data)
		w.ahead = append(w.ahead[:i], w.ahead[i+1:]...)
		w.take(a.seq, a.data, found)
		i = 0
	}
}

// take reads what is new of a segment that is not ahead of its turn.
func (w *flow) take(seq uint32, data []byte, found func(clienthello.Event)) {
	skip := int64(w.next - seq)
	if skip >= int64(len(data)) {
		return
	}
	data = data[skip:]
	w.next += uint32(len(data))
	if end := w.records.Ended(); !w.hello && (end == clienthello.NotTLS || end == clienthello.PlainHTTP) {
		if len(data) < 6 || data[0] != 22 || data[1] != 3 || data[5] != 1 {
			return
		}
		w.records.Reset()
	}
	for len(data) > 0 {
		var e clienthello.Event
		e, data = w.records.Next(data)
		if e.Kind == clienthello.SSLv2Hello || e.Kind == clienthello.Message && e.Type == 1 {
			found(e)
		}
	}
}
