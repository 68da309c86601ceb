//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
	"github.com/caddy-evergreen/evergreen/server/testbed"
)

// TestE2EHandshakes has real clients, and connections that no client would make
// on purpose, fail in all the other ways: by what they offer, by how they end, by
// their own certificate, and behind a PROXY header: each as docs/tls.md says.
func TestE2EHandshakes(t *testing.T) {
	documented, tested := documented(t, "tls.md", "How handshakes fail"), 0
	exe := caddyWith(t, caddyVersions[len(caddyVersions)-1])
	ca, stranger := newAuthority(t), newAuthority(t)
	_, leaf, err := ca.Leaf(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	known, err := ca.ClientLeaf(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := stranger.ClientLeaf(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	more, err := freeport.Pick(4)
	if err != nil {
		t.Fatal(err)
	}
	impatient, careful, proxied, clear := more[0], more[1], more[2], more[3]
	c := startCaddyFor(t, exe, ca, func(p testbed.Ports) string {
		return "{\n" + p.Globals() + fmt.Sprintf(`
	servers :%[2]d {
		timeouts {
			read_header 500ms
		}
	}
	servers :%[4]d {
		listener_wrappers {
			proxy_protocol {
				timeout 5s
				allow 127.0.0.0/8
			}
			tls
		}
	}
	servers :%[5]d {
		protocols h1 h2c
	}
}
localhost, https://localhost:%[2]d, https://localhost:%[4]d {
	tls %[1]s %[1]s
	respond {remote_host}
}
https://localhost:%[3]d {
	tls %[1]s %[1]s {
		client_auth {
			mode require_and_verify
			trust_pool file %[6]s
		}
	}
	respond "you"
}
http://localhost:%[5]d {
	respond "clear"
}
`, leaf, impatient, careful, proxied, clear, ca.CertFile)
	})
	port := c.Ports.HTTPS
	addr := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	openssl := func(args ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			return exec.CommandContext(ctx, "openssl", append([]string{"s_client", "-connect", addr(port)}, args...)...).Run()
		}
	}
	curl := func(port int, args ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			return exec.CommandContext(ctx, "curl", append([]string{"-sSf", "-o", filepath.Join(t.TempDir(), "page"), "--noproxy", "*", "--ipv4", "--cacert", ca.CertFile,
				fmt.Sprintf("https://localhost:%d/", port)}, args...)...).Run()
		}
	}
	// raw does with a connection what no program does when it is asked to.
	raw := func(port int, do func(net.Conn) error) func(context.Context) error {
		return func(ctx context.Context) error {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr(port))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := do(conn); err != nil {
				t.Fatal(err)
			}
			return errors.New("no request was made")
		}
	}
	// greeted sends a hello and waits for the first of the answer.
	greeted := func(conn net.Conn) error {
		if _, err := conn.Write(hello(t)); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, make([]byte, 5))
		return err
	}

	for _, test := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"no common version", openssl("-servername", "localhost", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")},
		{"no common suite", openssl("-servername", "localhost", "-tls1_2", "-cipher", "DHE-RSA-AES128-SHA@SECLEVEL=0")},
		{"no common group", openssl("-servername", "localhost", "-tls1_3", "-groups", "ffdhe2048")},
		{"no common protocol", openssl("-servername", "localhost", "-alpn", "smtp")},
		{"an unknown name", openssl("-servername", "elsewhere.test")},
		{"plain HTTP/2", func(ctx context.Context) error {
			return exec.CommandContext(ctx, "curl", "-sSf", "--noproxy", "*", "--http2-prior-knowledge", "http://"+addr(port)+"/").Run()
		}},

		{"no word", raw(port, func(net.Conn) error { return nil })},
		{"ended in the hello", raw(port, func(c net.Conn) error {
			_, err := c.Write(hello(t)[:100])
			return err
		})},
		{"ended after the hello", raw(port, func(c net.Conn) error {
			if err := greeted(c); err != nil {
				return err
			}
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				return err
			}
			_, err := io.Copy(io.Discard, c)
			return err
		})},
		{"reset", raw(port, func(c net.Conn) error {
			if err := greeted(c); err != nil {
				return err
			}
			return c.(*net.TCPConn).SetLinger(0)
		})},
		{"no word for too long", raw(impatient, func(c net.Conn) error {
			_, err := io.Copy(io.Discard, c)
			return err
		})},
		{"half a hello for too long", raw(impatient, func(c net.Conn) error {
			if _, err := c.Write(hello(t)[:100]); err != nil {
				return err
			}
			_, err := io.Copy(io.Discard, c)
			return err
		})},
		{"a hello, and nothing for too long", raw(impatient, func(c net.Conn) error {
			if err := greeted(c); err != nil {
				return err
			}
			_, err := io.Copy(io.Discard, c)
			return err
		})},

		{"the client's certificate", curl(careful, "--cert", known)},
		{"no certificate of the client", curl(careful)},
		{"no certificate of the client, over TLS 1.2", curl(careful, "--tls-max", "1.2")},
		{"a certificate of the client by another authority", curl(careful, "--cert", unknown)},

		{"a PROXY header", curl(proxied, "--haproxy-protocol")},
		{"no PROXY header", curl(proxied)},
		{"an unknown authority behind a PROXY header", curl(proxied, "--haproxy-protocol", "--cacert", stranger.CertFile)},
	} {
		tested++
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			row := documented[test.name]
			want := outcome(row["failure"])
			if row["alert"] != "" {
				want["alert "+row["alert"]] = 1
			}
			before, libraries := outcomes(t, c), counted(t, c, "tls.libraries", "tls_library", "client_family")
			if err := test.do(ctx); (err == nil) != (row["failure"] == "completed") {
				t.Errorf("%v", err)
			}
			wantOutcome(t, test.name, c, before, want)
			if row["failure"] == "completed" {
				want := map[string]uint64{"openssl curl": 1}
				if diff := cmp.Diff(want, since(libraries, counted(t, c, "tls.libraries", "tls_library", "client_family"))); diff != "" {
					t.Errorf("libraries (-want +got):\n%s", diff)
				}
			}
		})
	}

	if tested != len(documented) {
		t.Errorf("docs/tls.md has %d rows for %d ways", len(documented), tested)
	}

	t.Run("h2c", func(t *testing.T) {
		before, requests := outcomes(t, c), counted(t, c, "http.requests.transport", "protocol", "transport")
		features := counted(t, c, "connections.features", "connection_feature", "client_family")
		hellos := counted(t, c, "tls.hello", "hello_transport")
		for _, version := range []string{"--http2-prior-knowledge", "--http2", "--http1.1"} { // the second asks for an upgrade, which Go has none of
			if out, err := exec.CommandContext(t.Context(), "curl", "-sSf", "--noproxy", "*", version, "http://localhost:"+strconv.Itoa(clear)+"/").CombinedOutput(); err != nil || string(out) != "clear" {
				t.Errorf("%s: %v %q", version, err, out)
			}
		}
		eventually(t, 20*time.Second, func() error {
			got := []map[string]uint64{
				since(before, outcomes(t, c)),
				since(requests, counted(t, c, "http.requests.transport", "protocol", "transport")),
				since(features, counted(t, c, "connections.features", "connection_feature", "client_family")),
				since(hellos, counted(t, c, "tls.hello", "hello_transport")),
			}
			want := []map[string]uint64{{"connections": 3}, {"http/2 plain": 1, "http/1.1 plain": 2}, {"all curl": 3}, {}}
			if diff := cmp.Diff(want, got); diff != "" {
				return fmt.Errorf("(-want +got):\n%s", diff)
			}
			return nil
		})
	})
}

// hello is the first flight of Go's client.
func hello(t *testing.T) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer there.Close()
	go func() {
		_ = tls.Client(here, &tls.Config{ServerName: "localhost"}).HandshakeContext(t.Context())
		here.Close()
	}()
	b := make([]byte, 5, 4096)
	if _, err := io.ReadFull(there, b); err != nil {
		t.Fatal(err)
	}
	b = b[:5+int(b[3])<<8+int(b[4])]
	if _, err := io.ReadFull(there, b[5:]); err != nil {
		t.Fatal(err)
	}
	return b
}
