package testbed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// A Client speaks one version of HTTP. Close ends its connections.
type Client struct {
	*http.Client
	Proto string // "http/1.1", "http/2" or "http/3"
	close func()
}

// Protocols are the ones that NewClient knows.
var Protocols = []string{"http/1.1", "http/2", "http/3"}

// RootCAs reads a Caddy's local authority.
func (c *Caddy) RootCAs() (*x509.CertPool, error) {
	// The authority is made at the first start, shortly after the admin API answers.
	var pem []byte
	for try := 0; ; try++ {
		var err error
		if pem, err = os.ReadFile(c.RootCert()); err == nil {
			break
		}
		if try == 200 {
			return nil, fmt.Errorf("reading the local authority's certificate: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the local authority's certificate can't be parsed")
	}
	return pool, nil
}

// WaitForCertificate makes handshakes until one succeeds: Caddy gets its
// certificates after it has begun to serve. It returns how many connections
// that took, none of which had a request.
func (c *Caddy) WaitForCertificate(ctx context.Context, roots *x509.CertPool) (connections int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "localhost", Time: c.launch.now}}
	for {
		connections++
		conn, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", c.Ports.HTTPS))
		if err == nil {
			return connections, conn.Close()
		}
		select {
		case <-ctx.Done():
			return connections, fmt.Errorf("waiting for a certificate: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// NewClient makes a client that connects to 127.0.0.1 whatever the host, does
// not follow redirects and asks for no compression. base is for changing TLS
// settings; nil takes the defaults.
func NewClient(proto string, roots *x509.CertPool, base *tls.Config) (*Client, error) {
	config := base.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	config.RootCAs = roots
	c := &Client{Proto: proto, Client: &http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	switch proto {
	case "http/1.1", "http/2":
		config.NextProtos = []string{"http/1.1"}
		if proto == "http/2" {
			config.NextProtos = []string{"h2"}
		}
		d := &dialer{}
		t := &http.Transport{
			TLSClientConfig: config, DialContext: d.dial, DisableCompression: true,
			ForceAttemptHTTP2: proto == "http/2", MaxIdleConnsPerHost: 16,
		}
		if proto == "http/2" {
			// Else a request that comes while the first one's connection is being
			// put among the idle ones dials a spare, which Caddy counts, too.
			t.MaxConnsPerHost = 1
		}
		c.Transport, c.close = t, d.close
	case "http/3":
		t := &http3.Transport{TLSClientConfig: config, DisableCompression: true}
		c.Transport, c.close = t, func() { _ = t.Close() }
	default:
		return nil, fmt.Errorf("there is no client for %q", proto)
	}
	return c, nil
}

// Close ends all of the client's connections, busy ones as well.
func (c *Client) Close() { c.close() }

// A dialer connects to 127.0.0.1, whatever the host, and remembers what it
// connected: http.Transport itself can end idle connections only.
type dialer struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var nd net.Dialer
	conn, err := nd.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	if err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.conns = append(d.conns, conn)
	}
	return conn, err
}

func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, conn := range d.conns {
		conn.Close()
	}
	d.conns = nil
}
