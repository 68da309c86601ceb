//go:build e2e

package e2e

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/server/testbed/programs"
)

// acmeServer is the Caddyfile of a CA: Caddy's own ACME server, three times. One
// gives certificates for five minutes, one for 20 days but not for each name, and
// one wants a proof that nobody here can give.
const acmeServer = `
	pki {
		ca long {
			intermediate_lifetime 60d
		}
		ca short {
			intermediate_lifetime 60d
		}
		ca dns {
			intermediate_lifetime 60d
		}
	}
}
localhost {
	tls internal
	handle /acme/long/* {
		acme_server {
			ca long
			lifetime 20d
			challenges http-01
			deny {
				domains denied.acme.test
			}
		}
	}
	handle /acme/short/* {
		acme_server {
			ca short
			lifetime 5m
			challenges http-01
		}
	}
	handle /acme/dns/* {
		acme_server {
			ca dns
			challenges dns-01
		}
	}
	handle /page {
		respond "<html>"
	}
	respond 404
}
http://127.0.0.1 {
	respond /ask 200
}
`

// TestE2ECertificates has a Caddy get its certificates from another one, or fail
// to, for each reason that there can be between the two.
//
// The CA validates on port 80, which is not ours. But it takes its proxy from the
// environment, and a proxy that is asked for http://name/ gets what that name's
// server would: the Caddy that wants the certificate is its proxy. Only a
// loopback address is never asked for through a proxy: it can't be validated.
func TestE2ECertificates(t *testing.T) {
	exe := caddyWith(t, caddyVersions[len(caddyVersions)-1])
	ports, err := testbed.PickPorts()
	if err != nil {
		t.Fatal(err)
	}
	ca, _ := startCaddy(t, exe, func(p testbed.Ports) string { return "{\n" + p.Globals() + acmeServer },
		"EVERGREEN_TELEMETRY=off", fmt.Sprintf("HTTP_PROXY=http://127.0.0.1:%d", ports.HTTP))
	srv, nobody := startServer(t), freeAddr(t)

	site := func(name, options string) string {
		return "https://" + name + " {\n\ttls {\n" + options + "\n\t}\n\trespond hello\n}\n"
	}
	issuer := func(path, more string) string {
		return fmt.Sprintf("issuer acme {\ndir https://localhost:%d%s\ntrusted_roots %s\ndisable_tlsalpn_challenge\ntimeout 4s\n%s\n}", ca.Ports.HTTPS, path, ca.RootCert(), more)
	}
	long, short := issuer("/acme/long/directory", ""), issuer("/acme/short/directory", "")
	leaf := filepath.Join(t.TempDir(), "loaded.pem")
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("loaded%d.test", i))
	}
	root, err := programs.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	middle, middleKey := sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "in the middle"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, root.Cert, root.Key)
	write(t, leaf, &x509.Certificate{DNSNames: names}, middle, middleKey, middle, root.Cert)

	caddyfile := "{\n" + ports.Globals() + "\trenew_interval 1s\n\ton_demand_tls {\n\t\task http://127.0.0.1:" + strconv.Itoa(ca.Ports.HTTP) + "/ask\n\t}\n}\n" +
		"localhost {\n\ttls internal\n\trespond hello\n}\n" +
		site("ec.acme.test", "key_type p384\n"+long) +
		site("rsa.acme.test", "key_type rsa2048\n"+long) +
		site("ed.acme.test", "key_type ed25519\n"+long) +
		site("demand.acme.test", "on_demand\n"+long) +
		// CA's clocks run a minute ahead: a certificate's five minutes are six. It is
		// to be renewed when it is a few seconds old.
		site("short.acme.test", "renewal_window_ratio 0.82\n"+short) +
		"https://" + names[0] + " {\n\ttls " + leaf + " " + leaf + "\n\trespond hello\n}\n" +
		site("denied.acme.test", long) +
		site("127.0.0.9", long) +
		site("dns.acme.test", issuer("/acme/dns/directory", "")) +
		site("profile.acme.test", issuer("/acme/long/directory", "profile short")) +
		site("lost.acme.test", issuer("/nothing/directory", "")) +
		site("page.acme.test", issuer("/page", "")) +
		site("untrusted.acme.test", fmt.Sprintf("issuer acme {\ndir https://localhost:%d/acme/long/directory\n}", ca.Ports.HTTPS)) +
		site("nobody.acme.test", "issuer acme {\ndir https://"+nobody+"/directory\n}")
	c := launch(t, exe, filepath.Join(t.TempDir(), "caddy"), caddyfile, ports, "EVERGREEN_ENDPOINT="+srv.URL())
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports.HTTPS))

	// Caddy tries again after a minute, so that each count is a lower bound.
	wantFailures := map[string]bool{
		"acme:rejectedIdentifier acme obtain": true, "timeout acme obtain": true, "challenge:none acme obtain": true, "config acme obtain": true,
		"ca:http acme obtain": true, "ca:malformed acme obtain": true, "ca:tls acme obtain": true, "ca:refused acme obtain": true,
	}
	shake(t, addr, "demand.acme.test")
	eventually(t, 60*time.Second, func() error {
		if diff := cmp.Diff(wantFailures, keys(counted(t, c, "certificates.failed", "certificate_cause", "certificate_issuer", "certificate_occasion"))); diff != "" {
			return fmt.Errorf("failures (-want +got):\n%s", diff)
		}
		issued := counted(t, c, "certificates.issued", "certificate_issuer", "certificate_occasion")
		if issued["acme renew"] == 0 || issued["acme obtain"] != 5 || issued["internal obtain"] != 1 {
			return fmt.Errorf("issued: %s", show(issued))
		}
		return nil
	})
	t.Logf("issued: %s", show(counted(t, c, "certificates.issued", "certificate_issuer", "certificate_occasion")))
	t.Logf("failed: %s", show(counted(t, c, "certificates.failed", "certificate_cause", "certificate_issuer")))
	eventually(t, 30*time.Second, func() error {
		attempts := sum(counted(t, c, "certificates.attempts", "certificate_occasion"))
		ended := sum(counted(t, c, "certificates.issued", "certificate_occasion")) + sum(counted(t, c, "certificates.failed", "certificate_occasion"))
		if attempts != ended {
			return fmt.Errorf("%d attempts have %d ends", attempts, ended)
		}
		return nil
	})

	wantHeld(t, c, "certificates.held", []string{"management", "certificate_issuer"},
		map[string]uint64{"automatic acme": 4, "on-demand acme": 1, "automatic internal": 1, "loaded none": 1})
	wantHeld(t, c, "certificates.held.keys", []string{"key_type", "management"},
		map[string]uint64{"ecdsa-p384 automatic": 1, "rsa-2048 automatic": 1, "ed25519 automatic": 1, "ecdsa-p256 automatic": 2, "ecdsa-p256 on-demand": 1, "ecdsa-p256 loaded": 1})
	wantHeld(t, c, "certificates.held.names", []string{"count"}, map[string]uint64{"1": 6, "33-64": 1})
	wantHeld(t, c, "certificates.held.expiry", []string{"expiry", "management"},
		map[string]uint64{"<1d automatic": 2, "14d-30d automatic": 3, "14d-30d on-demand": 1, "1d-3d loaded": 1})
	wantHeld(t, c, "certificates.held.ocsp", []string{"ocsp_status"}, map[string]uint64{"no_responder": 7})

	// What a client gets to see: CA's chains are of two, the loaded one of three.
	before := counted(t, c, "tls.certificates.served", "key_type")
	chains, length := value(t, c, "certificates_chain_length_count"), value(t, c, "certificates_chain_length_sum")
	for name, want := range map[string]int{"ec.acme.test": 2, "rsa.acme.test": 2, "ed.acme.test": 2, names[0]: 3} {
		if got := strings.Count(shake(t, addr, name), "BEGIN CERTIFICATE"); got != want {
			t.Errorf("%s has a chain of %d, want %d", name, got, want)
		}
	}
	want := map[string]uint64{"ecdsa-p384": 1, "rsa-2048": 1, "ed25519": 1, "ecdsa-p256": 1}
	if diff := cmp.Diff(want, since(before, counted(t, c, "tls.certificates.served", "key_type"))); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
	chains, length = value(t, c, "certificates_chain_length_count")-chains, value(t, c, "certificates_chain_length_sum")-length
	if chains != 4 || length != 2+2+2+3 {
		t.Errorf("%g chains with %g certificates, want 4 with 9", chains, length)
	}

	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() error {
		if diff := cmp.Diff(wantFailures, keys(srv.counts(t, "certificates.failed", "certificate_cause", "certificate_issuer", "certificate_occasion"))); diff != "" {
			return fmt.Errorf("failures at the server (-want +got):\n%s", diff)
		}
		return nil
	})
}

// TestE2EOCSP has OpenSSL's responder say what it knows of certificates, or no
// more.
func TestE2EOCSP(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("openssl is missing; install the package openssl")
	}
	exe := caddyWith(t, caddyVersions[len(caddyVersions)-1])
	ports, err := testbed.PickPorts()
	if err != nil {
		t.Fatal(err)
	}
	ca, _ := startCaddy(t, exe, func(p testbed.Ports) string { return "{\n" + p.Globals() + acmeServer },
		"EVERGREEN_TELEMETRY=off", fmt.Sprintf("HTTP_PROXY=http://127.0.0.1:%d", ports.HTTP))
	authority := newAuthority(t)
	r := &responder{authority: authority, index: filepath.Join(t.TempDir(), "index.txt")}

	dir, loaded := t.TempDir(), ""
	for name, status := range map[string]string{"good": "V", "revoked": "R", "unknown": ""} {
		cert := write(t, filepath.Join(dir, name), &x509.Certificate{DNSNames: []string{name + ".test"}, OCSPServer: []string{r.url(t)}}, authority.Cert, authority.Key, authority.Cert)
		r.know(t, cert, status)
		loaded += "https://" + name + ".test {\n\ttls " + filepath.Join(dir, name) + " " + filepath.Join(dir, name) + "\n}\n"
	}
	write(t, filepath.Join(dir, "gone"), &x509.Certificate{DNSNames: []string{"gone.test"}, OCSPServer: []string{"http://" + freeAddr(t)}}, authority.Cert, authority.Key, authority.Cert)
	loaded += "https://gone.test {\n\ttls " + filepath.Join(dir, "gone") + " " + filepath.Join(dir, "gone") + "\n}\n"

	// What an ACME server once gave, as Caddy has put it into its storage.
	directory := fmt.Sprintf("https://localhost:%d/acme/long/directory", ca.Ports.HTTPS)
	caddyDir := filepath.Join(t.TempDir(), "caddy")
	managed := filepath.Join(caddyDir, "data", "caddy", "certificates", fmt.Sprintf("localhost-%d-acme-long-directory", ca.Ports.HTTPS), "managed.test")
	if err := os.MkdirAll(managed, 0o700); err != nil {
		t.Fatal(err)
	}
	cert := write(t, filepath.Join(managed, "managed.test.crt"), &x509.Certificate{DNSNames: []string{"managed.test"}, OCSPServer: []string{r.url(t)}}, authority.Cert, authority.Key, authority.Cert)
	meta, err := json.Marshal(map[string]any{"sans": []string{"managed.test"}, "issuer_data": map[string]any{"ca": directory}})
	if err != nil {
		t.Fatal(err)
	}
	both, err := os.ReadFile(filepath.Join(managed, "managed.test.crt"))
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(both), "-----BEGIN CERTIFICATE")
	for name, b := range map[string][]byte{"managed.test.key": both[:at], "managed.test.crt": both[at:], "managed.test.json": meta} {
		if err := os.WriteFile(filepath.Join(managed, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	r.start(t)
	c := launch(t, exe, caddyDir, "{\n"+ports.Globals()+"\tocsp_interval 1s\n}\nlocalhost {\n\ttls internal\n\trespond hello\n}\n"+loaded+
		"https://managed.test {\n\ttls {\n\t\tissuer acme {\n\t\t\tdir "+directory+"\n\t\t\ttrusted_roots "+ca.RootCert()+"\n\t\t\tdisable_tlsalpn_challenge\n\t\t}\n\t}\n}\n", ports, "EVERGREEN_ENDPOINT=http://"+freeAddr(t))
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports.HTTPS))
	wantHeld(t, c, "certificates.held.ocsp", []string{"ocsp_status", "management"}, map[string]uint64{
		"good loaded": 1, "revoked loaded": 1, "unknown loaded": 1, "unanswered loaded": 1, "unknown automatic": 1, "no_responder automatic": 1,
	})
	for name, staple := range map[string]string{"good.test": "stapled", "revoked.test": "none", "unknown.test": "none", "gone.test": "none"} {
		before := counted(t, c, "tls.certificates.served", "staple")
		out := shake(t, addr, name, "-status")
		if got := strings.Contains(out, "OCSP Response Status: successful"); got != (staple == "stapled") {
			t.Errorf("%s: OpenSSL's client gets a staple: %v\n%s", name, got, out)
		}
		if diff := cmp.Diff(map[string]uint64{staple: 1}, since(before, counted(t, c, "tls.certificates.served", "staple"))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	before := counted(t, c, "tls.certificates.served", "staple")
	shake(t, addr, "good.test")
	if diff := cmp.Diff(map[string]uint64{"not_asked": 1}, since(before, counted(t, c, "tls.certificates.served", "staple"))); diff != "" {
		t.Errorf("without a request (-want +got):\n%s", diff)
	}

	// A managed certificate is revoked: Caddy finds out, and gets another one.
	if n := value(t, c, "certificates_revoked_total"); n != 0 {
		t.Errorf("%g certificates are revoked already", n)
	}
	r.know(t, cert, "R")
	eventually(t, 60*time.Second, func() error {
		revoked, issued := value(t, c, "certificates_revoked_total"), counted(t, c, "certificates.issued", "certificate_issuer", "certificate_occasion")
		if revoked != 1 || issued["acme renew"] != 1 {
			return fmt.Errorf("%g revoked; issued: %s", revoked, show(issued))
		}
		return nil
	})
	wantHeld(t, c, "certificates.held.ocsp", []string{"ocsp_status", "management"}, map[string]uint64{
		"good loaded": 1, "revoked loaded": 1, "unknown loaded": 1, "unanswered loaded": 1, "no_responder automatic": 2,
	})
}

// A responder is OpenSSL's, for an authority's certificates.
type responder struct {
	authority *programs.Authority
	index     string
	port      int
}

func (r *responder) url(t *testing.T) string {
	t.Helper()
	if r.port == 0 {
		p, err := freeport.Pick(1)
		if err != nil {
			t.Fatal(err)
		}
		r.port = p[0]
	}
	return fmt.Sprintf("http://127.0.0.1:%d", r.port)
}

// know puts a certificate into the index: V is valid, R revoked.
func (r *responder) know(t *testing.T, cert *x509.Certificate, status string) {
	t.Helper()
	f, err := os.OpenFile(r.index, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const form = "060102150405Z"
	revoked := ""
	switch status {
	case "":
		return
	case "R":
		revoked = time.Now().Add(-time.Minute).UTC().Format(form) + ",superseded"
	}
	fmt.Fprintf(f, "%s\t%s\t%s\t%X\tunknown\t/CN=%X\n", status, cert.NotAfter.UTC().Format(form), revoked, cert.SerialNumber, cert.SerialNumber)
}

// start runs the responder until the test ends. It reads the index again when
// that has changed, after one more request. It waits for each client to speak,
// so that it must not be dialed to see whether it listens.
func (r *responder) start(t *testing.T) {
	t.Helper()
	log, err := os.Create(r.index + ".log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("openssl", "ocsp", "-index", r.index, "-port", strconv.Itoa(r.port), "-CA", r.authority.CertFile,
		"-rsigner", r.authority.CertFile, "-rkey", r.authority.KeyFile, "-nmin", "60")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, 20*time.Second, func() error {
		b, err := os.ReadFile(log.Name())
		if err == nil && !strings.Contains(string(b), "waiting for OCSP client connections") {
			err = fmt.Errorf("OpenSSL's responder does not listen: %s", b)
		}
		return err
	})
}

// launch runs a Caddy on ports that another one knew before, until the test ends.
func launch(t *testing.T, exe, dir, caddyfile string, ports testbed.Ports, env ...string) *testbed.Caddy {
	t.Helper()
	c, err := testbed.StartCaddy(t.Context(), exe, dir, caddyfile, ports, append(env, shortTiming...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Kill()
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", c.LogTail(60))
		}
	})
	if _, err := c.WaitForCertificate(t.Context(), rootsOf(t, c)); err != nil {
		t.Fatal(err)
	}
	return c
}

// shake has OpenSSL's client shake hands, and returns what it says.
func shake(t *testing.T, addr, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", append([]string{"s_client", "-connect", addr, "-servername", name, "-showcerts"}, args...)...)
	cmd.Stdin = strings.NewReader("")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out)
}

// wantHeld waits until what is counted in windows is in the proportions of want.
// Each certificate is counted once in each.
func wantHeld(t *testing.T, c *testbed.Caddy, metric string, dims []string, want map[string]uint64) {
	t.Helper()
	eventually(t, 60*time.Second, func() error {
		before := counted(t, c, metric, dims...)
		var grown map[string]uint64
		for deadline := time.Now().Add(20 * time.Second); len(grown) == 0 && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			grown = since(before, counted(t, c, metric, dims...))
		}
		if windows := sum(grown) / sum(want); windows > 1 {
			for k := range grown {
				grown[k] /= windows
			}
		}
		if diff := cmp.Diff(want, grown); diff != "" {
			return fmt.Errorf("%s (-want +got):\n%s", metric, diff)
		}
		return nil
	})
}

func keys(counts map[string]uint64) map[string]bool {
	set := map[string]bool{}
	for k := range counts {
		set[k] = true
	}
	return set
}

// value is that of a series without labels, named as Prometheus names it after
// our prefix.
func value(t *testing.T, c *testbed.Caddy, series string) float64 {
	t.Helper()
	for line := range strings.Lines(metricsOf(t, c)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "caddy_evergreen_"+series+" "); ok {
			v, err := strconv.ParseFloat(n, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// write makes a certificate like template and writes its key, itself and its
// chain to a file.
func write(t *testing.T, file string, template *x509.Certificate, parent *x509.Certificate, signer crypto.Signer, chain ...*x509.Certificate) *x509.Certificate {
	t.Helper()
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	cert, key := sign(t, template, parent, signer)
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
	for _, c := range append([]*x509.Certificate{cert}, chain...) {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return cert
}

// sign makes a certificate of two days less an hour.
func sign(t *testing.T, template *x509.Certificate, parent *x509.Certificate, signer crypto.Signer) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(47*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}
