package evergreen

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// An authority issues certificates, and answers for them by OCSP with its key.
type authority struct {
	cert   *x509.Certificate
	key    crypto.Signer
	status map[string]int // by serial number
	*httptest.Server
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, status: map[string]int{}}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

// ServeHTTP is the responder: an answer is good for an hour.
func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	ask, err := ocsp.ParseRequest(b)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := time.Now()
	answer, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{
		Status: a.status[ask.SerialNumber.String()], SerialNumber: ask.SerialNumber,
		ThisUpdate: now, NextUpdate: now.Add(time.Hour), RevokedAt: now.Add(-time.Minute),
	}, a.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(answer)
}

// issue gives a certificate with its key and chain, as Caddy's load_pem has it.
func (a *authority) issue(t *testing.T, serial int64, status int, responder string, names ...string) map[string]any {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(800 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if responder != "" {
		template.OCSPServer = []string{responder}
	}
	a.status[template.SerialNumber.String()] = status
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return map[string]any{"certificate": block("CERTIFICATE", der) + block("CERTIFICATE", a.cert.Raw), "key": block("PRIVATE KEY", keyDER)}
}

// What a responder says of loaded certificates is counted as what it is, and so
// is who does not answer.
func TestOCSP(t *testing.T) {
	ca := newAuthority(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	name := newNames()
	pairs := []any{
		ca.issue(t, 2, ocsp.Good, ca.URL, name("good"), name("www.good")),
		ca.issue(t, 3, ocsp.Revoked, ca.URL, name("revoked")),
		ca.issue(t, 4, ocsp.Unknown, ca.URL, name("unknown")),
		ca.issue(t, 5, ocsp.Good, gone.URL, name("unanswered")),
		ca.issue(t, 6, ocsp.Good, "", name("none")),
	}
	s, c := newSite(t, "", "respond hello")
	tls := object(object(c, "apps"), "tls")
	own := object(tls, "certificates")["load_pem"].([]any) // localhost's
	object(tls, "certificates")["load_pem"] = append(slices.Clone(own), pairs...)
	freshStorage(t, c)
	mustLoad(t, c)
	status := func(values map[string]float64) map[string]float64 {
		want := map[string]float64{}
		for v, n := range values {
			want["certificates_held_ocsp{management=loaded,ocsp_status="+v+"}"] = n
		}
		return want
	}
	held := map[string]float64{"good": 1, "revoked": 1, "unknown": 1, "unanswered": 1, "no_responder": 2} // localhost's too
	observed(t)
	wantCounts(t, status(held), "certificates_held_ocsp")

	shake(t, s.https, name("good"))
	shake(t, s.https, name("revoked"))
	wantCounts(t, map[string]float64{
		"tls_certificates_served{key_type=ecdsa-p384,staple=stapled}": 1,
		"tls_certificates_served{key_type=ecdsa-p384,staple=none}":    1,
	}, "tls_certificates_served")

	// Two hours later nobody has asked again.
	currentProcess().observeCertificates(time.Now().Add(2 * time.Hour))
	held["stale"] += 2
	for _, v := range []string{"revoked", "unanswered"} {
		held[v]++
	}
	held["no_responder"] += 2
	wantCounts(t, status(held), "certificates_held_ocsp")

	// Nobody is asked at all. A certificate that is in the cache keeps its answer.
	tls["disable_ocsp_stapling"] = true
	object(tls, "certificates")["load_pem"] = append(own, ca.issue(t, 7, ocsp.Good, ca.URL, name("off")))
	freshStorage(t, c)
	mustLoad(t, c)
	observed(t)
	held["off"]++
	held["no_responder"]++
	wantCounts(t, status(held), "certificates_held_ocsp")
}

// newNames gives names that no test has had: Caddy's cache of certificates is
// the process's, and outlives configurations.
func newNames() func(string) string {
	end := fmt.Sprintf(".%d.test", time.Now().UnixNano())
	return func(label string) string { return label + end }
}
