package clients

import (
	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/wire"
)

//go:generate go run ./gensig signatures.gen.go signatures

// What follows are the types of the generated table; signatures/README.md says
// what they mean.
type (
	engine     uint8
	engineData struct {
		name       string
		newest     uint16 // the newest version of the table
		libraries  []libraryRange
		rules      []engineRule
		signatures []signature
	}
	libraryRange struct {
		library  wire.Value
		from, to uint16
	}
	engineRule struct {
		from, to uint16
		what     ruleKind
		code     uint16
	}
	signature struct {
		name                                           string
		library                                        wire.Value
		from, to                                       uint16
		quic                                           bool
		ciphers, groups, schemes, points, certificates []pattern
		must, may                                      extensionSet // may holds must
		greaseExtensions                               greaseKind
		openExtensions                                 bool
	}
	// libraries are bits by values of wire.TLSLibrary.
	libraries    struct{ usual, never uint32 }
	extensionSet [2]uint64
	pattern      []item
	// An item is a code point, or grease, with optional; or anything.
	item uint32
)

const (
	optional item = 1 << 16
	grease   item = 1 << 17
	anything item = 1 << 18
)

type greaseKind uint8

const (
	greaseNever greaseKind = iota
	greaseMay
	greaseMust
)

type ruleKind uint8

const (
	ruleGrease ruleKind = iota
	ruleNoGrease
	ruleTLS13
	ruleExtension
	ruleNoExtension
	ruleNoCipher
)

// features are what is asked of a hello more than once.
type features struct {
	extensions      extensionSet
	otherExtensions bool // one without a bit
	grease          bool // in the extensions
}

func featuresOf(h *clienthello.Hello) (f features) {
	for _, x := range h.Extensions {
		if clienthello.IsGREASE(x) {
			f.grease = true
		} else if bit, ok := extensionBit(x); ok {
			f.extensions[bit>>6] |= 1 << (bit & 63)
		} else {
			f.otherExtensions = true
		}
	}
	return f
}

func (s extensionSet) has(id uint16) bool {
	bit, ok := extensionBit(id)
	return ok && s[bit>>6]&(1<<(bit&63)) != 0
}

// match reports whether list is what the pattern says. An optional item is taken
// where it fits: no pattern needs a second look.
func match[T uint8 | uint16](p pattern, list []T) bool {
	i := 0
	for _, it := range p {
		if it&anything != 0 {
			return true
		}
		if i < len(list) {
			v := uint16(list[i])
			if it&grease != 0 && clienthello.IsGREASE(v) || it&grease == 0 && uint16(it) == v {
				i++
				continue
			}
		}
		if it&optional == 0 {
			return false
		}
	}
	return i == len(list)
}

// matchAny reports whether one of the patterns fits, or there is none.
func matchAny[T uint8 | uint16](ps []pattern, list []T) bool {
	for _, p := range ps {
		if match(p, list) {
			return true
		}
	}
	return len(ps) == 0
}

// fits reports whether a hello is what the signature says. Hellos that come from
// Go's ClientHelloInfo do not say how certificates may be compressed, and so fit
// no signature that tells a client by that.
func (s *signature) fits(h *clienthello.Hello, f *features) bool {
	if !matchAny(s.schemes, h.SignatureSchemes) || !matchAny(s.ciphers, h.CipherSuites) ||
		!matchAny(s.groups, h.Groups) || !matchAny(s.points, h.PointFormats) {
		return false
	}
	if f.extensions.has(0x1b) && !matchAny(s.certificates, h.CertCompressions) {
		return false
	}
	for i, m := range s.must {
		if f.extensions[i]&m != m {
			return false
		}
	}
	switch {
	case s.greaseExtensions == greaseMust && !f.grease, s.greaseExtensions == greaseNever && f.grease:
		return false
	case s.openExtensions:
		return true
	case f.otherExtensions:
		return false
	}
	for i, m := range s.may {
		if f.extensions[i]&^m != 0 {
			return false
		}
	}
	return true
}

// holds reports whether a hello keeps the rule.
func (r *engineRule) holds(h *clienthello.Hello, f *features) bool {
	switch r.what {
	case ruleGrease:
		return f.grease && hasGREASE(h.CipherSuites) && hasGREASE(h.Groups)
	case ruleNoGrease:
		return !f.grease && !hasGREASE(h.CipherSuites) && !hasGREASE(h.Groups)
	case ruleTLS13:
		return contains(h.Versions, 0x0304)
	case ruleExtension:
		return f.extensions.has(r.code)
	case ruleNoExtension:
		return !f.extensions.has(r.code)
	case ruleNoCipher:
		return !contains(h.CipherSuites, r.code)
	}
	return true
}

func hasGREASE(list []uint16) bool {
	for _, v := range list {
		if clienthello.IsGREASE(v) {
			return true
		}
	}
	return false
}

func contains(list []uint16, v uint16) bool {
	for _, w := range list {
		if v == w {
			return true
		}
	}
	return false
}
