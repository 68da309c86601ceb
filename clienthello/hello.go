package clienthello

import (
	"errors"
	"fmt"
)

// A Transport is what a ClientHello came over.
type Transport byte

// The letters are JA4's. The zero Transport counts as TCP.
const (
	TCP  Transport = 't'
	QUIC Transport = 'q'
)

// A Hello is what a ClientHello says. Lists are in the order of the wire and
// keep GREASE values (RFC 8701). A Hello may be used again: Parse reuses its lists
// and leaves Transport as it is.
type Hello struct {
	Transport        Transport
	Length           int    // bytes of the handshake message, with its header
	LegacyVersion    uint16 // 0x0303 for TLS 1.2 and 1.3; 0x0002 for a hello that offers SSL 2.0 only
	SSLv2            bool   // the hello is in SSLv2's format, whatever version it offers
	SessionIDLength  int
	CipherSuites     []uint16
	SSLv2Ciphers     []uint32 // cipher kinds of SSL 2.0 itself, of three bytes
	Compressions     []uint8
	Extensions       []uint16
	ServerName       string   // "" if there was none
	Groups           []uint16 // supported_groups
	PointFormats     []uint8
	SignatureSchemes []uint16
	ALPN             []string // the first 64 at most
	Versions         []uint16 // supported_versions
	KeyShares        []uint16 // groups of key_share
	PSKModes         []uint8
	CertCompressions []uint16
	ECH              bool // encrypted_client_hello, also if it is GREASE
	EarlyData        bool
	PSK              bool // pre_shared_key
	SessionTicket    bool // session_ticket is there and not empty
}

// The extensions that Parse looks into.
const (
	extServerName       = 0
	extGroups           = 10
	extPointFormats     = 11
	extSignatureSchemes = 13
	extALPN             = 16
	extCertCompressions = 27
	extSessionTicket    = 35
	extPSK              = 41
	extEarlyData        = 42
	extVersions         = 43
	extPSKModes         = 45
	extKeyShares        = 51
	extECH              = 0xfe0d
)

const (
	typeClientHello = 1
	typeServerHello = 2
)

const (
	maxALPN = 64   // more are counted by nobody, and a hello of 64 KiB can hold 32,000
	maxKept = 1024 // longer lists are not kept for the next hello
)

// ErrMalformed is wrapped by every error of Parse and ParseSSLv2.
var ErrMalformed = errors.New("malformed ClientHello")

// Parse reads a handshake message of type client_hello, with its four-byte
// header, into h. After an error h holds what came before it; what is wrong
// inside of one extension keeps none of the others from being read.
func (h *Hello) Parse(msg []byte) error {
	h.reset()
	h.Length = len(msg)
	if len(msg) < 4 {
		return malformed("its header", len(msg))
	}
	if msg[0] != typeClientHello {
		return fmt.Errorf("%w: a handshake message of type %d", ErrMalformed, msg[0])
	}
	if n := int(msg[1])<<16 | int(msg[2])<<8 | int(msg[3]); n != len(msg)-4 {
		return fmt.Errorf("%w: says to have %d bytes after its header and has %d", ErrMalformed, n, len(msg)-4)
	}
	r := reader(msg[4:])
	var ok bool
	if h.LegacyVersion, ok = r.uint16(); !ok {
		return malformed("version", h.Length)
	}
	if _, ok = r.take(32); !ok {
		return malformed("random", h.Length)
	}
	session, ok := r.vector8()
	if !ok {
		return malformed("session id", h.Length)
	}
	h.SessionIDLength = len(session)
	suites, ok := r.vector16()
	if !ok || len(suites)%2 != 0 {
		return malformed("cipher suites", h.Length)
	}
	h.CipherSuites = appendUint16s(h.CipherSuites, suites)
	compressions, ok := r.vector8()
	if !ok {
		return malformed("compression methods", h.Length)
	}
	h.Compressions = append(h.Compressions, compressions...)
	if len(r) == 0 {
		return nil // before extensions were invented
	}
	extensions, ok := r.vector16()
	if !ok || len(r) > 0 {
		return malformed("list of extensions", h.Length)
	}
	return h.extensions(extensions)
}

func malformed(what string, length int) error {
	return fmt.Errorf("%w: %s cut short or of a wrong length (%d bytes in all)", ErrMalformed, what, length)
}

func (h *Hello) extensions(r reader) (err error) {
	for len(r) > 0 {
		t, ok := r.uint16()
		if !ok {
			return malformed("the last extension", h.Length)
		}
		body, ok := r.vector16()
		if !ok {
			return malformed("the last extension", h.Length)
		}
		h.Extensions = append(h.Extensions, t)
		if !h.extension(t, body) && err == nil {
			err = fmt.Errorf("%w: the body of extension %d", ErrMalformed, t)
		}
	}
	return err
}

// extension looks into the body of one extension. Bodies of types that it doesn't
// know are right, whatever they are.
func (h *Hello) extension(t uint16, body reader) (ok bool) {
	switch t {
	case extServerName:
		return h.serverName(body)
	case extGroups:
		h.Groups, ok = list16(h.Groups[:0], &body)
	case extPointFormats:
		h.PointFormats, ok = list8(h.PointFormats[:0], &body)
	case extSignatureSchemes:
		h.SignatureSchemes, ok = list16(h.SignatureSchemes[:0], &body)
	case extALPN:
		return h.alpn(body)
	case extCertCompressions:
		h.CertCompressions, ok = list16in8(h.CertCompressions[:0], &body)
	case extVersions:
		h.Versions, ok = list16in8(h.Versions[:0], &body)
	case extPSKModes:
		h.PSKModes, ok = list8(h.PSKModes[:0], &body)
	case extKeyShares:
		return h.keyShares(body)
	case extSessionTicket:
		h.SessionTicket = len(body) > 0
		return true
	case extPSK:
		h.PSK = true
		return true
	case extEarlyData:
		h.EarlyData = true
		return true
	case extECH:
		h.ECH = true
		return true
	default:
		return true
	}
	return ok && len(body) == 0
}

func (h *Hello) serverName(body reader) bool {
	if len(body) == 0 {
		return true // some clients say that way that they have none
	}
	names, ok := body.vector16()
	if !ok || len(body) > 0 {
		return false
	}
	for len(names) > 0 {
		kind, _ := names.uint8()
		name, ok := names.vector16()
		if !ok {
			return false
		}
		if kind == 0 && h.ServerName != string(name) {
			h.ServerName = string(name)
		}
		if kind == 0 {
			return len(names) == 0
		}
	}
	return true
}

func (h *Hello) alpn(body reader) bool {
	names, ok := body.vector16()
	h.ALPN = h.ALPN[:0]
	for ok && len(names) > 0 {
		var name reader
		if name, ok = names.vector8(); ok && len(h.ALPN) < maxALPN {
			h.ALPN = append(h.ALPN, protocol(name))
		}
	}
	return ok && len(body) == 0
}

// protocol is string(name), without an allocation for the usual ones.
func protocol(name []byte) string {
	switch string(name) {
	case "h2":
		return "h2"
	case "http/1.1":
		return "http/1.1"
	case "http/1.0":
		return "http/1.0"
	case "h3":
		return "h3"
	case "acme-tls/1":
		return "acme-tls/1"
	case "spdy/3.1":
		return "spdy/3.1"
	case "spdy/3":
		return "spdy/3"
	}
	return string(name)
}

func (h *Hello) keyShares(body reader) bool {
	h.KeyShares = h.KeyShares[:0]
	shares, ok := body.vector16()
	if !ok || len(body) > 0 {
		return false
	}
	for len(shares) > 0 {
		group, _ := shares.uint16()
		if _, ok := shares.vector16(); !ok {
			return false
		}
		h.KeyShares = append(h.KeyShares, group)
	}
	return true
}

// reset empties h for another hello. The server name is kept apart: most
// connections to a server name the same one as another did.
func (h *Hello) reset() {
	*h = Hello{
		Transport:        h.Transport,
		CipherSuites:     emptied(h.CipherSuites),
		SSLv2Ciphers:     emptied(h.SSLv2Ciphers),
		Compressions:     emptied(h.Compressions),
		Extensions:       emptied(h.Extensions),
		Groups:           emptied(h.Groups),
		PointFormats:     emptied(h.PointFormats),
		SignatureSchemes: emptied(h.SignatureSchemes),
		ALPN:             emptied(h.ALPN),
		Versions:         emptied(h.Versions),
		KeyShares:        emptied(h.KeyShares),
		PSKModes:         emptied(h.PSKModes),
		CertCompressions: emptied(h.CertCompressions),
	}
}

func emptied[T any](list []T) []T {
	if cap(list) > maxKept {
		return nil
	}
	return list[:0]
}

// IsGREASE reports whether v is reserved by RFC 8701.
func IsGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// HasExtension reports whether the hello has an extension of type t.
func (h *Hello) HasExtension(t uint16) bool {
	for _, e := range h.Extensions {
		if e == t {
			return true
		}
	}
	return false
}

// MaxVersion is the highest version that the hello offers, GREASE apart.
func (h *Hello) MaxVersion() uint16 {
	if len(h.Versions) == 0 {
		return h.LegacyVersion
	}
	highest := uint16(0)
	for _, v := range h.Versions {
		if !IsGREASE(v) {
			highest = max(highest, v)
		}
	}
	return highest
}

// A reader is what is left to read. Its methods take from its front, or say that
// there is not enough and take nothing, or as much as was there.
type reader []byte

func (r *reader) take(n int) (reader, bool) {
	if len(*r) < n {
		return nil, false
	}
	b := (*r)[:n:n]
	*r = (*r)[n:]
	return b, true
}

func (r *reader) uint8() (uint8, bool) {
	b, ok := r.take(1)
	if !ok {
		return 0, false
	}
	return b[0], true
}

func (r *reader) uint16() (uint16, bool) {
	b, ok := r.take(2)
	if !ok {
		return 0, false
	}
	return uint16(b[0])<<8 | uint16(b[1]), true
}

func (r *reader) vector8() (reader, bool) {
	n, ok := r.uint8()
	if !ok {
		return nil, false
	}
	return r.take(int(n))
}

func (r *reader) vector16() (reader, bool) {
	n, ok := r.uint16()
	if !ok {
		return nil, false
	}
	return r.take(int(n))
}

func appendUint16s(dst []uint16, b []byte) []uint16 {
	for ; len(b) >= 2; b = b[2:] {
		dst = append(dst, uint16(b[0])<<8|uint16(b[1]))
	}
	return dst
}

func list16(dst []uint16, r *reader) ([]uint16, bool) {
	b, ok := r.vector16()
	return appendUint16s(dst, b), ok && len(b)%2 == 0
}

func list16in8(dst []uint16, r *reader) ([]uint16, bool) {
	b, ok := r.vector8()
	return appendUint16s(dst, b), ok && len(b)%2 == 0
}

func list8(dst []uint8, r *reader) ([]uint8, bool) {
	b, ok := r.vector8()
	return append(dst, b...), ok
}
