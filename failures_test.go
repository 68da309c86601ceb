package evergreen

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// crypto/tls keeps the error that a handshake failed with, and tells it again:
// what failed is known when the connection has ended.
func TestHandshakeErrorIsKept(t *testing.T) {
	here, there := net.Pipe()
	go func() {
		_, _ = there.Write([]byte("\x16\x03\x01\x00\x04\x01\x00\x00\x00")) // an empty hello
		_, _ = io.Copy(io.Discard, there)
	}()
	c := tls.Server(here, &tls.Config{}) //nolint:gosec // it never comes to a version
	first := c.Handshake()
	_ = c.Close()
	if first == nil {
		t.Fatal("an empty hello was accepted")
	}
	if again := c.HandshakeContext(context.Background()); !errors.Is(again, first) {
		t.Errorf("first %v, then %v", first, again)
	}
}

// rootOf is a pool with the site's own certificate.
func rootOf(t *testing.T) *x509.CertPool {
	t.Helper()
	pair, err := localhostPEM()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(pair["certificate"].(string)))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

// helloBytes is the first flight of Go's client.
func helloBytes(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	here, there := net.Pipe()
	go func() {
		_ = tls.Client(here, config).Handshake()
		here.Close()
	}()
	b := make([]byte, 4096)
	n, err := io.ReadAtLeast(there, b, 5)
	if err != nil {
		t.Fatal(err)
	}
	for n < 5+int(b[3])<<8+int(b[4]) {
		m, err := there.Read(b[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	there.Close()
	return b[:n]
}

// inRecords splits a record with a handshake message into ones of size bytes.
func inRecords(record []byte, size int) (b []byte) {
	for msg := record[5:]; len(msg) > 0; {
		n := min(size, len(msg))
		b = append(b, 0x16, 3, 1, byte(n>>8), byte(n))
		b = append(b, msg[:n]...)
		msg = msg[n:]
	}
	return b
}

func TestHandshakeFailures(t *testing.T) {
	goHello := helloBytes(t, insecure)
	shake := func(change func(*tls.Config)) func(*testing.T, net.Conn) {
		return func(t *testing.T, c net.Conn) {
			config := insecure.Clone()
			change(config)
			if err := tls.Client(c, config).Handshake(); err == nil {
				// The server refuses after the client is done.
				t.Log("the client thinks that it has shaken hands")
				_, _ = c.Read(make([]byte, 1))
			}
		}
	}
	send := func(parts ...[]byte) func(*testing.T, net.Conn) {
		return func(t *testing.T, c net.Conn) {
			for _, p := range parts {
				if _, err := c.Write(p); err != nil {
					t.Error(err)
				}
			}
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(io.Discard, c)
		}
	}
	for _, test := range []struct {
		name, failure, alert, side string
		hello                      bool
		do                         func(*testing.T, net.Conn)
	}{
		{"nothing", "connect_and_close", "", "", false, func(*testing.T, net.Conn) {}},
		{"plain HTTP", "plain_http", "", "", false, send([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))},
		{"HTTP/2 in plain", "plain_http2", "", "", false, send([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))},
		{"SSLv2", "sslv2", "", "", false, send([]byte("\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80\x03\x00\x80\x04\x00\x80\x05\x00\x80\x06\x00\x40\x07\x00\xc0" + strings.Repeat("c", 16)))},
		{"a scanner", "garbage", "", "", false, send([]byte("\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00"))},
		{"half a hello", "closed_in_hello", "", "", false, send(goHello[:100])},
		{"a hello and no more", "closed_after_hello", "", "", true, send(goHello)},
		{"a hello in many records", "closed_after_hello", "", "", true, send(inRecords(goHello, 100))},
		{"a hello in many segments", "closed_after_hello", "", "", true, func(t *testing.T, c net.Conn) {
			for part := range bytes.SplitSeq(goHello, []byte{0}) {
				_, _ = c.Write(append(part, 0)[:len(part)])
				_, _ = c.Write([]byte{0})
			}
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		}},
		{"a broken hello", "malformed_hello", "decode_error", "server", true, send([]byte("\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00"))},
		{"unknown CA", "client_bad_certificate", "bad_certificate", "client", true, shake(func(c *tls.Config) { c.InsecureSkipVerify = false })},
		{"expired", "client_bad_certificate", "bad_certificate", "client", true, shake(func(c *tls.Config) {
			c.InsecureSkipVerify, c.RootCAs = false, rootOf(t)
			c.Time = func() time.Time { return time.Now().AddDate(1, 0, 0) }
		})},
		{"unknown CA over TLS 1.2", "client_bad_certificate", "bad_certificate", "client", true, shake(func(c *tls.Config) { c.InsecureSkipVerify, c.MaxVersion = false, tls.VersionTLS12 })},
		{"expired, by alert", "client_certificate_expired", "certificate_expired", "client", true, send(goHello, []byte("\x15\x03\x03\x00\x02\x02\x2d"))},
		{"unknown CA, by alert", "client_unknown_ca", "unknown_ca", "client", true, send(goHello, []byte("\x15\x03\x03\x00\x02\x02\x30"))},
		{"unknown certificate, after change_cipher_spec", "client_certificate_unknown", "certificate_unknown", "client", true,
			send(goHello, []byte("\x14\x03\x03\x00\x01\x01\x15\x03\x03\x00\x02\x02\x2e"))},
		{"cancelled", "client_cancelled", "user_canceled", "client", true, send(goHello, []byte("\x15\x03\x03\x00\x02\x01\x5a\x15\x03\x03\x00\x02\x01\x00"))},
		{"no common version", "no_common_version", "protocol_version", "server", true, shake(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })},
		{"no common suite", "no_common_suite", "handshake_failure", "server", true, shake(func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
		})},
		{"no common protocol", "no_common_alpn", "no_application_protocol", "server", true, shake(func(c *tls.Config) { c.NextProtos = []string{"smtp"} })},
		{"unknown name", "no_certificate", "internal_error", "server", true, shake(func(c *tls.Config) { c.ServerName = "elsewhere.example" })},
		{"an unexpected message", "protocol_violation", "unexpected_message", "server", true, send([]byte("\x16\x03\x01\x00\x04\x0e\x00\x00\x00"))},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, c := newSite(t, "", `respond "fine"`)
			mustLoad(t, c)
			conn, err := net.Dial("tcp", "127.0.0.1:"+s.https)
			if err != nil {
				t.Fatal(err)
			}
			test.do(t, conn)
			conn.Close()
			want := map[string]float64{"tls_failures{failure=" + test.failure + ",tls_library=*}": 1}
			if test.alert != "" {
				want["tls_alerts{alert="+test.alert+",side="+test.side+",tls_library=*}"] = 1
			}
			wantAnyLibrary(t, want)
			state := "parsed"
			if test.failure == "malformed_hello" {
				state = "malformed"
			}
			hellos := map[string]float64{}
			if test.hello && test.failure != "protocol_violation" {
				hellos["tls_hello{client_family=unknown,hello_state="+state+",hello_transport=tcp}"] = 1
			}
			wantCounts(t, hellos, "tls_hello", "tls_interception", "tls_connections")
		})
	}
}

// wantAnyLibrary is wantCounts for failures and alerts, whatever the library is.
func wantAnyLibrary(t *testing.T, want map[string]float64) {
	t.Helper()
	var got map[string]float64
	for range 500 {
		got = map[string]float64{}
		for k, v := range counts(t, "tls_failures", "tls_alerts") {
			before, _, _ := strings.Cut(k, "tls_library=")
			got[before+"tls_library=*}"] += v
		}
		same := len(got) == len(want)
		for k, v := range want {
			same = same && got[k] == v
		}
		if same {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("want %v, got %v", want, got)
}

// Over TLS 1.3 the server's alert to a client's certificate is encrypted, and
// told by the error only.
func TestClientCertificates(t *testing.T) {
	now := time.Now()
	ca := clientPair(t, nil, x509.ExtKeyUsageAny, now.Add(time.Hour))
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	good := clientPair(t, &ca, x509.ExtKeyUsageClientAuth, now.Add(time.Hour))
	late := clientPair(t, &ca, x509.ExtKeyUsageClientAuth, now.Add(-time.Minute))
	servers := clientPair(t, &ca, x509.ExtKeyUsageServerAuth, now.Add(time.Hour))
	stranger := clientPair(t, nil, x509.ExtKeyUsageAny, now.Add(time.Hour))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, test := range []struct {
			name  string
			given *tls.Certificate
			alert map[uint16]string
		}{
			{"good", &good, nil},
			{"none", nil, map[uint16]string{tls.VersionTLS12: "handshake_failure", tls.VersionTLS13: "certificate_required"}},
			{"by another authority", &stranger, map[uint16]string{tls.VersionTLS12: "unknown_ca", tls.VersionTLS13: "unknown_ca"}},
			{"expired", &late, map[uint16]string{tls.VersionTLS12: "certificate_expired", tls.VersionTLS13: "certificate_expired"}},
			{"for servers", &servers, map[uint16]string{tls.VersionTLS12: "bad_certificate", tls.VersionTLS13: "bad_certificate"}},
		} {
			t.Run(tls.VersionName(version)+"/"+test.name, func(t *testing.T) {
				port := freePort(t)
				mustLoad(t, adapt(t, fmt.Sprintf(`{
	https_port %s
	skip_install_trust
	auto_https disable_redirects
}
https://localhost {
	bind 127.0.0.1
	tls {
		client_auth {
			mode require_and_verify
			trust_pool file %s
		}
	}
	respond fine
}`, port, file)))
				config := insecure.Clone()
				config.MinVersion, config.MaxVersion = version, version
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if test.given == nil {
						return new(tls.Certificate), nil
					}
					return test.given, nil // whatever the server asked for
				}
				conn, err := net.Dial("tcp", "127.0.0.1:"+port)
				if err != nil {
					t.Fatal(err)
				}
				secure := tls.Client(conn, config)
				if err := secure.Handshake(); err == nil && test.alert != nil {
					_, _ = secure.Read(make([]byte, 1)) // TLS 1.3: the client is done before the server refuses
				}
				secure.Close()
				want := map[string]float64{}
				if alert := test.alert[version]; alert != "" {
					want["tls_failures{failure=client_certificate,tls_library=*}"] = 1
					want["tls_alerts{alert="+alert+",side=server,tls_library=*}"] = 1
				}
				eventually(t, "the connection ended", func() bool { return len(counts(t, "connections")) > 0 })
				wantAnyLibrary(t, want)
			})
		}
	}
}

// clientPair makes a certificate, signed by itself if there is no authority.
func clientPair(t *testing.T, by *tls.Certificate, usage x509.ExtKeyUsage, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: rand.Text()}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{usage}, IsCA: by == nil, BasicConstraintsValid: true,
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey.(*ecdsa.PrivateKey)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
