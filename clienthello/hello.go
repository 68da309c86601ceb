// Package clienthello parses TLS ClientHellos as they are on the wire, and
// computes their JA3 and JA4 fingerprints. It depends on the standard library only.
package clienthello

import "errors"

// A Transport is what a ClientHello came over.
type Transport byte

// The letters are JA4's.
const (
	TCP  Transport = 't'
	QUIC Transport = 'q'
)

// A Hello is what a ClientHello says. Lists are in the order of the wire and
// keep GREASE values (RFC 8701). A Hello may be used again: Parse reuses its lists.
type Hello struct {
	Transport        Transport
	Length           int    // bytes of the handshake message, with its header
	LegacyVersion    uint16 // 0x0303 for TLS 1.2 and 1.3; 0x0002 for an SSLv2 hello
	SessionIDLength  int
	CipherSuites     []uint16
	Compressions     []uint8
	Extensions       []uint16
	ServerName       string   // "" if there was none
	Groups           []uint16 // supported_groups
	PointFormats     []uint8
	SignatureSchemes []uint16
	ALPN             []string
	Versions         []uint16 // supported_versions
	KeyShares        []uint16 // groups of key_share
	PSKModes         []uint8
	CertCompressions []uint16
	ECH              bool // encrypted_client_hello, also if it is GREASE
	EarlyData        bool
	PSK              bool // pre_shared_key
	SessionTicket    bool // session_ticket is there and not empty
}

// ErrMalformed is wrapped by every error of Parse.
var ErrMalformed = errors.New("malformed ClientHello")

// Parse reads a handshake message of type client_hello, with its four-byte
// header, into h. After an error h holds what came before it.
func (h *Hello) Parse(msg []byte) error { return ErrMalformed }

// IsGREASE reports whether v is reserved by RFC 8701.
func IsGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// JA3 is the fingerprint's 32 hexadecimal digits, and JA3String what it is the MD5 of.
func (h *Hello) JA3() string { return "" }

// JA4 is the fingerprint, such as "t13d1516h2_8daaf6152771_d8a2da3f94cd".
func (h *Hello) JA4() string { return "" }
