package rehearse

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An answer is what is compared of a response, or why there was none.
type answer struct {
	failure string // the kind of failure; "" if there is a response
	fields  map[string]string
	cert    *certificate // nil without TLS
	took    time.Duration
}

// A certificate is what a client sees of a leaf.
type certificate struct {
	fingerprint string
	class       string // who issued what, and whether it is valid now
}

// compared are the headers that are compared, with the reason for each. Others
// are of the moment (Date, Age, ETag, Last-Modified), of the body (Content-Length),
// or name the software (Server, Via).
var compared = []struct{ name, why string }{
	{"Access-Control-Allow-Credentials", "lets other sites' pages act for a visitor"},
	{"Access-Control-Allow-Origin", "lets other sites' pages read"},
	{"Alt-Svc", "leads clients to HTTP/3"},
	{"Allow", "tells what a client may do"},
	{"Cache-Control", "what must not be kept is kept, or the other way round"},
	{"Clear-Site-Data", "throws a visitor's data away"},
	{"Content-Disposition", "whether it is shown or saved"},
	{"Content-Encoding", "a client can't read what it doesn't know"},
	{"Content-Language", "what it was negotiated to"},
	{"Content-Security-Policy", "protects a page"},
	{"Content-Type", "how a browser treats the body"},
	{"Cross-Origin-Embedder-Policy", "protects a page"},
	{"Cross-Origin-Opener-Policy", "protects a page"},
	{"Cross-Origin-Resource-Policy", "protects a page"},
	{"Location", "where a client goes next"},
	{"Permissions-Policy", "protects a visitor"},
	{"Referrer-Policy", "protects a visitor"},
	{"Set-Cookie", "by name and attributes: who stays logged in, and how safely"},
	{"Strict-Transport-Security", "keeps clients on HTTPS"},
	{"Vary", "what caches give to whom"},
	{"Www-Authenticate", "how a visitor can log in, by scheme"},
	{"X-Content-Type-Options", "protects a page"},
	{"X-Frame-Options", "protects a page"},
}

// reasonFor is why a header is compared.
func reasonFor(name string) string {
	for _, h := range compared {
		if h.name == name {
			return h.why
		}
	}
	return ""
}

// The other fields.
const (
	fieldStatus   = "status"
	fieldProtocol = "protocol"
	fieldTLS      = "TLS version"
	fieldBody     = "body"
	fieldHeader   = "header " // followed by its name
)

// read makes an answer of a response whose body was read: its beginning, and how
// it failed.
func (n normal) read(resp *http.Response, beginning []byte, bodyErr string, took time.Duration) answer {
	a := answer{took: took, fields: map[string]string{
		fieldStatus:   strconv.Itoa(resp.StatusCode),
		fieldProtocol: fmt.Sprintf("HTTP/%d.%d", resp.ProtoMajor, resp.ProtoMinor),
		fieldBody:     "complete",
	}}
	if bodyErr != "" {
		a.fields[fieldBody] = bodyErr
	}
	if resp.TLS != nil {
		a.fields[fieldTLS] = tls.VersionName(resp.TLS.Version)
		if len(resp.TLS.PeerCertificates) > 0 {
			a.cert = certificateOf(resp.TLS.PeerCertificates[0], time.Now())
		}
	}
	for _, h := range compared {
		v := n.header(h.name, resp.Header.Values(h.name))
		if h.name == "Content-Type" && guessed(resp, v, beginning) {
			continue
		}
		if v != "" {
			a.fields[fieldHeader+h.name] = v
		}
	}
	return a
}

// guessed reports whether a type may be what net/http makes of the body's
// beginning where nothing names one. Of an answer without a length, it does so
// only if the beginning is there when the header is sent: that differs from time to
// time, and more so between a busy process and an idle one.
func guessed(resp *http.Response, value string, beginning []byte) bool {
	return resp.ContentLength < 0 && resp.Header.Get("Content-Encoding") == "" && value == http.DetectContentType(beginning)
}

// normal brings what depends on a server's address into one form.
type normal struct {
	original map[int]int // the running server's port, by that of loopback
}

var portForm = regexp.MustCompile(`:([0-9]{1,5})\b`)

// header is a header's values as they are compared.
func (n normal) header(name string, values []string) string {
	values = slices.Clone(values)
	for i, v := range values {
		switch name {
		case "Set-Cookie":
			v = cookieForm(v)
		case "Www-Authenticate":
			v, _, _ = strings.Cut(v, " ") // what follows may be of the moment
		}
		v = portForm.ReplaceAllStringFunc(v, func(s string) string {
			port, _ := strconv.Atoi(s[1:])
			if p, ok := n.original[port]; ok {
				return ":" + strconv.Itoa(p)
			}
			return s
		})
		if name == "Location" {
			v = withoutDefaultPort(v)
		}
		values[i] = clip(v, 300)
	}
	if name == "Set-Cookie" || name == "Vary" {
		slices.Sort(values)
	}
	return strings.Join(values, ", ")
}

func withoutDefaultPort(location string) string {
	for scheme, port := range map[string]string{"https://": ":443", "http://": ":80"} {
		rest, ok := strings.CutPrefix(location, scheme)
		if !ok {
			continue
		}
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		return scheme + strings.TrimSuffix(rest[:end], port) + rest[end:]
	}
	return location
}

// cookieForm is a cookie's name, and the attributes that decide who gets it.
func cookieForm(v string) string {
	c, err := http.ParseSetCookie(v)
	if err != nil {
		return "unreadable"
	}
	s := c.Name
	if c.Domain != "" {
		s += "; Domain=" + c.Domain
	}
	if c.Path != "" {
		s += "; Path=" + c.Path
	}
	if c.Secure {
		s += "; Secure"
	}
	if c.HttpOnly {
		s += "; HttpOnly"
	}
	switch c.SameSite {
	case http.SameSiteStrictMode:
		s += "; SameSite=Strict"
	case http.SameSiteLaxMode:
		s += "; SameSite=Lax"
	case http.SameSiteNoneMode:
		s += "; SameSite=None"
	}
	return s
}

func certificateOf(leaf *x509.Certificate, now time.Time) *certificate {
	sum := sha256.Sum256(leaf.Raw)
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	slices.Sort(names)
	validity := "valid"
	switch {
	case now.Before(leaf.NotBefore):
		validity = "not valid yet"
	case now.After(leaf.NotAfter):
		validity = "expired"
	}
	return &certificate{
		fingerprint: hex.EncodeToString(sum[:]),
		class: fmt.Sprintf("%s, issued by %s for %s", validity,
			clip(issuerOf(leaf), 100), clip(strings.Join(names, " "), 200)),
	}
}

// issuerOf is who issued a certificate: an authority's intermediates change.
func issuerOf(leaf *x509.Certificate) string {
	if o := leaf.Issuer.Organization; len(o) > 0 {
		return strings.Join(o, " ")
	}
	// Caddy's own authority names its intermediates by their place in the chain.
	return leaf.Issuer.CommonName
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// Latency is another only if it is in another class: an answer that takes ten
// times as long, and a second more.
const (
	slowFactor = 10
	slowBy     = time.Second
)

// absent is what a field is where there is none.
const absent = "absent"

// differences compare what the candidate answered with what the running server
// did, more than once each. Only fields that were always the same there are compared,
// and only what is always different here is a difference.
func differences(where string, running, candidate []answer) []Difference {
	if len(running) < 2 || len(candidate) == 0 {
		return nil
	}
	values := func(answers []answer, field string) (string, bool) {
		value := func(a answer) string {
			switch v, ok := a.fields[field]; {
			case field == "failure":
				return a.failure
			case ok:
				return v
			}
			return absent
		}
		first := value(answers[0])
		for _, a := range answers[1:] {
			if value(a) != first {
				return "", false
			}
		}
		return first, true
	}
	was, stable := values(running, "failure")
	if !stable {
		return nil
	}
	alike := slices.DeleteFunc(slices.Clone(candidate), func(a answer) bool { return a.failure != was })
	if len(alike) == 0 {
		is := candidate[len(candidate)-1].failure
		text := func(s string) string {
			if s == "" {
				return "an answer"
			}
			return s
		}
		return []Difference{{where, "the answer", text(was), text(is)}}
	}
	if was != "" {
		return nil // both fail alike
	}
	candidate = alike // what it answers when it does
	fields := map[string]bool{}
	for _, a := range slices.Concat(running, candidate) {
		for f := range a.fields {
			fields[f] = true
		}
	}
	var ds []Difference
	delete(fields, fieldStatus)
	otherStatus := false
	for _, f := range slices.Concat([]string{fieldStatus}, slices.Sorted(maps.Keys(fields))) {
		was, stable := values(running, f)
		if !stable || slices.ContainsFunc(candidate, func(a answer) bool {
			v, ok := a.fields[f]
			return v == was || !ok && was == absent
		}) {
			continue
		}
		if otherStatus && (f == fieldBody || strings.HasPrefix(f, fieldHeader)) {
			continue // as it is with the other status
		}
		otherStatus = otherStatus || f == fieldStatus
		is, always := values(candidate, f)
		if !always {
			is = candidate[len(candidate)-1].fields[f] + " (or another)"
		}
		what := f
		if name, ok := strings.CutPrefix(f, fieldHeader); ok {
			what += " (" + reasonFor(name) + ")"
		}
		ds = append(ds, Difference{where, what, quoted(was), quoted(is)})
	}
	if d, ok := otherCertificate(where, running, candidate); ok {
		ds = append(ds, d)
	}
	fastest := func(answers []answer) time.Duration {
		return slices.MinFunc(answers, func(a, b answer) int { return int(a.took - b.took) }).took
	}
	if r, c := fastest(running), fastest(candidate); c > slowFactor*r && c > r+slowBy {
		ds = append(ds, Difference{where, "the time to answer", r.Round(time.Millisecond).String(), c.Round(time.Millisecond).String()})
	}
	return ds
}

func quoted(s string) string {
	if s == absent {
		return s
	}
	return strconv.Quote(s)
}

// otherCertificate compares certificates: another one of the same kind is none
// that differs, since one may be renewed at any time.
func otherCertificate(where string, running, candidate []answer) (Difference, bool) {
	class := func(c *certificate) string {
		if c == nil {
			return absent
		}
		return c.class
	}
	for _, r := range running {
		for _, c := range candidate {
			if r.cert == nil && c.cert == nil || r.cert != nil && c.cert != nil && (r.cert.fingerprint == c.cert.fingerprint || r.cert.class == c.cert.class) {
				return Difference{}, false
			}
		}
	}
	return Difference{where, "certificate", class(running[0].cert), class(candidate[0].cert)}, true
}
