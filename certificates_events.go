package evergreen

import (
	"context"
	"errors"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

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
