package evergreen

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A fingerprint is a ClientHello as the watcher knows it.
type fingerprint struct {
	hash  uint64     // of its shape, never 0
	known wire.Value // its JA4, of wire.JA4
}

// fingerprints tells hellos' fingerprints. JA4 sorts and takes two SHA-256,
// which is much beside a handshake. So what a JA4 is made of is first hashed in
// a way that sorting doesn't change, and the JA4s of the latest shapes are kept.
// Hellos of one shape have one JA4; the key, which nobody outside knows, keeps
// others from being made to look like it.
type fingerprints struct {
	key   [2]uint64
	slots [shapes]atomic.Pointer[fingerprint]
}

const shapes = 512

func newFingerprints() *fingerprints {
	seed := maphash.MakeSeed()
	return &fingerprints{key: [2]uint64{maphash.String(seed, "each") | 1, maphash.String(seed, "all") | 1}}
}

// of is h's fingerprint.
func (f *fingerprints) of(h *clienthello.Hello) fingerprint {
	shape := f.shape(h)
	slot := &f.slots[shape%shapes]
	if kept := slot.Load(); kept != nil && kept.hash == shape {
		return *kept
	}
	var space [48]byte
	made := fingerprint{shape, wire.JA4Value(h.AppendJA4(space[:0]))}
	slot.Store(&made)
	return made
}

// shape hashes what JA4 takes from a hello: the sets of cipher suites and
// extensions, the latter without two that JA4 only counts, and the order of
// signature schemes, all without GREASE; the greatest version, the ends of the
// first protocol, and the transport.
func (f *fingerprints) shape(h *clienthello.Hello) uint64 {
	rest := uint64(h.MaxVersion())<<8 | uint64(h.Transport)
	var suites, extensions, schemes uint64
	for _, s := range h.CipherSuites {
		if !clienthello.IsGREASE(s) {
			suites += f.mix(uint64(s))
		}
	}
	for _, e := range h.Extensions {
		switch {
		case clienthello.IsGREASE(e):
			continue
		case e == 0: // server_name
			rest |= 1 << 63
		case e != 16: // nor application_layer_protocol_negotiation
			extensions += f.mix(uint64(e))
		}
		rest += 1 << 48
	}
	for _, s := range h.SignatureSchemes {
		if !clienthello.IsGREASE(s) {
			schemes = f.mix(schemes ^ uint64(s))
		}
	}
	if len(h.ALPN) > 0 && h.ALPN[0] != "" {
		p := h.ALPN[0]
		rest |= 1<<40 | uint64(p[0])<<32 | uint64(p[len(p)-1])<<24
	}
	shape := f.mix(suites)
	for _, part := range [...]uint64{extensions, schemes, rest} {
		shape = f.mix(shape ^ part)
	}
	return shape | 1
}

// mix is a keyed finalizer after Stafford's Mix13, which every bit of v goes
// into every bit of.
func (f *fingerprints) mix(v uint64) uint64 {
	v = (v ^ f.key[0]) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>31 ^ f.key[1]) * 0x94d049bb133111eb
	return v ^ v>>29
}
