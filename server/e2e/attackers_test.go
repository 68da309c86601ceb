//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddy-evergreen/evergreen/server/testbed"
)

// A siege is a Caddy under attack. Every address of 127.0.0.0/8 is this machine,
// and each 127.x.y.0/24 a network of its own, so that attackers can be many.
type siege struct {
	t         *testing.T
	http, tls string // addresses of the site without and with TLS
	proxied   string // of the site behind the PROXY protocol
	caddy     *testbed.Caddy
	witness   *witness
}

// from dials from an address of network n of 127.0.0.0/8.
func from(n int) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(n>>8), byte(n), 1)}, Timeout: 20 * time.Second}
}

// attackerTLS is for clients that, as attackers do, look at no certificate.
func attackerTLS(change ...func(*tls.Config)) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"} //nolint:gosec // see above
	for _, f := range change {
		f(c)
	}
	return c
}

// client asks from network n over connections that are kept. Requests for
// http://localhost and https://localhost, without a port, go to the sites.
func (s *siege) client(n int, config *tls.Config, http2 bool) *http.Client {
	dial := func(ctx context.Context, _, addr string) (net.Conn, error) {
		to := s.tls
		if strings.HasSuffix(addr, ":80") {
			to = s.http
		}
		return from(n).DialContext(ctx, "tcp", to)
	}
	tr := &http.Transport{DialContext: dial, TLSClientConfig: config, DisableCompression: true, MaxIdleConnsPerHost: 16, ForceAttemptHTTP2: http2}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// ask makes a request, and reads its answer.
func ask(ctx context.Context, cl *http.Client, method, url, agent string) (status int, err error) {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader("user=admin&password=" + strconv.Itoa(rand.IntN(1e6)))
	}
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, err
	}
	r.Header.Set("User-Agent", agent)
	res, err := cl.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// requests makes n of them, over eight connections in all, with clients in turn.
func (s *siege) requests(n int, method string, url func(i int) string, want int, clients ...*http.Client) {
	s.t.Helper()
	var work sync.WaitGroup
	for w := range 8 {
		work.Go(func() {
			for i := w; i < n; i += 8 {
				status, err := ask(s.t.Context(), clients[i%len(clients)], method, url(i), "attacker/1.0")
				if err != nil || status != want {
					s.t.Errorf("%s %s is answered with %d (%v), want %d", method, url(i), status, err, want)
					return
				}
			}
		})
	}
	work.Wait()
}

// connections makes n of them, from network n on, and hands each to f, which
// need not close it.
func (s *siege) connections(n, network, networks int, to string, f func(net.Conn)) {
	s.t.Helper()
	var work sync.WaitGroup
	for w := range 8 {
		work.Go(func() {
			for i := w; i < n; i += 8 {
				c, err := from(network+i%networks).DialContext(s.t.Context(), "tcp", to)
				if err != nil {
					s.t.Errorf("connecting: %v", err)
					return
				}
				f(c)
				c.Close()
			}
		})
	}
	work.Wait()
}

// slowloris holds n connections, and sends on each of them the header of a
// request, a line at a time, for as long as it takes to be slow.
func (s *siege) slowloris(n, network int) {
	s.t.Helper()
	var open []net.Conn
	for range n {
		c, err := from(network).DialContext(s.t.Context(), "tcp", s.http)
		if err != nil {
			s.t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\n")
		open = append(open, c)
	}
	for i := range 5 {
		time.Sleep(100 * time.Millisecond) // five of them are half a second; a third is slow
		for _, c := range open {
			fmt.Fprintf(c, "X-A%d: b\r\n", i)
		}
	}
}

// rapidReset asks for n streams and takes back each at once (CVE-2023-44487).
func (s *siege) rapidReset(n, network int, path string) {
	s.t.Helper()
	check := func(err error) {
		if err != nil {
			s.t.Helper()
			s.t.Fatal(err)
		}
	}
	tcp, err := from(network).DialContext(s.t.Context(), "tcp", s.tls)
	check(err)
	c := tls.Client(tcp, attackerTLS(func(c *tls.Config) { c.NextProtos = []string{"h2"} }))
	defer c.Close()
	_, err = io.WriteString(c, http2.ClientPreface)
	check(err)
	f := http2.NewFramer(c, c)
	check(f.WriteSettings())
	var block bytes.Buffer
	h := hpack.NewEncoder(&block)
	id := uint32(1)
	for sent := 0; sent < n; sent += 50 {
		for range 50 {
			block.Reset()
			for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", path}} {
				check(h.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
			}
			check(f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
			check(f.WriteRSTStream(id, http2.ErrCodeCancel))
			id += 2
		}
		// The server has seen these before the next are sent.
		check(f.WritePing(false, [8]byte{byte(sent)}))
		for {
			frame, err := f.ReadFrame()
			check(err)
			if p, ok := frame.(*http2.PingFrame); ok && p.IsAck() {
				break
			}
		}
	}
}

// helloBytes is the ClientHello, with its record, that a config makes.
func helloBytes(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_ = tls.Client(theirs, config).Handshake() // fails when ours is closed
		theirs.Close()
	}()
	return readRecord(t, ours)
}

func readRecord(t *testing.T, c net.Conn) []byte {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	b = append(b, make([]byte, int(b[3])<<8|int(b[4]))...)
	if _, err := io.ReadFull(c, b[5:]); err != nil {
		t.Fatal(err)
	}
	return b
}
