//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/server/testbed/programs"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestE2EHTTP3 has browsers and quic-go ask a Caddy over HTTP/3. What is counted
// of their hellos is what anybody on the way can read in them; the configuration
// stays the user's.
func TestE2EHTTP3(t *testing.T) {
	exe := caddyWith(t, caddyVersions[len(caddyVersions)-1])
	ca, stranger := newAuthority(t), newAuthority(t)
	_, leaf, err := ca.Leaf(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := startCaddyFor(t, exe, ca, func(p testbed.Ports) string {
		return "{\n" + p.Globals() + "}\nlocalhost {\n\ttls " + leaf + " " + leaf + " {\n\t\talpn h3 h2\n\t}\n\trespond \"hello over {http.request.proto}\"\n}\n"
	})
	before := configOf(t, c)
	want, err := c.Command(t.Context(), "adapt", "--config", filepath.Join(c.Dir, "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	relay, err := programs.NewRelay(net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Ports.HTTPS)))
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()

	open := func(ctx context.Context, b programs.Browser, trusted *programs.Authority) error {
		dir, err := os.MkdirTemp("", "browser-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		return b.Open(ctx, dir, trusted, programs.Page{Route: programs.Route{Addr: relay.Addr()}, Path: "/", QUIC: true})
	}
	seen := 0
	for _, client := range []struct {
		name, family string
		get          func() error
	}{
		{"Chromium", "chromium", func() error { return open(t.Context(), programs.Browsers()[0], ca) }},
		{"Firefox", "firefox", func() error { return open(t.Context(), programs.Browsers()[1], ca) }},
		{"quic-go", "go", func() error { return getHTTP3(t, ca, relay.Addr()) }},
	} {
		t.Run(client.name, func(t *testing.T) {
			hellos := counted(t, c, "tls.hello", "hello_transport", "hello_state", "client_family")
			fingerprints := counted(t, c, "tls.hello.fingerprint", "ja4", "client_family")
			requests := counted(t, c, "http.requests.transport", "protocol", "transport")
			features := counted(t, c, "connections.features", "connection_feature", "client_family")
			judged := counted(t, c, "tls.interception", "verdict")
			if err := client.get(); err != nil {
				t.Fatal(err)
			}
			sent := relay.Hellos()[seen:]
			seen += len(sent)
			if len(sent) == 0 {
				t.Fatal("no hello of QUIC was sent")
			}
			wantHellos := map[string]uint64{"quic parsed " + client.family: uint64(len(sent))}
			wantFingerprints := map[string]uint64{}
			for _, b := range sent {
				h := clienthello.Hello{Transport: clienthello.QUIC}
				if err := h.Parse(b); err != nil {
					t.Fatal(err)
				}
				ja4 := h.JA4()
				t.Log(ja4)
				if !strings.HasPrefix(ja4, "q13d") {
					t.Errorf("the JA4 %s is not of QUIC", ja4)
				}
				wantFingerprints[wire.JA4.ValueName(wire.JA4.Value(ja4))+" "+client.family]++
			}
			eventually(t, 20*time.Second, func() error {
				got := []map[string]uint64{
					since(hellos, counted(t, c, "tls.hello", "hello_transport", "hello_state", "client_family")),
					since(fingerprints, counted(t, c, "tls.hello.fingerprint", "ja4", "client_family")),
					since(judged, counted(t, c, "tls.interception", "verdict")),
				}
				if diff := cmp.Diff([]map[string]uint64{wantHellos, wantFingerprints, {}}, got); diff != "" {
					return fmt.Errorf("(-want +got):\n%s", diff)
				}
				return nil
			})
			// A browser asks for an icon, too.
			got := since(requests, counted(t, c, "http.requests.transport", "protocol", "transport"))
			if n := got["http/3 tls"]; n == 0 || len(got) != 1 {
				t.Errorf("requests: %s", show(got))
			}
			got = since(features, counted(t, c, "connections.features", "connection_feature", "client_family"))
			for _, feature := range []string{"all", "tls", "tls13", "http3", "sni", "pq_offered", "pq_negotiated"} {
				if got[feature+" "+client.family] != uint64(len(sent)) {
					t.Errorf("%s: %s", feature, show(got))
				}
			}
		})
	}

	t.Run("refused", func(t *testing.T) {
		before := outcomes(t, c)
		if err := getHTTP3(t, stranger, relay.Addr()); err == nil {
			t.Error("quic-go accepts a certificate of an unknown authority")
		}
		// A QUIC connection without a request is no connection that is counted.
		wantOutcome(t, "unknown authority", c, before, map[string]uint64{"failure client_bad_certificate": 1, "alert bad_certificate client": 1})
	})

	for _, b := range programs.Browsers() {
		t.Run("refused by "+b.Name, func(t *testing.T) {
			before := outcomes(t, c)
			ctx, end := context.WithCancel(t.Context())
			defer end()
			opened := make(chan error, 1)
			go func() { opened <- open(ctx, b, stranger) }()
			row := documented(t, "tls.md", "How clients refuse")[b.Name]
			eventually(t, 60*time.Second, func() error {
				got := since(before, outcomes(t, c))
				if cause := row["unknown authority"]; got["failure "+cause] == 0 || got["alert "+alertOf[cause]] != got["failure "+cause] {
					return fmt.Errorf("%s", show(got))
				}
				return nil
			})
			end() // it may show its error for ever
			<-opened
		})
	}

	for name, got := range map[string][]byte{"before": before, "after": configOf(t, c)} {
		if diff := cmp.Diff(parsed(t, []byte(want)), parsed(t, got)); diff != "" {
			t.Errorf("/config/ %s the requests (-adapted +shown):\n%s", name, diff)
		}
	}
}

func getHTTP3(t *testing.T, ca *programs.Authority, addr string) error {
	t.Helper()
	transport := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, //nolint:gosec // its own defaults are what is looked at
		QUICConfig:      &quic.Config{HandshakeIdleTimeout: 20 * time.Second},
	}
	defer transport.Close()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://localhost:"+port+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "Go-http-client/3.0")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && string(b) != "hello over HTTP/3.0" {
		err = fmt.Errorf("%s %q", resp.Status, b)
	}
	return err
}

func parsed(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
