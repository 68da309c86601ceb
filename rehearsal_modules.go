package evergreen

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"os"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-evergreen/evergreen/updater/rehearse"
)

// In a candidate that is rehearsed, and in no other process, there are modules
// that its configuration was rewritten to: see rehearse.Rewrite. The names are
// known to older versions of this module, which rehearse newer ones: they stay.
func init() {
	if os.Getenv(rehearse.RehearsalVariable) == "" {
		return
	}
	_ = os.Unsetenv(rehearse.RehearsalVariable)
	caddy.RegisterModule(new(rehearsalStorage))
	caddy.RegisterModule(new(rehearsalIssuer))
	caddy.RegisterModule(rehearsalPermission{})
	// Automatic HTTPS makes issuers of its own, which no configuration shows: they
	// find no certificate authority.
	certmagic.DefaultACME.Resolver = "127.0.0.1:1"
	http.DefaultClient.Transport = withoutOCSP{http.DefaultTransport}
}

var errRehearsal = errors.New("this is a rehearsal: nothing is issued")

// withoutOCSP refuses requests to OCSP responders, which CertMagic makes by
// http.DefaultClient.
type withoutOCSP struct{ http.RoundTripper }

func (t withoutOCSP) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Content-Type") == "application/ocsp-request" {
		return nil, errRehearsal
	}
	return t.RoundTripper.RoundTrip(r)
}

// rehearsalIssuer issues nothing. It has the real issuer's key, by which
// certificates are found in storage.
type rehearsalIssuer struct {
	Real json.RawMessage `json:"real" caddy:"namespace=tls.issuance inline_key=module"`

	real certmagic.Issuer
}

func (rehearsalIssuer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.issuance.evergreen_rehearsal", New: func() caddy.Module { return new(rehearsalIssuer) }}
}

func (i *rehearsalIssuer) Provision(ctx caddy.Context) error {
	v, err := ctx.LoadModule(i, "Real")
	if err != nil {
		return err
	}
	var ok bool
	if i.real, ok = v.(certmagic.Issuer); !ok {
		return errors.New("the real issuer is none")
	}
	return nil
}

func (i *rehearsalIssuer) SetConfig(cfg *certmagic.Config) {
	if real, ok := i.real.(caddytls.ConfigSetter); ok {
		real.SetConfig(cfg)
	}
}

func (i *rehearsalIssuer) IssuerKey() string { return i.real.IssuerKey() }

func (i *rehearsalIssuer) Issue(context.Context, *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	return nil, certmagic.ErrNoRetry{Err: errRehearsal}
}

// rehearsalPermission lets certificates be loaded from storage on demand: none
// can be obtained anyhow.
type rehearsalPermission struct{}

func (rehearsalPermission) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.permission.evergreen_rehearsal", New: func() caddy.Module { return rehearsalPermission{} }}
}

func (rehearsalPermission) CertificateAllowed(context.Context, string) error { return nil }

var (
	_ caddy.Provisioner           = (*rehearsalIssuer)(nil)
	_ caddytls.ConfigSetter       = (*rehearsalIssuer)(nil)
	_ caddytls.OnDemandPermission = rehearsalPermission{}
)
