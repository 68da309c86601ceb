package hsts

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		in   string
		want Policy
		ok   bool
	}{
		// The examples of RFC 6797, sections 6.2 and 6.1.
		{`max-age=31536000`, Policy{MaxAge: 31536000}, true},
		{`max-age=15768000 ; includeSubDomains`, Policy{MaxAge: 15768000, IncludeSubDomains: true}, true},
		{`max-age="31536000"`, Policy{MaxAge: 31536000}, true},
		{`max-age=0`, Policy{}, true},
		{`max-age=0; includeSubDomains`, Policy{IncludeSubDomains: true}, true},

		{`max-age=63072000; includeSubDomains; preload`, Policy{63072000, true, true}, true},
		{`MAX-AGE=1;INCLUDESUBDOMAINS;PreLoad`, Policy{1, true, true}, true},
		{"\t; ;max-age = 1\t;; ", Policy{MaxAge: 1}, true},
		{`includeSubDomains;max-age=1`, Policy{1, true, false}, true},
		{`max-age=1; fantasy; other=token; third="quo;ted \" one"`, Policy{MaxAge: 1}, true},
		{`max-age=99999999999999999999999999`, Policy{MaxAge: math.MaxUint64}, true},
		{`max-age=18446744073709551615`, Policy{MaxAge: math.MaxUint64}, true},
		{`max-age=18446744073709551616`, Policy{MaxAge: math.MaxUint64}, true},
		{`max-age=1; preload=x`, Policy{MaxAge: 1}, true},

		{``, Policy{}, false},
		{`;`, Policy{}, false},
		{`includeSubDomains`, Policy{}, false},
		{`max-age`, Policy{}, false},
		{`max-age=`, Policy{}, false},
		{`max-age=""`, Policy{}, false},
		{`max-age=-1`, Policy{}, false},
		{`max-age=1.5`, Policy{}, false},
		{`max-age=1 2`, Policy{}, false},
		{`max-age=1, includeSubDomains`, Policy{}, false},
		{`max-age=1; max-age=1`, Policy{}, false},
		{`max-age=1; includeSubDomains; includeSubDomains`, Policy{}, false},
		{`max-age=1; includeSubDomains=true`, Policy{}, false},
		{`max-age="1`, Policy{}, false},
		{`max-age=1; x="`, Policy{}, false},
		{`max-age=1; x="\`, Policy{}, false},
		{"max-age=1; x=\"\x00\"", Policy{}, false},
		{`max-age=1; =x`, Policy{}, false},
		{`max-age=1; ü`, Policy{}, false},
	} {
		p, ok := Parse(test.in)
		if diff := cmp.Diff(test.want, p); diff != "" || ok != test.ok {
			t.Errorf("%q: %v (-want +got):\n%s", test.in, ok, diff)
		}
	}
}

// grammar is section 6.1 of RFC 6797 as a regular expression, by which the
// fuzzer judges the parser.
const (
	tokenRE     = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
	quotedRE    = `"(?:\\[\t\x20-\x7e\x80-\xff]|[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff])*"`
	directiveRE = `(?:(` + tokenRE + `)(?:[ \t]*=[ \t]*(` + tokenRE + `|` + quotedRE + `))?)?`
)

var (
	header    = regexp.MustCompile(`^[ \t]*` + directiveRE + `(?:[ \t]*;[ \t]*` + directiveRE + `)*[ \t]*$`)
	directive = regexp.MustCompile(`^[ \t]*` + directiveRE + `[ \t]*(?:;|$)`)
)

// reference reads a header by the regular expressions. latin makes one rune of
// each byte, as they match runes.
func reference(s string) (p Policy, ok bool) {
	s = latin(s)
	if !header.MatchString(s) {
		return Policy{}, false
	}
	seen := map[string]bool{}
	for s != "" {
		m := directive.FindStringSubmatch(s)
		s = s[len(m[0]):]
		name, value := strings.ToLower(m[1]), m[2]
		switch {
		case name == "max-age" && !seen[name]:
			n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 64)
			if err != nil && !strings.HasSuffix(err.Error(), strconv.ErrRange.Error()) || strings.ContainsAny(value, "+_") {
				return Policy{}, false
			}
			p.MaxAge = n
		case name == "includesubdomains" && !seen[name] && value == "":
			p.IncludeSubDomains = true
		case name == "max-age", name == "includesubdomains":
			return Policy{}, false
		case name == "preload" && value == "":
			p.Preload = true
		}
		seen[name] = true
	}
	if !seen["max-age"] {
		return Policy{}, false
	}
	return p, true
}

func latin(s string) string {
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`max-age=31536000`, `max-age=15768000 ; includeSubDomains`, `max-age="31536000"; preload`, `max-age=0`,
		`max-age=1; x="a\"b;c"; y=z`, `;;max-age = 1;`, `max-age=1; includeSubDomains=1`, `max-age=99999999999999999999`,
		"max-age=1; x=\"\xff\"", `max-age=1 includeSubDomains`, `max-age=+1`, `x="`, `max-age="1\2"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := Parse(s)
		want, wantOK := reference(s)
		if diff := cmp.Diff(want, p); diff != "" || ok != wantOK {
			t.Errorf("%q: %v, want %v (-want +got):\n%s", s, ok, wantOK, diff)
		}
		if n := testing.AllocsPerRun(1, func() { Parse(s) }); n != 0 {
			t.Errorf("%q: %v allocations", s, n)
		}
	})
}
