//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
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

// pebbleVersion is of Let's Encrypt's ACME server for tests.
const pebbleVersion = "v2.10.1"

// TestE2EPebble has a Caddy get certificates from the ACME server that Let's
// Encrypt gives to those who write clients. Unlike Caddy's own it validates on
// the ports that it is told, and ends an order when a validation fails: here are
// TLS-ALPN, profiles, and the problems that a public CA has with us.
func TestE2EPebble(t *testing.T) {
	exe := caddyWith(t, caddyVersions[len(caddyVersions)-1])
	ports, err := testbed.PickPorts()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	install := exec.CommandContext(t.Context(), "go", "install",
		"github.com/letsencrypt/pebble/v2/cmd/pebble@"+pebbleVersion, "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@"+pebbleVersion)
	install.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("installing pebble: %v\n%s", err, out)
	}
	names := startNames(t, bin)
	authority := newAuthority(t)
	ca := startPebble(t, bin, authority, names.dns, ports, nil)
	closedCA := startPebble(t, bin, authority, names.dns, ports, map[string]any{"externalAccountBindingRequired": true})

	// Nobody listens on the one address, and somebody else on the other.
	names.set(t, "add-a", map[string]any{"host": "closed.pebble.test", "addresses": []string{"127.0.0.9"}})
	names.set(t, "add-a", map[string]any{"host": "other.pebble.test", "addresses": []string{"127.0.0.10"}})
	names.set(t, "set-servfail", map[string]any{"host": "broken.pebble.test"})
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.10", strconv.Itoa(ports.HTTP)))
	if err != nil {
		t.Fatal(err)
	}
	other := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "Somebody else's site.") })}
	go func() { _ = other.Serve(ln) }()
	t.Cleanup(func() { other.Close() })

	const http01, alpn01 = "disable_tlsalpn_challenge", "disable_http_challenge"
	site := func(name, dir, options, more string) string {
		return fmt.Sprintf("https://%s {\n\ttls {\n%s\nissuer acme {\ndir %s\ntrusted_roots %s\n%s\n}\n\t}\n\trespond hello\n}\n", name, options, dir, authority.CertFile, more)
	}
	caddyfile := "{\n" + ports.Globals() + "\tdefault_bind 127.0.0.1\n\temail somebody@pebble.test\n\trenew_interval 1s\n}\nlocalhost {\n\ttls internal\n\trespond hello\n}\n" +
		site("http.pebble.test", ca, "key_type rsa2048", http01) +
		site("alpn.pebble.test", ca, "", alpn01) +
		site("brief.pebble.test", ca, "renewal_window_ratio 0.9", http01+"\nprofile brief") +
		site("blocked.pebble.test", ca, "", http01) +
		site("closed.pebble.test", ca, "", http01) +
		site("broken.pebble.test", ca, "", http01) +
		site("other.pebble.test", ca, "", http01) +
		site("*.wild.pebble.test", ca, "", "") +
		site("profile.pebble.test", ca, "", "profile unheard-of") +
		site("contact.pebble.test", ca, "", "email nobody") +
		site("unbound.pebble.test", closedCA, "", http01) +
		site("bound.pebble.test", closedCA, "", http01+"\neab somebody zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W")
	c := launch(t, exe, filepath.Join(t.TempDir(), "caddy"), caddyfile, ports, "EVERGREEN_ENDPOINT=http://"+freeAddr(t))
	want := map[string]bool{
		"acme:rejectedIdentifier": true, "acme:connection": true, "acme:unauthorized": true, "acme:invalidContact": true,
		"acme:externalAccountRequired": true, "challenge:none": true, "config": true,
	}
	eventually(t, 60*time.Second, func() error {
		failed := counted(t, c, "certificates.failed", "certificate_cause")
		if diff := cmp.Diff(want, keys(failed)); diff != "" {
			return fmt.Errorf("failures (-want +got):\n%s", diff)
		}
		if failed["acme:connection"] < 2 {
			return fmt.Errorf("failures: %s", show(failed))
		}
		issued := counted(t, c, "certificates.issued", "certificate_issuer", "certificate_occasion")
		if issued["acme obtain"] != 3 || issued["acme renew"] == 0 {
			return fmt.Errorf("issued: %s", show(issued))
		}
		return nil
	})
	t.Logf("issued: %s", show(counted(t, c, "certificates.issued", "certificate_issuer", "certificate_occasion")))
	t.Logf("failed: %s", show(counted(t, c, "certificates.failed", "certificate_cause")))

	// A validation by TLS-ALPN shows a certificate, too, but no chain of ours.
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports.HTTPS))
	chains, length := value(t, c, "certificates_chain_length_count"), value(t, c, "certificates_chain_length_sum")
	if chains != 1 || length != 2 {
		t.Errorf("%g chains of %g certificates before there was a client, want localhost's only", chains, length)
	}
	if got := strings.Count(shake(t, addr, "alpn.pebble.test"), "BEGIN CERTIFICATE"); got != 3 {
		t.Errorf("a chain of %d, want 3", got)
	}
	chains, length = value(t, c, "certificates_chain_length_count")-chains, value(t, c, "certificates_chain_length_sum")-length
	if chains != 1 || length != 3 {
		t.Errorf("%g chains of %g certificates are counted, want 1 of 3", chains, length)
	}
}

// startPebble runs pebble until the test ends, and returns its directory.
func startPebble(t *testing.T, bin string, authority *programs.Authority, dns string, ports testbed.Ports, more map[string]any) (directory string) {
	t.Helper()
	dir := t.TempDir()
	if _, _, err := authority.Leaf(dir); err != nil {
		t.Fatal(err)
	}
	listen, management := freeAddr(t), freeAddr(t)
	config := map[string]any{
		"listenAddress": listen, "managementListenAddress": management,
		"certificate": filepath.Join(dir, "leaf.crt"), "privateKey": filepath.Join(dir, "leaf.key"),
		"httpPort": ports.HTTP, "tlsPort": ports.HTTPS,
		"domainBlocklist":        []string{"blocked.pebble.test"},
		"externalAccountMACKeys": map[string]string{"nobody": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"},
		"profiles": map[string]any{
			"default": map[string]any{"description": "as usual", "validityPeriod": 20 * 24 * 60 * 60},
			"brief":   map[string]any{"description": "renewed soon", "validityPeriod": 60},
		},
	}
	for k, v := range more {
		config[k] = v
	}
	b, err := json.Marshal(map[string]any{"pebble": config})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.Cert)
	// Nonces that are refused at random, and pauses before a validation, are for
	// those who test clients.
	run(t, filepath.Join(dir, "pebble.log"), []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0", "PEBBLE_CHAIN_LENGTH=2"},
		filepath.Join(bin, "pebble"), "-config", file, "-dnsserver", dns)
	eventually(t, 20*time.Second, func() error {
		d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
		conn, err := d.DialContext(t.Context(), "tcp", listen)
		if err == nil {
			conn.Close()
		}
		return err
	})
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		t.Fatal(err)
	}
	return "https://localhost:" + port + "/dir"
}

// nameServer is pebble's, which says 127.0.0.1 of all names that it is not told of.
type nameServer struct{ dns, management string }

func startNames(t *testing.T, bin string) *nameServer {
	t.Helper()
	p, err := freeport.Pick(2)
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{fmt.Sprintf("127.0.0.1:%d", p[0]), fmt.Sprintf("127.0.0.1:%d", p[1])}
	run(t, filepath.Join(t.TempDir(), "names.log"), nil, filepath.Join(bin, "pebble-challtestsrv"), "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "",
		"-defaultIPv6", "", "-dnsserver", n.dns, "-management", n.management)
	eventually(t, 20*time.Second, func() error {
		conn, err := net.Dial("tcp", n.management)
		if err == nil {
			conn.Close()
		}
		return err
	})
	return n
}

func (n *nameServer) set(t *testing.T, what string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post("http://"+n.management+"/"+what, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", what, resp.Status)
	}
}

// run has a program run until the test ends; its words go to a file.
func run(t *testing.T, log string, env []string, name string, args ...string) {
	t.Helper()
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if b, err := os.ReadFile(log); t.Failed() && err == nil {
			t.Logf("%s:\n%s", filepath.Base(name), b[max(0, len(b)-8<<10):])
		}
	})
}
