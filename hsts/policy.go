package hsts

import (
	"math"
	"strings"
)

// A Policy is what a Strict-Transport-Security header says.
type Policy struct {
	MaxAge            uint64 // seconds; what doesn't fit is the greatest that does
	IncludeSubDomains bool
	Preload           bool // not of RFC 6797: the owner's consent to be in the browsers' lists
}

// Parse reads the value of a Strict-Transport-Security header by section 6.1 of
// RFC 6797, as user agents must:
//
//	[ directive ] *( ";" [ directive ] )
//	directive = token [ "=" ( token | quoted-string ) ]
//
// with optional white space around each part. It reports false for what a user
// agent ignores as a whole: a value that is not of this grammar, one without
// max-age, with a max-age that is no number, with max-age or includeSubDomains
// twice, or with a value for includeSubDomains. Directives that it does not know
// are skipped.
func Parse(s string) (p Policy, ok bool) {
	var age bool
	for {
		s = trim(s)
		name, rest := token(s)
		value, has := "", false
		if name != "" {
			s = trim(rest)
			if s != "" && s[0] == '=' {
				has = true
				if value, s, ok = directiveValue(trim(s[1:])); !ok {
					return Policy{}, false
				}
				s = trim(s)
			}
		}
		switch {
		case name == "":
		case strings.EqualFold(name, "max-age"):
			if age || !has {
				return Policy{}, false
			}
			if p.MaxAge, ok = seconds(value); !ok {
				return Policy{}, false
			}
			age = true
		case strings.EqualFold(name, "includeSubDomains"):
			if has || p.IncludeSubDomains {
				return Policy{}, false
			}
			p.IncludeSubDomains = true
		case strings.EqualFold(name, "preload") && !has:
			p.Preload = true
		}
		if s == "" {
			break
		}
		if s[0] != ';' {
			return Policy{}, false
		}
		s = s[1:]
	}
	if !age {
		return Policy{}, false
	}
	return p, true
}

func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// token splits what s begins with off, which may be nothing.
func token(s string) (token, rest string) {
	i := 0
	for i < len(s) && tokenByte(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func tokenByte(c byte) bool {
	if c|0x20 >= 'a' && c|0x20 <= 'z' || c == '-' || c >= '0' && c <= '9' {
		return true
	}
	return c > ' ' && c < 0x7f && strings.IndexByte("!#$%&'*+.^_`|~", c) >= 0
}

// directiveValue reads a token or a quoted string; of the latter, what is
// between the quotes, with its escapes, which no value that we know has.
func directiveValue(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		value, rest = token(s)
		return value, rest, value != ""
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[1:i], s[i+1:], true
		case c == '\\':
			i++
			if i < len(s) && !textByte(s[i]) {
				return "", "", false
			}
		case !textByte(c):
			return "", "", false
		}
	}
	return "", "", false
}

// textByte reports whether c may be in a quoted string.
func textByte(c byte) bool { return c == '\t' || c >= ' ' && c != 0x7f }

func seconds(s string) (n uint64, ok bool) {
	for i := range len(s) {
		d := uint64(s[i] - '0')
		if d > 9 {
			return 0, false
		}
		if n > (math.MaxUint64-d)/10 {
			n = math.MaxUint64
			continue
		}
		n = n*10 + d
	}
	return n, s != ""
}
