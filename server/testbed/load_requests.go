package testbed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"time"
)

// loadAnswer is what LoadSite answers to a GET.
const loadAnswer = "Hello. This is answered by Caddy."

// noAnswer is when a request has failed although its connection is open.
const noAnswer = 15 * time.Second

// short makes the requester of a kind of short requests.
func (l *Load) short(kind string) (requester, error) {
	var client *http.Client
	base := fmt.Sprintf("https://localhost:%d", l.cfg.Ports.HTTPS)
	switch kind {
	case LoadNew, LoadNewTLS:
		d := &forgetfulDialer{}
		client = &http.Client{Transport: &http.Transport{
			DialContext: d.dial, DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: l.cfg.Roots, Time: l.now},
		}}
		if kind == LoadNew {
			base = fmt.Sprintf("http://localhost:%d", l.cfg.Ports.HTTP)
		}
	default:
		proto := map[string]string{LoadKeepAlive: "http/1.1", LoadPost: "http/1.1", LoadH2: "http/2", LoadH2Post: "http/2", LoadH3: "http/3"}[kind]
		c, err := NewClient(proto, l.cfg.Roots, &tls.Config{Time: l.now})
		if err != nil {
			return nil, err
		}
		client = c.Client
		if t, ok := client.Transport.(*http.Transport); ok {
			t.MaxIdleConnsPerHost = 2 * l.cfg.Workers
		}
		context.AfterFunc(l.stopped(), c.Close)
	}
	if kind == LoadPost || kind == LoadH2Post {
		body := bytes.Repeat([]byte("0123456789abcdef"), 128)
		sum := sha256.Sum256(body)
		return func(ctx context.Context) (int, error) {
			return exchange(ctx, client, http.MethodPost, base+"/upload", bytes.NewReader(body), hex.EncodeToString(sum[:]))
		}, nil
	}
	return func(ctx context.Context) (int, error) {
		return exchange(ctx, client, http.MethodGet, base+"/", nil, loadAnswer)
	}, nil
}

// exchange makes a request and checks the whole of its answer.
func exchange(ctx context.Context, client *http.Client, method, url string, body io.Reader, want string) (retried int, err error) {
	ctx, cancel := context.WithTimeout(ctx, noAnswer)
	defer cancel()
	connections := 0
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connections++ }})
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	retried = max(0, connections-1)
	if err != nil {
		return retried, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err == nil && (resp.StatusCode != http.StatusOK || string(b) != want) {
		err = fmt.Errorf("%s %s: %s, %.80q", method, url, resp.Status, b)
	}
	return retried, err
}

// stopped is done when all requests have ended after Stop.
func (l *Load) stopped() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-l.stop
		l.wg.Wait()
		cancel()
	}()
	return ctx
}
