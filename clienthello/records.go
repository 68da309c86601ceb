package clienthello

// MaxClear is how many bytes of one direction Records looks at: the longest
// hello that crypto/tls accepts, 64 KiB, with what is around it. It is also the
// longest message that Records collects.
const MaxClear = 72 << 10

// maxRecord is the longest record that TLS 1.2 allows: 2^14 and what ciphers add.
const maxRecord = 1<<14 + 2048

// A Kind is what an Event tells.
type Kind uint8

const (
	// NoEvent says that the segment was read to its end, and more is needed.
	NoEvent Kind = iota
	// Message is a whole handshake message: Type, and Bytes with the four-byte header.
	Message
	// Alert is an alert in the clear: Level and Description.
	Alert
	// SSLv2Hello is a ClientHello in SSLv2's format: Bytes with its two-byte header.
	SSLv2Hello

	// What follows ends the reading, and is the last event.

	// Encrypted: from here on nothing is in the clear.
	Encrypted
	// PlainHTTP: the stream begins with a request (or response) of HTTP.
	PlainHTTP
	// NotTLS: the stream is not, or no longer, made of records of TLS.
	NotTLS
	// TooLong: more than MaxClear bytes came in the clear.
	TooLong
)

// Ends reports whether k ends the reading.
func (k Kind) Ends() bool { return k >= Encrypted }

// An Event is what was found in one direction of a connection.
type Event struct {
	Kind               Kind
	Type               uint8  // of a handshake message
	Level, Description uint8  // of an alert
	Bytes              []byte // part of the segment or of Records' memory: gone with the next call
}

// Records reads what one direction of a TLS connection over TCP says in the clear:
// handshake messages, which may be split over records, and those over segments,
// as anybody likes; and alerts. The zero Records is ready.
//
// In TLS 1.3 a change_cipher_spec comes between the two hellos of a client (and the two of
// a server) when the server asked for another try, so it is not the end. After
// it only such a second hello, or an alert, which is of two bytes where it is not
// encrypted, is still taken for clear. A second hello after early data is not seen.
type Records struct {
	header   [5]byte
	n        uint8 // bytes of header that are there
	begun    bool  // the first header was whole, and right
	sslv2    bool  // the present record is in SSLv2's format
	changed  bool  // change_cipher_spec was seen
	used     bool  // buf was given away with the last event
	first    uint8 // type of the first handshake message
	messages uint8 // how many there were, 2 at most
	level    uint8 // of the alert that is half there
	end      Kind  // how the reading ended, or NoEvent
	left     int   // bytes of the present record that are still to come
	seen     int
	buf      []byte // the message that is there in part
}

// Reset makes r ready for another connection. It keeps a buffer of a usual size.
func (r *Records) Reset() {
	buf := r.buf
	if cap(buf) > 4096 {
		buf = nil
	}
	*r = Records{buf: buf[:0]}
}

// Ended reports how the reading ended, or NoEvent if it has not.
func (r *Records) Ended() Kind { return r.end }

// Next reads the segment up to the first event, and returns that and the rest of
// the segment. Without an event all was read. After the end nothing is read.
//
//	for len(segment) > 0 {
//		var e clienthello.Event
//		e, segment = records.Next(segment)
//		…
//	}
func (r *Records) Next(segment []byte) (e Event, rest []byte) {
	if r.used {
		r.used = false
		r.buf = r.buf[:0]
	}
	if r.end != NoEvent {
		return Event{}, nil
	}
	for len(segment) > 0 {
		before := len(segment)
		e, segment = r.step(segment)
		r.seen += before - len(segment)
		if r.seen > MaxClear {
			e.Kind = TooLong
		}
		if e.Kind.Ends() {
			r.end = e.Kind
			r.buf = nil
			return Event{Kind: r.end}, nil
		}
		if e.Kind != NoEvent {
			return e, segment
		}
	}
	return Event{}, nil
}

// step reads at least one byte.
func (r *Records) step(b []byte) (Event, []byte) {
	switch {
	case r.left == 0:
		return r.begin(b)
	case r.sslv2:
		n := min(r.left, len(b))
		r.buf = append(r.buf, b[:n]...)
		r.left -= n
		if r.left > 0 {
			return Event{}, b[n:]
		}
		r.sslv2, r.used, r.messages = false, true, 2
		return Event{Kind: SSLv2Hello, Bytes: r.buf}, b[n:]
	case r.header[0] == recordHandshake:
		return r.handshake(b)
	}
	// The bodies of the others are 1 or 2 bytes.
	r.left--
	if r.header[0] == recordAlert {
		if r.left == 0 {
			return Event{Kind: Alert, Level: r.level, Description: b[0]}, b[1:]
		}
		r.level = b[0]
	}
	return Event{}, b[1:]
}

const (
	recordChangeCipherSpec = 20
	recordAlert            = 21
	recordHandshake        = 22
	recordApplicationData  = 23
)

// begin reads the header of a record, as much as is there.
func (r *Records) begin(b []byte) (Event, []byte) {
	n := copy(r.header[r.n:], b)
	r.n += uint8(n)
	b = b[n:]
	if !r.begun {
		if k := beginning(r.header[:r.n]); k != NoEvent {
			return Event{Kind: k}, b
		}
	}
	if r.n < 5 {
		return Event{}, b
	}
	r.n = 0
	if !r.begun && r.header[0]&0x80 != 0 {
		r.begun, r.sslv2 = true, true
		r.buf = append(r.buf[:0], r.header[:]...)
		r.left = int(r.header[0]&0x7f)<<8 | int(r.header[1]) - 3
		return Event{}, b
	}
	r.begun = true
	size := int(r.header[3])<<8 | int(r.header[4])
	if r.header[1] != 3 || size > maxRecord {
		return Event{Kind: r.broken()}, b
	}
	switch r.header[0] {
	case recordHandshake:
		r.left = size
		return Event{}, b
	case recordAlert:
		if size == 2 { // an encrypted one is longer
			r.left = size
			return Event{}, b
		}
	case recordChangeCipherSpec:
		second := r.messages == 1 && (r.first == typeClientHello || r.first == typeServerHello) && len(r.buf) == 0
		if second && !r.changed && size == 1 {
			r.changed = true
			r.left = size
			return Event{}, b
		}
	}
	return Event{Kind: r.broken()}, b
}

// broken is what it means that the records don't go on in the clear.
func (r *Records) broken() Kind {
	if r.messages > 0 && r.header[1] == 3 {
		return Encrypted
	}
	return NotTLS
}

// beginning tells what a stream is of which h are the first bytes, 5 at most: NoEvent if it
// may be TLS.
func beginning(h []byte) Kind {
	switch c := h[0]; {
	case c == recordHandshake || c == recordAlert || c == recordChangeCipherSpec || c == recordApplicationData:
		return NoEvent
	case c&0x80 != 0: // perhaps SSLv2: length, type, version
		if len(h) >= 3 && h[2] != typeClientHello || len(h) == 5 && !(h[3] == 3 || h[3] == 0 && h[4] == 2) {
			return NotTLS
		}
		if len(h) >= 2 && int(c&0x7f)<<8|int(h[1]) < 9 {
			return NotTLS
		}
		return NoEvent
	case c < 'A' || c > 'Z':
		return NotTLS
	case len(h) < 5:
		return NoEvent
	}
	switch string(h) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "CONNE", "PATCH", "TRACE", "PROPF", "PRI *", "HTTP/":
		return PlainHTTP
	}
	return NotTLS
}

// handshake reads one message, or what is there of it.
func (r *Records) handshake(b []byte) (Event, []byte) {
	n := min(r.left, len(b))
	if len(r.buf) == 0 && n >= 4 {
		if size := messageSize(b); size <= n {
			return r.message(b[:size:size]), b[size:]
		}
	}
	if have := len(r.buf); have < 4 {
		n = min(n, 4-have)
	} else {
		n = min(n, messageSize(r.buf)-have)
	}
	r.buf = append(r.buf, b[:n]...)
	b = b[n:]
	if len(r.buf) < 4 || len(r.buf) < messageSize(r.buf) {
		r.left -= n
		if r.changed && !r.again(r.buf) {
			return Event{Kind: Encrypted}, b
		}
		if len(r.buf) >= 4 && messageSize(r.buf) > MaxClear {
			return Event{Kind: TooLong}, b
		}
		return Event{}, b
	}
	r.left += len(r.buf) - n // message takes all of it
	r.used = true
	return r.message(r.buf), b
}

func messageSize(b []byte) int { return 4 + (int(b[1])<<16 | int(b[2])<<8 | int(b[3])) }

func (r *Records) message(m []byte) Event {
	r.left -= len(m)
	if r.changed && !r.again(m) {
		return Event{Kind: Encrypted}
	}
	if r.messages == 0 {
		r.first = m[0]
	}
	r.messages = min(r.messages+1, 2)
	return Event{Kind: Message, Type: m[0], Bytes: m}
}

// again reports whether m may be the second hello, which alone is clear after
// change_cipher_spec, or the beginning of it. Something encrypted passes for that
// once in 2^32 times.
func (r *Records) again(m []byte) bool {
	switch {
	case r.messages != 1 || m[0] != r.first:
		return false
	case len(m) >= 4 && (messageSize(m) < 38 || messageSize(m) > MaxClear):
		return false
	}
	return len(m) < 6 || m[4] == 3 && m[5] <= 4
}
