package evergreen

import (
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
)

// certificatesWithin bounds the wait for certificates: some site may not have
// one, and never get it.
const certificatesWithin = 5 * time.Second

// waitForCertificates waits until the running configuration's sites can shake
// hands: Caddy loads managed certificates in the background, after it says that
// it serves, and until then fails handshakes with an internal error. Whoever is
// to take over connections must not do so before.
func waitForCertificates(most time.Duration) {
	deadline := time.Now().Add(most)
	for _, host := range managedHosts() {
		for !certified(host) {
			if time.Now().After(deadline) {
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// managedHosts are the names of which the running configuration's servers manage
// the certificates, as Caddy's automatic HTTPS finds them.
func managedHosts() (hosts []string) {
	v, err := caddy.ActiveContext().AppIfConfigured("http")
	if err != nil {
		return nil // no http app
	}
	app, ok := v.(*caddyhttp.App)
	if !ok {
		return nil
	}
	for _, srv := range app.Servers {
		if srv == nil || len(srv.TLSConnPolicies) == 0 || srv.AutoHTTPS != nil && (srv.AutoHTTPS.Disabled || srv.AutoHTTPS.DisableCerts) {
			continue
		}
		for _, route := range srv.Routes {
			for _, set := range route.MatcherSets {
				for _, m := range set {
					var names caddyhttp.MatchHost
					switch m := m.(type) {
					case caddyhttp.MatchHost:
						names = m
					case *caddyhttp.MatchHost:
						names = *m
					}
					for _, name := range names {
						name = strings.ToLower(name)
						skipped := srv.AutoHTTPS != nil && (slices.Contains(srv.AutoHTTPS.Skip, name) || slices.Contains(srv.AutoHTTPS.SkipCerts, name))
						if !skipped && !strings.Contains(name, "{") && certmagic.SubjectQualifiesForCert(name) {
							hosts = append(hosts, name)
						}
					}
				}
			}
		}
	}
	return hosts
}
