package evergreen

import (
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
					rec.Add(wire.TLSCertificates, wire.Dims{keyOfLeaf(cert.Leaf), staple}, 1)
					return nil
				})
			}
			return cert, err
		}
	}
}

// keyOfLeaf is the value of wire.KeyType. CertMagic parses each leaf once.
func keyOfLeaf(leaf *x509.Certificate) wire.Value {
	if leaf == nil {
		return wire.Other
	}
	return keyTypeOf(leaf.PublicKey)
}
