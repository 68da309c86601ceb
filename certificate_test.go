package evergreen

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// localhostPEM is a certificate and its key, made once and never written.
var localhostPEM = sync.OnceValues(func() (pair map[string]any, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return map[string]any{"certificate": block("CERTIFICATE", der), "key": block("PRIVATE KEY", keyDER)}, nil
})

// quietTLS gives a configuration the certificate of localhost, and leaves Caddy
// no work in the background. Such work outlives a configuration, and races with
// the next one that is loaded in the same process: CertMagic's Cache.SetOptions
// writes with the lock what Config.certNeedsRenewal reads without while a
// certificate is obtained, and caddytls' storage cleaner reads the ticker of a
// TLS app that is being stopped.
func quietTLS(t *testing.T, config map[string]any) {
	t.Helper()
	pair, err := localhostPEM()
	if err != nil {
		t.Fatal(err)
	}
	apps := object(config, "apps")
	tls := object(apps, "tls")
	tls["disable_storage_clean"] = true
	object(tls, "certificates")["load_pem"] = []any{pair}
}

// freshStorage is for the one test that needs certificates managed: one that is
// obtained anew is not looked at for renewal, which is where CertMagic races, see
// quietTLS. The folder is not the test's own, as Caddy may write to it later.
func freshStorage(t *testing.T, config map[string]any) {
	t.Helper()
	if err := os.MkdirAll(caddy.AppDataDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(caddy.AppDataDir(), "storage")
	if err != nil {
		t.Fatal(err)
	}
	object(config, "storage")["root"] = dir
}

// object is the object at a key, made if there is none.
func object(in map[string]any, key string) map[string]any {
	o, ok := in[key].(map[string]any)
	if !ok {
		o = map[string]any{}
		in[key] = o
	}
	return o
}
