package programs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// An Authority signs what interceptors show to browsers.
type Authority struct {
	Cert *x509.Certificate
	Key  *rsa.PrivateKey // sslsplit and martian want RSA
	// Files with the certificate, the key, and both, as PEM.
	CertFile, KeyFile, BothFile string
}

// NewAuthority makes an authority and writes it to dir.
func NewAuthority(dir string) (*Authority, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		// A name of its own: another authority with this one's name would be a false one, not an unknown one.
		Subject:               pkix.Name{CommonName: fmt.Sprintf("Evergreen's tests %x", now.UnixNano()), Organization: []string{"Evergreen"}},
		NotBefore:             now.Add(-72 * time.Hour),
		NotAfter:              now.Add(48 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	a := &Authority{
		Key: key, CertFile: filepath.Join(dir, "ca.crt"), KeyFile: filepath.Join(dir, "ca.key"), BothFile: filepath.Join(dir, "ca.pem"),
	}
	if a.Cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return a, write(a.CertFile, a.KeyFile, a.BothFile, der, keyDER)
}

// Pool is one with the authority only.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return pool
}

// Leaf makes a certificate for localhost and writes it, with its key, to a file
// in dir: what haproxy shows, and a server for tests.
func (a *Authority) Leaf(dir string) (cert tls.Certificate, file string, err error) {
	file, err = a.LeafFor(dir, "localhost", time.Now().Add(24*time.Hour))
	if err == nil {
		cert, err = tls.LoadX509KeyPair(file, file)
	}
	return cert, file, err
}

// LeafFor makes a certificate for a name that is good until then, and writes it,
// with its key, to a file in dir.
func (a *Authority) LeafFor(dir, name string, until time.Time) (file string, err error) {
	return a.leaf(dir, name, until, x509.ExtKeyUsageServerAuth)
}

// ClientLeaf makes a certificate for a client and writes it, with its key, to a file in dir.
func (a *Authority) ClientLeaf(dir string) (file string, err error) {
	return a.leaf(dir, "client", time.Now().Add(24*time.Hour), x509.ExtKeyUsageClientAuth)
}

func (a *Authority) leaf(dir, name string, until time.Time, usage x509.ExtKeyUsage) (file string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    now.Add(-48 * time.Hour),
		NotAfter:     until,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{usage},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, key.Public(), a.Key)
	if err != nil {
		return "", err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "leaf.pem")
	return file, write(filepath.Join(dir, "leaf.crt"), filepath.Join(dir, "leaf.key"), file, der, keyDER)
}

func write(certFile, keyFile, bothFile string, cert, key []byte) error {
	c := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	k := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for file, b := range map[string][]byte{certFile: c, keyFile: k, bothFile: append(append([]byte{}, k...), c...)} {
		if err := os.WriteFile(file, b, 0o644); err != nil { // squid reads it as another user
			return fmt.Errorf("writing a certificate: %w", err)
		}
	}
	return nil
}
