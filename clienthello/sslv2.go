package clienthello

import "fmt"

// ParseSSLv2 reads a ClientHello in the format of SSL 2.0, with its two-byte
// header, as an [SSLv2Hello] has it. Clients sent those until about 2010 to offer
// newer versions too, and scanners send them still. After an error h holds what
// came before it.
func (h *Hello) ParseSSLv2(rec []byte) error {
	h.reset()
	h.SSLv2 = true
	h.Length = len(rec)
	r := reader(rec)
	size, ok := r.uint16()
	if !ok || size&0x8000 == 0 || int(size&0x7fff) != len(r) {
		return malformed("SSLv2 record", h.Length)
	}
	if kind, _ := r.uint8(); kind != typeClientHello {
		return fmt.Errorf("%w: an SSLv2 message of type %d", ErrMalformed, kind)
	}
	if h.LegacyVersion, ok = r.uint16(); !ok {
		return malformed("version", h.Length)
	}
	kinds, _ := r.uint16()
	session, _ := r.uint16()
	challenge, ok := r.uint16()
	if !ok {
		return malformed("SSLv2 header", h.Length)
	}
	h.SessionIDLength = int(session)
	specs, ok := r.take(int(kinds))
	if !ok || kinds%3 != 0 {
		return malformed("cipher kinds", h.Length)
	}
	for ; len(specs) >= 3; specs = specs[3:] {
		if specs[0] == 0 {
			h.CipherSuites = append(h.CipherSuites, uint16(specs[1])<<8|uint16(specs[2]))
		} else {
			h.SSLv2Ciphers = append(h.SSLv2Ciphers, uint32(specs[0])<<16|uint32(specs[1])<<8|uint32(specs[2]))
		}
	}
	if len(r) != int(session)+int(challenge) {
		return malformed("session id or challenge", h.Length)
	}
	return nil
}
