package evergreen

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

const extensionStatusRequest = 5

var (
	stapled   = wire.Staple.Value("stapled")
	unstapled = wire.Staple.Value("none")
	notAsked  = wire.Staple.Value("not_asked")
)

// watchCertificates counts the certificates that a server's policies choose.
// crypto/tls tells a server nowhere which one it has sent.
func watchCertificates(rec *recorder.Recorder, srv *caddyhttp.Server) {
	for _, policy := range srv.TLSConnPolicies {
		if policy == nil || policy.TLSConfig == nil || policy.TLSConfig.GetCertificate == nil {
			continue
		}
		get := policy.TLSConfig.GetCertificate
		policy.TLSConfig.GetCertificate = func(info *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := get(info)
			if err == nil && cert != nil {
				_ = guard("see a certificate", func() error {
					staple := notAsked
					if slices.Contains(info.Extensions, extensionStatusRequest) {
						staple = unstapled
						if len(cert.OCSPStaple) > 0 {
							staple = stapled
						}
					}
					rec.Add(wire.TLSCertificates, wire.Dims{keyOf(cert.Leaf), staple}, 1)
					return nil
				})
			}
			return cert, err
		}
	}
}

// keyOf is the value of wire.CertificateKey. CertMagic parses each leaf once.
func keyOf(leaf *x509.Certificate) wire.Value {
	if leaf == nil {
		return wire.Other
	}
	name := ""
	switch key := leaf.PublicKey.(type) {
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
	case *rsa.PublicKey:
		switch bits := key.N.BitLen(); {
		case bits > 4096:
			name = "rsa-larger"
		case bits == 4096:
			name = "rsa-4096"
		case bits == 3072:
			name = "rsa-3072"
		case bits == 2048:
			name = "rsa-2048"
		case bits == 1024:
			name = "rsa-1024"
		}
	}
	return wire.CertificateKey.Value(name)
}
