package clienthello

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
)

// usual is how many entries of a list are handled without an allocation, and
// usualText how many bytes of a text to be hashed.
const (
	usual     = 128
	usualText = 1024
)

// JA3 is the fingerprint's 32 hexadecimal digits.
func (h *Hello) JA3() string {
	var text [usualText]byte
	sum := md5.Sum(h.AppendJA3String(text[:0]))
	var digits [2 * md5.Size]byte
	hex.Encode(digits[:], sum[:])
	return string(digits[:])
}

// JA3String is what JA3 is the MD5 of.
func (h *Hello) JA3String() string { return string(h.AppendJA3String(nil)) }

// AppendJA3String appends JA3String to dst.
func (h *Hello) AppendJA3String(dst []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(h.LegacyVersion), 10)
	dst = append(dst, ',')
	for _, list := range [...][]uint16{h.CipherSuites, h.Extensions, h.Groups} {
		first := true
		for _, v := range list {
			if IsGREASE(v) {
				continue
			}
			if !first {
				dst = append(dst, '-')
			}
			first = false
			dst = strconv.AppendUint(dst, uint64(v), 10)
		}
		dst = append(dst, ',')
	}
	for i, p := range h.PointFormats {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = strconv.AppendUint(dst, uint64(p), 10)
	}
	return dst
}

// JA4 is the fingerprint, such as "t13d1516h2_8daaf6152771_d8a2da3f94cd".
func (h *Hello) JA4() string {
	var b [36]byte
	return string(h.AppendJA4(b[:0]))
}

// JA4Raw is JA4 with the sorted lists in the place of their hashes, called JA4_r.
func (h *Hello) JA4Raw() string { return string(h.appendJA4(nil, false)) }

// AppendJA4 appends JA4, which has 36 bytes, to dst.
func (h *Hello) AppendJA4(dst []byte) []byte { return h.appendJA4(dst, true) }

func (h *Hello) appendJA4(dst []byte, hashed bool) []byte {
	var suiteRoom, extensionRoom [usual]uint16
	suites, extensions := suiteRoom[:0], extensionRoom[:0]
	for _, s := range h.CipherSuites {
		if !IsGREASE(s) {
			suites = append(suites, s)
		}
	}
	n, name := 0, byte('i')
	for _, e := range h.Extensions {
		if IsGREASE(e) {
			continue
		}
		n++
		switch e {
		case extServerName:
			name = 'd'
		case extALPN:
		default:
			extensions = append(extensions, e)
		}
	}
	slices.Sort(suites)
	slices.Sort(extensions)

	over := h.Transport
	if over == 0 {
		over = TCP
	}
	dst = append(dst, byte(over))
	dst = append(dst, ja4Version(h.MaxVersion())...)
	dst = append(dst, name)
	dst = appendTwoDigits(dst, len(suites))
	dst = appendTwoDigits(dst, n)
	dst = h.appendJA4Protocol(dst)

	dst = append(dst, '_')
	var room [usualText]byte
	text := appendHexList(room[:0], suites)
	dst = appendPart(dst, text, hashed)

	dst = append(dst, '_')
	text = appendHexList(text[:0], extensions)
	sep := byte('_')
	for _, s := range h.SignatureSchemes {
		if !IsGREASE(s) {
			text = appendHex(append(text, sep), s)
			sep = ','
		}
	}
	return appendPart(dst, text, hashed)
}

func ja4Version(v uint16) string {
	switch v {
	case 0x0304:
		return "13"
	case 0x0303:
		return "12"
	case 0x0302:
		return "11"
	case 0x0301:
		return "10"
	case 0x0300:
		return "s3"
	case 0x0002:
		return "s2"
	case 0xfeff:
		return "d1"
	case 0xfefd:
		return "d2"
	case 0xfefc:
		return "d3"
	}
	return "00"
}

// appendJA4Protocol appends the first and the last character of the first ALPN value,
// or of its hexadecimal form if either is no letter or digit.
func (h *Hello) appendJA4Protocol(dst []byte) []byte {
	if len(h.ALPN) == 0 || h.ALPN[0] == "" {
		return append(dst, "00"...)
	}
	p := h.ALPN[0]
	first, last := p[0], p[len(p)-1]
	if alphanumeric(first) && alphanumeric(last) {
		return append(dst, first, last)
	}
	return append(dst, digits[first>>4], digits[last&15])
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// appendPart appends a text, or its hash, which is zeros for an empty one.
func appendPart(dst, text []byte, hashed bool) []byte {
	switch {
	case !hashed:
		return append(dst, text...)
	case len(text) == 0:
		return append(dst, "000000000000"...)
	}
	sum := sha256.Sum256(text)
	return hex.AppendEncode(dst, sum[:6])
}

func appendTwoDigits(dst []byte, n int) []byte {
	n = min(n, 99)
	return append(dst, digits[n/10], digits[n%10])
}

const digits = "0123456789abcdef"

func appendHexList(dst []byte, list []uint16) []byte {
	for i, v := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendHex(dst, v)
	}
	return dst
}

func appendHex(dst []byte, v uint16) []byte {
	return append(dst, digits[v>>12], digits[v>>8&15], digits[v>>4&15], digits[v&15])
}
