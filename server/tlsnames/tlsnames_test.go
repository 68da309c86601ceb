package tlsnames

import (
	"crypto/tls"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// crypto/tls knows some of the names too.
func TestCipherSuites(t *testing.T) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if got := CipherSuite(s.ID); got != s.Name {
			t.Errorf("%04x is %s, want %s", s.ID, got, s.Name)
		}
	}
}

func TestNames(t *testing.T) {
	got := []string{Extension(0), Extension(65037), Extension(0x1a1a), Extension(0xabcd), Group(29), Group(4588), SignatureScheme(0x0804),
		Version(0x0304), Version(0x0300), Version(0x7f1c), Version(0x2a2a), CertCompression(2), CertCompression(9)}
	want := []string{"server_name", "encrypted_client_hello", "GREASE", "0xabcd", "x25519", "X25519MLKEM768", "rsa_pss_rsae_sha256",
		"TLS 1.3", "SSL 3.0", "0x7f1c", "GREASE", "brotli", "0x0009"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
