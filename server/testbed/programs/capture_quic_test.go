//go:build e2e

package programs

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-evergreen/evergreen/clienthello"
)

// TestE2ECaptureQUIC drives what speaks HTTP/3 to a server, and writes the
// hellos that were on the way as JSON lines to the file that EVERGREEN_CAPTURE_QUIC names.
func TestE2ECaptureQUIC(t *testing.T) {
	ca, err := NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	leaf, _, err := ca.Leaf(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var agent atomic.Value
	agent.Store("")
	srv := &http3.Server{
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{leaf}}), //nolint:gosec // QUIC has no older version
		Handler:   http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { agent.Store(r.UserAgent()) }),
	}
	t.Cleanup(func() { _ = srv.Close() })
	go func() { _ = srv.Serve(udp) }()
	relay, err := NewRelay(udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()

	browse := func(open func(context.Context, string, *Authority, Page) error) func() error {
		return func() error {
			dir, err := os.MkdirTemp("", "browser-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			return open(t.Context(), dir, ca, Page{Route: Route{Addr: relay.Addr()}, Path: "/", QUIC: true})
		}
	}
	var out bytes.Buffer
	for _, c := range []struct {
		name string
		get  func() error
	}{
		{"chromium", browse(chromium)},
		{"firefox", browse(firefox)},
		{"quic-go", func() error {
			transport := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}} //nolint:gosec // its own defaults are what is looked at
			defer transport.Close()
			resp, err := (&http.Client{Transport: transport}).Get("https://localhost:" + portOf(relay.Addr()) + "/")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		}},
	} {
		agent.Store("")
		before := len(relay.Hellos())
		if err := c.get(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		sent := relay.Hellos()[before:]
		if len(sent) == 0 || agent.Load() == "" {
			t.Fatalf("%s: %d hellos, User-Agent %q", c.name, len(sent), agent.Load())
		}
		h := clienthello.Hello{Transport: clienthello.QUIC}
		if err := h.Parse(sent[0]); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if h.ServerName != "localhost" || len(h.ALPN) != 1 || h.ALPN[0] != "h3" {
			t.Errorf("%s asks %q for %q", c.name, h.ServerName, h.ALPN)
		}
		b, err := json.Marshal(struct {
			Client string `json:"client"`
			UA     string `json:"user_agent"`
			Hello  string `json:"hello"`
		}{c.name, agent.Load().(string), hex.EncodeToString(sent[0])})
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(b, '\n'))
	}
	if file := os.Getenv("EVERGREEN_CAPTURE_QUIC"); file != "" {
		if err := os.WriteFile(filepath.Clean(file), out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
