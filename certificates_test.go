package evergreen

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ocsp"

	"github.com/caddy-evergreen/evergreen/wire"
)

// observed has the certificates counted as at a window's end.
func observed(t *testing.T) {
	t.Helper()
	currentProcess().observeCertificates(time.Now())
}

func shake(t *testing.T, port, name string) {
	t.Helper()
	conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true, ServerName: name}) //nolint:gosec // Caddy's own CA
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// Caddy's own CA issues one certificate, a second one is loaded, and a server
// that can't be reached gives none.
func TestCertificates(t *testing.T) {
	s, name := testSite{freePort(t), freePort(t)}, newNames()
	c := adapt(t, fmt.Sprintf(`{
	http_port %s
	https_port %s
	skip_install_trust
	grace_period 2s
}
https://localhost {
	bind 127.0.0.1
}
https://%s {
	bind 127.0.0.1
	tls internal
}
https://%s {
	bind 127.0.0.1
	tls {
		issuer acme {
			dir http://127.0.0.1:%s/directory
		}
	}
}
`, s.http, s.https, name("internal"), name("acme"), freePort(t)))
	freshStorage(t, c)
	mustLoad(t, c)
	all := []string{"certificates_issued", "certificates_attempts", "certificates_failed", "certificates_revoked", "certificates_unseen"}
	wantCounts(t, map[string]float64{
		"certificates_attempts{certificate_occasion=obtain}":                                                    2,
		"certificates_issued{certificate_issuer=internal,certificate_occasion=obtain}":                          1,
		"certificates_failed{certificate_cause=ca:refused,certificate_issuer=acme,certificate_occasion=obtain}": 1,
	}, all...)

	shake(t, s.https, "localhost")
	shake(t, s.https, name("internal"))
	wantChain := func(want map[string]float64) {
		t.Helper()
		got := counts(t, "certificates_chain_length")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("chains (-want +got):\n%s", diff)
		}
	}
	wantChain(map[string]float64{"certificates_chain_length{}": 2, "certificates_chain_length{} sum": 3})

	held := []string{"certificates_held", "certificates_held_keys", "certificates_held_names", "certificates_held_ocsp", "certificates_held_expiry", "certificates_held_days"}
	eventually(t, "both certificates are in the cache", func() bool {
		p := currentProcess()
		p.certificates.mu.Lock()
		defer p.certificates.mu.Unlock()
		return len(p.certificates.names) == 2
	})
	want := func(n float64) map[string]float64 {
		return map[string]float64{
			"certificates_held{certificate_issuer=internal,management=automatic}":   n,
			"certificates_held{certificate_issuer=none,management=loaded}":          n,
			"certificates_held_keys{key_type=ecdsa-p256,management=automatic}":      n,
			"certificates_held_keys{key_type=ecdsa-p256,management=loaded}":         n,
			"certificates_held_names{count=1,management=automatic}":                 n,
			"certificates_held_names{count=1,management=loaded}":                    n,
			"certificates_held_ocsp{management=automatic,ocsp_status=no_responder}": n,
			"certificates_held_ocsp{management=loaded,ocsp_status=no_responder}":    n,
			"certificates_held_expiry{expiry=<1d,management=automatic}":             n,
			"certificates_held_expiry{expiry=<1d,management=loaded}":                n,
			"certificates_held_days{management=automatic}":                          n,
			"certificates_held_days{management=automatic} sum":                      0,
			"certificates_held_days{management=loaded}":                             n,
			"certificates_held_days{management=loaded} sum":                         0,
		}
	}
	observed(t)
	wantCounts(t, want(1), held...)
	observed(t)
	wantCounts(t, want(2), held...)

	// Of a configuration that has ended, nothing is looked at.
	p := currentProcess()
	p.certificates.run(-1)
	observed(t)
	p.certificates.run(1)
	wantCounts(t, want(2), held...)
}

func TestIssuers(t *testing.T) {
	a := &App{ownCAs: map[string]bool{"local": true, "my.ca": true}}
	for key, want := range map[string]string{
		"": "none", "local": "internal", "my.ca": "internal", "zerossl": "zerossl",
		"acme-v02.api.letsencrypt.org-directory":         "letsencrypt",
		"acme-staging-v02.api.letsencrypt.org-directory": "letsencrypt-staging",
		"acme.zerossl.com-v2-dv90":                       "zerossl",
		"dv.acme-v02.api.pki.goog-directory":             "google",
		"api.buypass.com-acme-directory":                 "buypass",
		"acme.ssl.com-sslcom-dv-ecc":                     "ssl.com",
		"acme.ssl.com.example-directory":                 "acme",
		"ca.example-acme-acme-directory":                 "acme",
		"localhost:9443-directory":                       "acme",
		"a plugin's":                                     "other",
	} {
		if got := wire.CertificateIssuer.ValueName(a.issuerOf(key)); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}

func TestClassesOfCertificates(t *testing.T) {
	day := 24 * time.Hour
	for left, want := range map[time.Duration]string{
		-day: "expired", 0: "expired", 1: "<1d", day: "1d-3d", 3 * day: "3d-7d", 7 * day: "7d-14d", 14 * day: "14d-30d", 30*day - 1: "14d-30d",
		30 * day: "30d-60d", 60 * day: "60d-90d", 90 * day: "90d-180d", 180 * day: "180d-398d", 398 * day: "398d+", 9999 * day: "398d+",
	} {
		if got := wire.ExpiryClass.ValueName(expiryOf(left)); got != want {
			t.Errorf("%v: %s, want %s", left, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 1: "1", 2: "2", 3: "3-4", 100: "65-128", 257: "257-1024", 16384: "4097-16384", 16385: "16385+"} {
		if got := wire.CountClass.ValueName(countClass(n)); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		key  any
		want string
	}{{ed, "ed25519"}, {rsa2048, "rsa-2048"}, {p384, "ecdsa-p384"}, {p521, "ecdsa-p521"}, {nil, "other"}} {
		if got := wire.KeyType.ValueName(keyOfSigner(test.key)); got != test.want {
			t.Errorf("%T: %s, want %s", test.key, got, test.want)
		}
	}
}

// Names beyond those that are looked at take no memory.
func TestManyCertificates(t *testing.T) {
	var c certificates
	for i := range 10 * maxCertificateNames {
		if ok := c.add([]string{fmt.Sprint(i)}); ok != (i < maxCertificateNames) {
			t.Fatalf("name %d: %v", i, ok)
		}
	}
	if !c.add([]string{"1"}) || !c.add(nil) {
		t.Error("what is known, or has no name, needs no room")
	}
}

// What CertMagic does not export is where it is looked for, in the version that
// this is tested with.
func TestFieldsOfCertMagic(t *testing.T) {
	c := reflect.TypeFor[certmagic.Certificate]()
	for name, kind := range map[string]reflect.Kind{"managed": reflect.Bool, "issuerKey": reflect.String, "ocsp": reflect.Pointer} {
		if f, ok := c.FieldByName(name); !ok || f.Type.Kind() != kind {
			t.Errorf("a certificate's %s is no %v", name, kind)
		}
	}
	if f, _ := c.FieldByName("ocsp"); f.Type != reflect.TypeFor[*ocsp.Response]() {
		t.Errorf("a certificate's OCSP response is a %v", f.Type)
	}
}

// A certificate that is obtained in a handshake is on-demand.
func TestOnDemandCertificate(t *testing.T) {
	s := testSite{freePort(t), freePort(t)}
	ask := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer ask.Close()
	c := adapt(t, fmt.Sprintf(`{
	http_port %s
	https_port %s
	skip_install_trust
	grace_period 2s
	on_demand_tls {
		ask %s
	}
}
https:// {
	bind 127.0.0.1
	tls {
		on_demand
		issuer internal
	}
}
`, s.http, s.https, ask.URL))
	freshStorage(t, c)
	mustLoad(t, c)
	shake(t, s.https, newNames()("demand"))
	wantCounts(t, map[string]float64{
		"certificates_issued{certificate_issuer=internal,certificate_occasion=obtain}": 1,
	}, "certificates_issued", "certificates_failed")
	observed(t)
	wantCounts(t, map[string]float64{
		"certificates_held{certificate_issuer=internal,management=on-demand}": 1,
		"certificates_held{certificate_issuer=none,management=loaded}":        1,
	}, "certificates_held")
}
