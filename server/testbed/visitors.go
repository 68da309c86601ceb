package testbed

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Visitors send a site varied traffic: kinds of clients, versions of HTTP and
// TLS, methods, errors, requests given up on.
type Visitors struct {
	clients []*Client
	caddy   *Caddy
	rate    int
}

// agents are User-Agents as such clients sent them in 2026, with how often.
var agents = []struct {
	weight int
	agent  string
}{
	{30, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"},
	{14, "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36"},
	{16, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1"},
	{8, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15"},
	{9, "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"},
	{6, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/155.0.0.0 Safari/537.36 Edg/155.0.0.0"},
	{5, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"},
	{3, "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)"},
	{2, "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"},
	{3, "curl/8.14.1"},
	{2, "python-requests/2.32.5"},
	{1, "Go-http-client/2.0"},
	{1, ""},
}

var visits = []struct {
	weight       int
	method, path string
	body         int
}{
	{40, "GET", "/", 0}, {15, "GET", "/about", 0}, {15, "GET", "/api/items", 0}, {4, "GET", "/large", 0},
	{4, "HEAD", "/", 0}, {5, "GET", "/old", 0}, {4, "POST", "/upload", 20_000}, {2, "PUT", "/upload", 300},
	{3, "POST", "/login", 60}, {6, "GET", "/missing", 0}, {1, "GET", "/teapot", 0}, {2, "GET", "/broken", 0},
	{2, "GET", "/away", 0}, {1, "OPTIONS", "/api/items", 0},
}

// NewVisitors makes clients for every version of HTTP; rate is in requests a second.
func NewVisitors(ctx context.Context, c *Caddy, rate int) (*Visitors, error) {
	v := &Visitors{caddy: c, rate: rate}
	roots, err := c.RootCAs()
	if err != nil {
		return nil, err
	}
	if _, err := c.WaitForCertificate(ctx, roots); err != nil {
		return nil, err
	}
	for _, kind := range []struct {
		proto string
		tls   *tls.Config
	}{
		{"http/1.1", &tls.Config{MaxVersion: tls.VersionTLS12}},
		{"http/1.1", nil},
		{"http/2", &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(8)}},
		{"http/2", &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}},
		{"http/3", nil},
	} {
		client, err := NewClient(kind.proto, roots, kind.tls)
		if err != nil {
			return nil, err
		}
		v.clients = append(v.clients, client)
	}
	return v, nil
}

// Run sends requests until ctx is done, more in some minutes than in others,
// and returns when the last one has ended.
func (v *Visitors) Run(ctx context.Context) {
	var visits sync.WaitGroup
	defer func() {
		visits.Wait()
		for _, c := range v.clients {
			c.Close()
		}
	}()
	t := time.NewTicker(time.Second / time.Duration(v.rate))
	defer t.Stop()
	slots := make(chan struct{}, 64) // a slow site gets no pile of requests
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			if quiet := now.Second() >= 40; quiet && rand.IntN(2) == 0 {
				continue
			}
		}
		select {
		case slots <- struct{}{}:
			visits.Go(func() {
				defer func() { <-slots }()
				v.visit(ctx)
			})
		default:
		}
	}
}

// visit sends one request. What becomes of it is for Caddy to count.
func (v *Visitors) visit(ctx context.Context) {
	client := v.clients[rand.IntN(len(v.clients))]
	if rand.IntN(25) == 0 { // now and then a new connection, for handshakes to be seen
		if t, ok := client.Transport.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
	}
	a := agents[pick(len(agents), func(i int) int { return agents[i].weight })]
	r := visits[pick(len(visits), func(i int) int { return visits[i].weight })]
	url := fmt.Sprintf("https://localhost:%d%s", v.caddy.Ports.HTTPS, r.path)
	if client.Proto == "http/1.1" && rand.IntN(6) == 0 {
		url = fmt.Sprintf("http://localhost:%d%s", v.caddy.Ports.HTTP, r.path)
	}
	timeout := 10 * time.Second
	if rand.IntN(50) == 0 {
		timeout = time.Millisecond // a visitor without patience
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, url, bytes.NewReader(make([]byte, r.body)))
	if err != nil {
		return
	}
	req.Header.Set("User-Agent", a.agent)
	resp, err := client.Do(req)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

func pick(n int, weight func(int) int) int {
	total := 0
	for i := range n {
		total += weight(i)
	}
	at := rand.IntN(total)
	for i := range n {
		if at -= weight(i); at < 0 {
			return i
		}
	}
	return n - 1
}
