package evergreen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/mholt/acmez/v3/acme"

	"github.com/caddy-evergreen/evergreen/wire"
)

// certificateEvents are the events of Caddy's TLS app that count.
var certificateEvents = []string{
	"cert_obtaining", "cert_obtained", "cert_failed", "cert_ocsp_revoked", "cached_managed_cert", "cached_unmanaged_cert",
}

// subscribe has events of a's configuration handled. It comes before the TLS app
// is provisioned, which loads certificates then.
func (a *App) subscribe() error {
	v, err := a.ctx.App("events")
	if err != nil {
		return err
	}
	events, ok := v.(*caddyevents.App)
	if !ok {
		return errors.New("the events app is another one's")
	}
	return events.Subscribe(&caddyevents.Subscription{
		Events: certificateEvents, Modules: []caddy.ModuleID{"tls"}, Handlers: []caddyevents.Handler{&certificateHandler{a}},
	})
}

// A certificateHandler counts events; it never has one fail or aborted.
type certificateHandler struct{ app *App }

// Handle counts one event.
func (h *certificateHandler) Handle(_ context.Context, e caddy.Event) error {
	_ = guard("see a certificate's event", func() error {
		h.app.certificateEvent(e.Name(), e.Data)
		return nil
	})
	return nil
}

func (a *App) certificateEvent(name string, data map[string]any) {
	rec := a.proc.rec
	occasion := wire.CertificateOccasion.Value("obtain")
	if renewal, _ := data["renewal"].(bool); renewal {
		occasion = wire.CertificateOccasion.Value("renew")
	}
	switch name {
	case "cert_obtaining":
		rec.Add(wire.CertificatesAttempts, wire.Dims{occasion}, 1)
	case "cert_obtained":
		issuer, _ := data["issuer"].(string)
		rec.Add(wire.CertificatesIssued, wire.Dims{a.issuerOf(issuer), occasion}, 1)
	case "cert_failed":
		issuer := ""
		if all, _ := data["issuers"].([]string); len(all) > 0 {
			issuer = all[len(all)-1]
		}
		err, _ := data["error"].(error)
		rec.Add(wire.CertificatesFailed, wire.Dims{causeOf(err), a.issuerOf(issuer), occasion}, 1)
	case "cert_ocsp_revoked":
		rec.Add(wire.CertificatesRevoked, wire.Dims{}, 1)
	case "cached_managed_cert", "cached_unmanaged_cert":
		sans, _ := data["sans"].([]string)
		if !a.proc.certificates.add(sans) {
			rec.Add(wire.CertificatesUnseen, wire.Dims{}, 1)
		}
	}
}

// issuers are the ACME servers with a name, by their host, which CertMagic's
// issuer keys begin with.
var issuers = []struct{ host, name string }{
	{"acme-v02.api.letsencrypt.org", "letsencrypt"},
	{"acme-staging-v02.api.letsencrypt.org", "letsencrypt-staging"},
	{"acme.zerossl.com", "zerossl"},
	{"dv.acme-v02.api.pki.goog", "google"},
	{"dv.acme-v02.test-api.pki.goog", "google-staging"},
	{"api.buypass.com", "buypass"},
	{"api.test4.buypass.no", "buypass"},
	{"acme.ssl.com", "ssl.com"},
	{"acme.sectigo.com", "sectigo"},
	{"acme.digicert.com", "digicert"},
	{"acme-api.actalis.com", "actalis"},
}

// issuerOf is the value of wire.CertificateIssuer for CertMagic's key of an
// issuer: an ACME server's host and path, "zerossl" for its own API, or the id
// of one of Caddy's own CAs.
func (a *App) issuerOf(key string) wire.Value {
	switch key {
	case "":
		return wire.CertificateIssuer.Value("none")
	case "zerossl":
		return wire.CertificateIssuer.Value("zerossl")
	}
	if a.ownCAs[key] {
		return wire.CertificateIssuer.Value("internal")
	}
	for _, i := range issuers {
		if rest, ok := strings.CutPrefix(key, i.host); ok && (rest == "" || rest[0] == '-') {
			return wire.CertificateIssuer.Value(i.name)
		}
	}
	// A host has a dot or a port. What has neither is an issuer of a plugin's.
	if strings.ContainsAny(key, ".:") || strings.HasSuffix(key, "-directory") {
		return wire.CertificateIssuer.Value("acme")
	}
	return wire.Other
}

// causeOf is the value of wire.CertificateCause for an issuer's error.
func causeOf(err error) wire.Value {
	var (
		problem acme.Problem
		dns     *net.DNSError
		op      *net.OpError
		timeout interface{ Timeout() bool }
		path    *fs.PathError
	)
	name := ""
	switch {
	case err == nil:
	case errors.As(err, &problem):
		return causeOfProblem(problem.Type)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		name = "timeout"
	case errors.Is(err, context.Canceled):
		name = "canceled"
	case errors.As(err, &dns):
		name = "ca:dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		name = "ca:refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		name = "ca:reset"
	case isTLSError(err):
		name = "ca:tls"
	case errors.As(err, &op):
		name = "ca:unreachable"
	case errors.As(err, &path), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		name = "storage"
	}
	return wire.CertificateCause.Value(name)
}

func causeOfProblem(urn string) wire.Value {
	kind, ok := strings.CutPrefix(urn, acme.ProblemTypeNamespace)
	if name := "acme:" + kind; ok && wire.CertificateCause.Has(name) {
		return wire.CertificateCause.Value(name)
	}
	return wire.CertificateCause.Value("acme:other")
}

func isTLSError(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
		header       tls.RecordHeaderError
		op           *net.OpError
	)
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid) ||
		errors.As(err, &header) || errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}
