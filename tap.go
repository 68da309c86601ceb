package evergreen

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddy-evergreen/evergreen/clienthello"
)

// A tapListener hands on connections that are looked at while TLS shakes hands.
type tapListener struct{ net.Listener }

func (l tapListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tap{Conn: c}, nil
}

// Unwrap is for who looks for the listener's socket.
func (l tapListener) Unwrap() net.Listener { return l.Listener }

// A tap is the connection below TLS. It looks at what passes in the clear until
// the handshake is complete; from then on it only passes on.
type tap struct {
	net.Conn
	done atomic.Bool // nothing more is to be seen

	mu      sync.Mutex
	p       *probe // nil once its contents are counted
	sight   sight
	in, out walk
}

// A sight is what a tap keeps of the clear part of a connection.
type sight struct {
	first, complete   time.Time // the first byte came, the handshake was complete
	bytesIn, bytesOut int64
	hello             helloState
	retried           bool // by a HelloRetryRequest
	opening           opening
	alertIn, alertOut uint8
	alerted, alerting bool // there is an alertIn, alertOut
}

// A helloState is how far a ClientHello has come.
type helloState uint8

const (
	helloNone helloState = iota
	helloWhole
	helloBroken
)

// An opening is what a connection began with.
type opening uint8

const (
	openedTLS opening = iota
	openedHTTP
	openedHTTP2
	openedSSLv2
	openedGarbage
)

// A probe is the memory that reading a handshake takes. It is used again for
// other connections as soon as the hello is counted.
type probe struct {
	in    *clienthello.Records // nil once the hello is whole: it may hold as much as that
	hello clienthello.Hello
	start [3]byte // of the stream
	n     uint8
}

var (
	probes  = sync.Pool{New: func() any { return new(probe) }}
	readers = sync.Pool{New: func() any { return new(clienthello.Records) }}
)

func (p *probe) freeReader() {
	if p.in != nil {
		p.in.Reset()
		readers.Put(p.in)
		p.in = nil
	}
}

func (p *probe) free() {
	p.freeReader()
	p.n = 0
	p.hello.ServerName = "" // nobody's name is kept
	probes.Put(p)
}

// NetConn is the connection below.
func (t *tap) NetConn() net.Conn { return t.Conn }

// SyscallConn is for who sets or reads the socket's options.
func (t *tap) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := t.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, syscall.EINVAL
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if n > 0 && !t.done.Load() {
		t.look(b[:n], true)
	}
	return n, err
}

func (t *tap) Write(b []byte) (int, error) {
	if !t.done.Load() {
		t.look(b, false)
	}
	return t.Conn.Write(b)
}

// look reads what passes. Its failure is nobody's.
func (t *tap) look(b []byte, in bool) {
	t.mu.Lock()
	defer func() {
		if recover() != nil {
			t.p = nil // its memory may be in any state
			t.done.Store(true)
		}
		t.mu.Unlock()
	}()
	if t.done.Load() {
		return
	}
	if in {
		if t.sight.first.IsZero() {
			t.sight.first = time.Now()
			t.p = probes.Get().(*probe)
			t.p.in = readers.Get().(*clienthello.Records)
		}
		t.sight.bytesIn += int64(len(b))
		t.readIn(b)
		t.in.feed(b)
		t.sight.alerted, t.sight.alertIn = t.in.alerted, t.in.alert
	} else {
		if t.sight.bytesOut == 0 {
			t.readOut(b)
		}
		t.sight.bytesOut += int64(len(b))
		t.out.feed(b)
		t.sight.alerting, t.sight.alertOut = t.out.alerted, t.out.alert
	}
	switch {
	case t.sight.opening != openedTLS || t.in.lost || t.out.lost:
		t.done.Store(true)
	case t.in.application || t.in.finished && t.out.finished:
		// TLS 1.3: the client's Finished; before: both.
		t.sight.complete = time.Now()
		t.done.Store(true)
	}
}

func (t *tap) readIn(b []byte) {
	p := t.p
	if p == nil || p.in == nil {
		return
	}
	p.n += uint8(copy(p.start[p.n:], b))
	for len(b) > 0 {
		var e clienthello.Event
		e, b = p.in.Next(b)
		switch e.Kind {
		case clienthello.Message:
			if e.Type == 1 {
				p.hello.Transport = clienthello.TCP
				t.sight.hello = helloWhole
				if p.hello.Parse(e.Bytes) != nil {
					t.sight.hello = helloBroken
				}
				p.freeReader()
				return
			}
		case clienthello.SSLv2Hello:
			t.sight.opening = openedSSLv2
		case clienthello.PlainHTTP:
			t.sight.opening = openedHTTP
			if string(p.start[:p.n]) == "PRI" {
				t.sight.opening = openedHTTP2
			}
		case clienthello.NotTLS:
			t.sight.opening = openedGarbage
		case clienthello.NoEvent:
			return
		}
	}
}

// helloRetryRequest is the random of a ServerHello that asks for another hello.
const helloRetryRequest = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"

// readOut looks whether the first that the server says is a HelloRetryRequest.
// crypto/tls writes a record as a whole.
func (t *tap) readOut(b []byte) {
	const random = 5 + 4 + 2 // after the headers of record and message, and the version
	if len(b) >= random+len(helloRetryRequest) && b[0] == 22 && b[5] == 2 {
		t.sight.retried = string(b[random:random+len(helloRetryRequest)]) == helloRetryRequest
	}
}

// take hands over what was seen with the memory to be freed, which is nil if
// there was nothing, or it was taken before.
func (t *tap) take() (sight, *probe) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.p
	t.p = nil
	return t.sight, p
}

// A walk goes over one direction's records, encrypted or not, to see where the
// handshake ends, and the first alert in the clear.
type walk struct {
	header      [5]byte
	n           uint8
	left        int
	changed     bool // after change_cipher_spec
	finished    bool // a handshake record after that, to its end
	application bool // a record that is application data, or looks so in TLS 1.3, to its end
	lost        bool // what comes is no record
	alerted     bool // an alert in the clear, which alone is of two bytes
	alert       uint8
}

func (w *walk) feed(b []byte) {
	for len(b) > 0 && !w.application && !w.lost {
		if w.left == 0 {
			n := copy(w.header[w.n:], b)
			w.n += uint8(n)
			b = b[n:]
			if w.n < 5 {
				return
			}
			w.n = 0
			w.left = int(w.header[3])<<8 | int(w.header[4])
			if t := w.header[0]; t < 20 || t > 23 || w.header[1] != 3 || w.left == 0 {
				w.lost = true
				return
			}
			continue
		}
		n := min(w.left, len(b))
		last := b[n-1]
		w.left -= n
		b = b[n:]
		if w.left > 0 {
			return
		}
		switch w.header[0] {
		case 21:
			if !w.alerted && w.header[3] == 0 && w.header[4] == 2 {
				w.alerted, w.alert = true, last
			}
		case 20:
			w.changed = true
		case 22:
			w.finished = w.finished || w.changed
		case 23:
			w.application = true
		}
	}
}
