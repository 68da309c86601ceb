package evergreen

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddypki"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
	"golang.org/x/crypto/ocsp"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

// maxCertificateNames bounds what an instance looks at.
const maxCertificateNames = 8192

// certificates are the names by which the certificates in Caddy's cache are
// found again: Caddy has one cache for the process and lists it to nobody, but
// tells what it puts there. The names never leave the process.
type certificates struct {
	mu      sync.Mutex
	names   map[string]struct{}
	running int // configurations with a TLS app; without one, the cache may go at any time
}

// add notes a certificate by one of its names; false is that there is no room.
func (c *certificates) add(sans []string) bool {
	if len(sans) == 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.names[sans[0]]; known {
		return true
	}
	if len(c.names) >= maxCertificateNames {
		return false
	}
	if c.names == nil {
		c.names = map[string]struct{}{}
	}
	c.names[sans[0]] = struct{}{}
	return true
}

func (c *certificates) run(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running += n
}

// each calls f for every certificate that is in the cache, once, and forgets
// names that have none any more.
func (c *certificates) each(f func(*certmagic.Certificate)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == 0 {
		return
	}
	seen := map[string]bool{}
	for name := range c.names {
		found := false
		for _, cert := range caddytls.AllMatchingCertificates(name) {
			if len(cert.Names) == 0 || !slices.Contains(cert.Names, name) {
				continue // it only covers the name; it has one of its own
			}
			found = true
			if !seen[cert.Hash()] {
				seen[cert.Hash()] = true
				f(&cert)
			}
		}
		if !found {
			delete(c.names, name)
		}
	}
}

// prepareCertificates learns of the configuration's TLS app what is not in the
// certificates themselves.
func (a *App) prepareCertificates() {
	v, err := a.ctx.AppIfConfigured("tls")
	if err != nil {
		return // no TLS
	}
	a.tls, _ = v.(*caddytls.TLS)
	a.ownCAs = map[string]bool{caddypki.DefaultCAID: true}
	if v, err := a.ctx.AppIfConfigured("pki"); err == nil {
		if pki, ok := v.(*caddypki.PKI); ok {
			for id := range pki.CAs {
				a.ownCAs[id] = true
			}
		}
	}
}

// observeCertificates counts what is in the cache, once a window.
func (p *process) observeCertificates(now time.Time) {
	a := p.counting.Load()
	if a == nil {
		return
	}
	p.certificates.each(func(c *certmagic.Certificate) { a.countCertificate(c, now) })
}

func (a *App) countCertificate(c *certmagic.Certificate, now time.Time) {
	rec := a.proc.rec
	how := a.managementOf(c)
	rec.Add(wire.CertificatesHeld, wire.Dims{how, a.issuerOf(privately(c, "issuerKey", reflect.String).String())}, 1)
	rec.Add(wire.CertificatesKeys, wire.Dims{keyOfSigner(c.PrivateKey), how}, 1)
	rec.Add(wire.CertificatesNames, wire.Dims{countClass(len(c.Names)), how}, 1)
	rec.Add(wire.CertificatesOCSP, wire.Dims{a.ocspOf(c, now), how}, 1)
	if c.Leaf != nil {
		left := c.Leaf.NotAfter.Sub(now)
		rec.Add(wire.CertificatesExpiry, wire.Dims{expiryOf(left), how}, 1)
		rec.Observe(wire.CertificatesDays, wire.Dims{how}, int64(max(left, 0)/(24*time.Hour)))
	}
}

// privately reads a field that CertMagic does not export; where there is none of
// that kind, it is the zero value.
func privately(c *certmagic.Certificate, field string, kind reflect.Kind) reflect.Value {
	v := reflect.ValueOf(c).Elem().FieldByName(field)
	if v.Kind() == kind {
		return v
	}
	switch kind {
	case reflect.String:
		return reflect.ValueOf("")
	case reflect.Bool:
		return reflect.ValueOf(false)
	}
	return reflect.Value{}
}

func (a *App) managementOf(c *certmagic.Certificate) wire.Value {
	if !privately(c, "managed", reflect.Bool).Bool() {
		return wire.CertificateManagement.Value("loaded")
	}
	if policy := a.policyOf(c); policy != nil && policy.OnDemand {
		return wire.CertificateManagement.Value("on-demand")
	}
	return wire.CertificateManagement.Value("automatic")
}

// policyOf is, as in Caddy, the first policy that has the name, or has no names;
// nil if there is none.
func (a *App) policyOf(c *certmagic.Certificate) *caddytls.AutomationPolicy {
	if a.tls == nil || a.tls.Automation == nil || len(c.Names) == 0 {
		return nil
	}
	for _, policy := range a.tls.Automation.Policies {
		subjects := policy.Subjects()
		if len(subjects) == 0 || slices.ContainsFunc(subjects, func(s string) bool { return certmagic.MatchWildcard(c.Names[0], s) }) {
			return policy
		}
	}
	return nil
}

// ocspOf is the value of wire.OCSPStatus. Without a response, it is why there is
// none.
func (a *App) ocspOf(c *certmagic.Certificate, now time.Time) wire.Value {
	v := privately(c, "ocsp", reflect.Pointer)
	if !v.IsValid() || v.Type() != reflect.TypeFor[*ocsp.Response]() {
		return wire.Other
	}
	if v.IsNil() {
		switch {
		case c.Leaf != nil && len(c.Leaf.OCSPServer) == 0:
			return wire.OCSPStatus.Value("no_responder")
		case a.noStapling(c):
			return wire.OCSPStatus.Value("off")
		}
		return wire.OCSPStatus.Value("unanswered")
	}
	switch r := (*ocsp.Response)(v.UnsafePointer()); {
	case r.Status == ocsp.Revoked: // which is for good
		return wire.OCSPStatus.Value("revoked")
	case !r.NextUpdate.IsZero() && now.After(r.NextUpdate):
		return wire.OCSPStatus.Value("stale")
	case r.Status == ocsp.Good:
		return wire.OCSPStatus.Value("good")
	case r.Status == ocsp.Unknown:
		return wire.OCSPStatus.Value("unknown")
	}
	return wire.Other
}

// noStapling reports whether the configuration has nobody asked about c.
func (a *App) noStapling(c *certmagic.Certificate) bool {
	if privately(c, "managed", reflect.Bool).Bool() {
		policy := a.policyOf(c)
		return policy != nil && policy.DisableOCSPStapling
	}
	return a.tls != nil && a.tls.DisableOCSPStapling
}

// keyOfSigner takes the private key, which is at hand without parsing anything.
func keyOfSigner(key crypto.PrivateKey) wire.Value {
	if signer, ok := key.(crypto.Signer); ok {
		return keyTypeOf(signer.Public())
	}
	return wire.Other
}

// keyTypeOf is the value of wire.KeyType.
func keyTypeOf(key crypto.PublicKey) wire.Value {
	name := ""
	switch key := key.(type) {
	case *rsa.PublicKey:
		switch n := key.N.BitLen(); {
		case n > 4096:
			name = "rsa-larger"
		case n == 4096:
			name = "rsa-4096"
		case n == 3072:
			name = "rsa-3072"
		case n == 2048:
			name = "rsa-2048"
		case n == 1024:
			name = "rsa-1024"
		}
	case *ecdsa.PublicKey:
		switch key.Curve.Params().BitSize {
		case 256:
			name = "ecdsa-p256"
		case 384:
			name = "ecdsa-p384"
		case 521:
			name = "ecdsa-p521"
		}
	case ed25519.PublicKey:
		name = "ed25519"
	}
	return wire.KeyType.Value(name)
}

// countClass is the value of wire.CountClass.
func countClass(n int) wire.Value {
	for i, bound := range [...]int{0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096, 16384} {
		if n <= bound {
			return wire.Value(i + 1)
		}
	}
	return wire.CountClass.Value("16385+")
}

func expiryOf(left time.Duration) wire.Value {
	if left <= 0 {
		return wire.ExpiryClass.Value("expired")
	}
	for i, days := range [...]int{1, 3, 7, 14, 30, 60, 90, 180, 398} {
		if left < time.Duration(days)*24*time.Hour {
			return wire.Value(i + 2)
		}
	}
	return wire.ExpiryClass.Value("398d+")
}

// watchChains observes the chains that a server's handshakes choose: crypto/tls
// tells nowhere which it has sent.
func watchChains(rec *recorder.Recorder, srv *caddyhttp.Server) {
	for _, policy := range srv.TLSConnPolicies {
		if policy == nil || policy.TLSConfig == nil || policy.TLSConfig.GetCertificate == nil {
			continue
		}
		get := policy.TLSConfig.GetCertificate
		policy.TLSConfig.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := get(hello)
			if err == nil && cert != nil && len(cert.Certificate) > 0 && !slices.Contains(hello.SupportedProtos, "acme-tls/1") {
				_ = guard("see a chain", func() error {
					size := 0
					for _, der := range cert.Certificate {
						size += len(der)
					}
					rec.Observe(wire.CertificatesChain, wire.Dims{}, int64(len(cert.Certificate)))
					rec.Observe(wire.CertificatesChainSize, wire.Dims{}, int64(size))
					return nil
				})
			}
			return cert, err
		}
	}
}
