package evergreen

import (
	"net/http"
	"net/netip"

	"github.com/caddy-evergreen/evergreen/hsts"
	"github.com/caddy-evergreen/evergreen/wire"
)

var (
	maxAgeNone    = wire.HSTSMaxAge.Value("none")
	maxAgeInvalid = wire.HSTSMaxAge.Value("invalid")
	occasionFirst = wire.HSTSOccasion.Value("first")
	occasionAgain = wire.HSTSOccasion.Value("again")
	occasionGone  = wire.HSTSOccasion.Value("removed")
)

// maxAges are the classes of wire.HSTSMaxAge that have an upper bound.
var maxAges = [...]struct {
	below uint64 // seconds
	value wire.Value
}{
	{1, wire.HSTSMaxAge.Value("0")},
	{86400, wire.HSTSMaxAge.Value("<1d")},
	{30 * 86400, wire.HSTSMaxAge.Value("1d-30d")},
	{180 * 86400, wire.HSTSMaxAge.Value("30d-180d")},
	{365 * 86400, wire.HSTSMaxAge.Value("180d-1y")},
	{730 * 86400, wire.HSTSMaxAge.Value("1y-2y")},
	{1<<64 - 1, wire.HSTSMaxAge.Value("2y+")},
}

func maxAgeOf(seconds uint64) wire.Value {
	for _, c := range maxAges[:len(maxAges)-1] {
		if seconds < c.below {
			return c.value
		}
	}
	return maxAges[len(maxAges)-1].value
}

// firstPolicy is the Strict-Transport-Security header that counts: browsers
// look at the first.
func firstPolicy(h http.Header) (value string, has bool) {
	if v := h["Strict-Transport-Security"]; len(v) > 0 {
		return v[0], true
	}
	return "", false
}

// strictTransport counts what a request that has ended tells of HSTS.
func (x *exchange) strictTransport() {
	rec, memory := x.site.rec, x.site.app.proc.hsts
	secure := x.q.Transport == transportTLS
	var p hsts.Policy
	given := false
	if secure {
		if x.q.Status == 0 {
			return
		}
		if !x.wrote && !x.hijacked {
			x.policy, x.hasPolicy = firstPolicy(x.Header())
		}
		p, given = x.site.countPolicy(x.policy, x.hasPolicy)
	}
	if !given && memory.Empty() {
		return
	}
	if !rec.Counts(wire.HSTSGiven) && !rec.Counts(wire.HSTSTLSAfter) && !rec.Counts(wire.HSTSPlainAfter) {
		return
	}
	if throughProxy(x.r.Header) {
		return
	}
	from, err := netip.ParseAddrPort(x.r.RemoteAddr)
	if err != nil {
		return // a unix socket's
	}
	now := x.start.Add(x.q.Duration)
	client := memory.Client(from.Addr(), x.q.UserAgent)
	if !secure {
		if bound, first := memory.Plain(client, x.host, now); bound {
			rec.Add(wire.HSTSPlainAfter, wire.Dims{rec.Family(x.q.UserAgent), occasion(first)}, 1)
		}
		return
	}
	family := rec.Family(x.q.UserAgent)
	if memory.Bound(client, x.host, now) {
		rec.Add(wire.HSTSTLSAfter, wire.Dims{family}, 1)
	}
	if !given {
		return
	}
	what, evicted := memory.Give(client, x.host, p, now)
	switch what {
	case hsts.First, hsts.Again:
		rec.Add(wire.HSTSGiven, wire.Dims{family, occasion(what == hsts.First)}, 1)
	case hsts.Removed:
		rec.Add(wire.HSTSGiven, wire.Dims{family, occasionGone}, 1)
	}
	if evicted {
		rec.Add(wire.HSTSEvictions, wire.Dims{}, 1)
	}
}

func occasion(first bool) wire.Value {
	if first {
		return occasionFirst
	}
	return occasionAgain
}

// A readPolicy is a Strict-Transport-Security header and what it says.
type readPolicy struct {
	value  string
	policy hsts.Policy
	ok     bool
	dims   wire.Dims // of wire.HSTSPolicies
}

func readPolicyOf(value string) *readPolicy {
	r := &readPolicy{value: value, dims: wire.Dims{maxAgeInvalid}}
	if r.policy, r.ok = hsts.Parse(value); !r.ok {
		return r
	}
	// The first value of both dimensions is yes, the second no.
	r.dims = wire.Dims{maxAgeOf(r.policy.MaxAge), 2, 2}
	if r.policy.IncludeSubDomains {
		r.dims[1] = 1
	}
	if r.policy.Preload {
		r.dims[2] = 1
	}
	return r
}

// countPolicy counts a response over TLS by its header, and reads that. The one
// read last is kept: a site's responses mostly have the same.
func (s *site) countPolicy(value string, has bool) (p hsts.Policy, ok bool) {
	if !has {
		s.rec.Add(wire.HSTSPolicies, wire.Dims{maxAgeNone}, 1)
		return p, false
	}
	r := s.policy.Load()
	if r == nil || r.value != value {
		r = readPolicyOf(value)
		s.policy.Store(r)
	}
	s.rec.Add(wire.HSTSPolicies, r.dims, 1)
	return r.policy, r.ok
}

// throughProxy reports whether a request says that it was forwarded: then its
// peer is not the client, and how the client came there is not known.
func throughProxy(h http.Header) bool {
	return len(h["X-Forwarded-For"]) > 0 || len(h["X-Forwarded-Proto"]) > 0 || len(h["Forwarded"]) > 0 || len(h["Via"]) > 0
}
