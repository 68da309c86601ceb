package recorder

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/clients"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Classify tells what a User-Agent claims, from the cache that requests use.
func (r *Recorder) Classify(userAgent string) clients.Client { return r.clients.Classify(userAgent) }

var (
	helloParsed    = wire.HelloState.Value("parsed")
	helloMalformed = wire.HelloState.Value("malformed")
	helloTCP       = wire.HelloTransport.Value("tcp")
	helloQUIC      = wire.HelloTransport.Value("quic")
)

// The features of a hello, by the names of wire.HelloFeature.
var feature = func() (f struct {
	grease, sni, ech, psk, earlyData, ticket, sessionID, ems, renegotiation, status, sct, padding, certCompression,
	delegated, pqGroup, pqShare, postHandshake, encryptThenMAC, heartbeat, alps, fallback wire.Value
}) {
	for name, v := range map[string]*wire.Value{
		"grease": &f.grease, "server_name": &f.sni, "ech": &f.ech, "psk": &f.psk, "early_data": &f.earlyData, "session_ticket": &f.ticket,
		"session_id": &f.sessionID, "extended_master_secret": &f.ems, "renegotiation_info": &f.renegotiation, "status_request": &f.status,
		"sct": &f.sct, "padding": &f.padding, "certificate_compression": &f.certCompression, "delegated_credential": &f.delegated,
		"post_quantum_group": &f.pqGroup, "post_quantum_key_share": &f.pqShare, "post_handshake_auth": &f.postHandshake,
		"encrypt_then_mac": &f.encryptThenMAC, "heartbeat": &f.heartbeat, "application_settings": &f.alps, "fallback_scsv": &f.fallback,
	} {
		*v = wire.HelloFeature.Value(name)
	}
	return f
}()

// A once counts each value of a list once, whatever a client repeats.
type once [4]uint64

func (o *once) first(v wire.Value) bool {
	bit := uint64(1) << (v & 63)
	if v > 255 || o[v>>6]&bit != 0 {
		return false
	}
	o[v>>6] |= bit
	return true
}

// list counts the values of a list, each once.
func (r *Recorder) list(id wire.MetricID, list []uint16, family wire.Value, value func(uint16) wire.Value) {
	m := r.metric(id)
	if len(list) == 0 || r.isOff(m) {
		return
	}
	var seen once
	s := r.stripe()
	for _, code := range list {
		if v := value(code); seen.first(v) {
			s[m.cell2(v, family)].Add(1)
		}
	}
}

// Hello counts what a ClientHello advertises; malformed says that it holds only
// what came before the fault.
func (r *Recorder) Hello(h *clienthello.Hello, malformed bool, family wire.Value) {
	over := helloTCP
	if h.Transport == clienthello.QUIC {
		over = helloQUIC
	}
	state := helloParsed
	if malformed {
		state = helloMalformed
	}
	r.Add(wire.TLSHellos, wire.Dims{state, over, family}, 1)
	if over == helloTCP {
		r.Observe(wire.TLSHelloSize, wire.Dims{state}, int64(h.Length))
	}
	if malformed {
		return
	}
	r.list(wire.TLSHelloSuites, h.CipherSuites, family, wire.OfferedSuiteValue)
	r.list(wire.TLSHelloGroups, h.Groups, family, wire.OfferedGroupValue)
	r.list(wire.TLSHelloSchemes, h.SignatureSchemes, family, wire.OfferedSchemeValue)
	r.list(wire.TLSHelloVersions, h.Versions, family, wire.OfferedVersionValue)
	r.list(wire.TLSHelloExtensions, h.Extensions, family, wire.OfferedExtensionValue)
	var seen once
	for _, p := range h.ALPN {
		if v := wire.OfferedALPNValue(p); seen.first(v) {
			r.Add(wire.TLSHelloALPN, wire.Dims{v, family}, 1)
		}
	}
	if over == helloTCP {
		r.list(wire.TLSHelloKeyShares, h.KeyShares, family, wire.OfferedGroupValue)
		r.list(wire.TLSHelloCertCompressions, h.CertCompressions, family, wire.CertCompressionValue)
		r.Add(wire.TLSHelloLegacyVersions, wire.Dims{wire.OfferedVersionValue(h.LegacyVersion), family}, 1)
		seen = once{}
		for _, c := range h.Compressions {
			if v := wire.CompressionValue(c); seen.first(v) {
				r.Add(wire.TLSHelloCompressions, wire.Dims{v, family}, 1)
			}
		}
	}
	r.helloFeatures(h, family)
	r.fingerprint(h, over, family)
}

// helloFeatures counts what a hello has, each once.
func (r *Recorder) helloFeatures(h *clienthello.Hello, family wire.Value) {
	var f once
	is := func(there bool, v wire.Value) {
		if there && f.first(v) {
			r.Add(wire.TLSHelloFeatures, wire.Dims{v, family}, 1)
		}
	}
	for _, c := range h.CipherSuites {
		is(clienthello.IsGREASE(c), feature.grease)
		is(c == 0x5600, feature.fallback)
		is(c == 0x00ff, feature.renegotiation)
	}
	for _, e := range h.Extensions {
		switch e {
		case 0:
			is(true, feature.sni)
		case 5:
			is(true, feature.status)
		case 15:
			is(true, feature.heartbeat)
		case 18:
			is(true, feature.sct)
		case 21:
			is(true, feature.padding)
		case 22:
			is(true, feature.encryptThenMAC)
		case 23:
			is(true, feature.ems)
		case 27:
			is(true, feature.certCompression)
		case 34:
			is(true, feature.delegated)
		case 49:
			is(true, feature.postHandshake)
		case 17513, 17613:
			is(true, feature.alps)
		case 65281:
			is(true, feature.renegotiation)
		default:
			is(clienthello.IsGREASE(e), feature.grease)
		}
	}
	is(h.ECH, feature.ech)
	is(h.PSK, feature.psk)
	is(h.EarlyData, feature.earlyData)
	is(h.SessionTicket, feature.ticket)
	is(h.SessionIDLength > 0, feature.sessionID)
	for _, g := range h.Groups {
		is(wire.PostQuantum(g), feature.pqGroup)
	}
	for _, g := range h.KeyShares {
		is(wire.PostQuantum(g), feature.pqShare)
	}
}

// fingerprint counts the JA4, by name if it is a known one.
func (r *Recorder) fingerprint(h *clienthello.Hello, over, family wire.Value) {
	var space [48]byte
	ja4 := h.AppendJA4(space[:0])
	v := wire.JA4Value(ja4)
	r.Add(wire.TLSHelloJA4, wire.Dims{v, family}, 1)
	if v == wire.Other && r.unknown.news(maphash.Bytes(r.unknown.seed, ja4), r.window.Load()) {
		r.Add(wire.TLSHelloJA4Unknown, wire.Dims{over}, 1)
	}
}

// A sightings is the set of what was seen in a window, of a fixed size. It holds
// hashes under a key that this process alone has, and forgets them with the
// window. It may take something for news twice where goroutines meet, or when
// a window begins.
type sightings struct {
	seed   maphash.Seed
	window atomic.Int64
	n      atomic.Int64
	slots  [2 * maxSightings]atomic.Uint64
}

const maxSightings = 4096

func (s *sightings) news(hash uint64, window int64) bool {
	if old := s.window.Load(); old != window && s.window.CompareAndSwap(old, window) {
		for i := range s.slots {
			s.slots[i].Store(0)
		}
		s.n.Store(0)
	}
	if s.n.Load() >= maxSightings {
		return false
	}
	hash |= 1 // 0 is an empty slot
	for i := range uint64(16) {
		slot := &s.slots[(hash>>20+i)%uint64(len(s.slots))]
		switch got := slot.Load(); got {
		case hash:
			return false
		case 0:
			if slot.CompareAndSwap(0, hash) {
				s.n.Add(1)
				return true
			}
			if slot.Load() == hash {
				return false
			}
		}
	}
	return false
}
