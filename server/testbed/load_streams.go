package testbed

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/websocket"
)

// LargeSize is how much a large download or upload is, unless told.
const LargeSize = 200 << 20

// stream makes the requester of a kind of long requests.
func (l *Load) stream(kind string) (requester, error) {
	if kind == LoadWebSocket {
		return l.webSocket, nil
	}
	proto := "http/1.1"
	if kind == LoadDownload2 {
		proto = "http/2"
	}
	c, err := NewClient(proto, l.cfg.Roots, &tls.Config{Time: l.now})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(l.stopped(), c.Close)
	c.Timeout = 0
	sum, err := largeSum(l.cfg.Large)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (int, error) {
		// Whoever stalls has failed, however slow the machine is.
		ctx, cancel := context.WithTimeout(ctx, 3*l.cfg.Stream+time.Minute)
		defer cancel()
		base := fmt.Sprintf("https://localhost:%d", l.cfg.Ports.HTTPS)
		if kind == LoadUpload {
			body := &paced{r: Large(l.cfg.Large), rate: l.rate(), ctx: ctx}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/upload", body)
			if err != nil {
				return 0, err
			}
			req.ContentLength = l.cfg.Large
			return 0, answered(c.Client, req, func(got io.Reader) error {
				b, err := io.ReadAll(io.LimitReader(got, 1000))
				if err == nil && string(b) != sum {
					err = fmt.Errorf("the upload arrived as %q", b)
				}
				return err
			})
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/large", nil)
		if err != nil {
			return 0, err
		}
		return 0, answered(c.Client, req, func(got io.Reader) error {
			h := sha256.New()
			n, err := io.Copy(h, &paced{r: got, rate: l.rate(), ctx: ctx})
			if err == nil && hex.EncodeToString(h.Sum(nil)) != sum {
				err = errors.New("it has other bytes")
			}
			if err != nil {
				err = fmt.Errorf("download, after %d of %d bytes: %w", n, l.cfg.Large, err)
			}
			return err
		})
	}, nil
}

// rate is that of a stream in bytes a second.
func (l *Load) rate() float64 { return float64(l.cfg.Large) / l.cfg.Stream.Seconds() }

func answered(c *http.Client, req *http.Request, check func(io.Reader) error) error {
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return check(resp.Body)
}

// webSocket holds a connection open and has messages echoed on it.
func (l *Load) webSocket(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Stream+time.Minute)
	defer cancel()
	port := strconv.Itoa(l.cfg.Ports.HTTPS)
	d := tls.Dialer{Config: &tls.Config{RootCAs: l.cfg.Roots, ServerName: "localhost", Time: l.now, NextProtos: []string{"http/1.1"}}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return 0, fmt.Errorf("WebSocket: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	config, err := websocket.NewConfig("wss://localhost:"+port+"/ws", "https://localhost:"+port)
	if err != nil {
		return 0, err
	}
	ws, err := websocket.NewClient(config, conn)
	if err != nil {
		return 0, fmt.Errorf("WebSocket's handshake: %w", err)
	}
	began := time.Now()
	for n := 0; time.Since(began) < l.cfg.Stream; n++ {
		sent := "message " + strconv.Itoa(n)
		if err := ws.SetDeadline(time.Now().Add(noAnswer)); err != nil {
			return 0, err
		}
		if err := websocket.Message.Send(ws, sent); err != nil {
			return 0, fmt.Errorf("WebSocket, message %d: %w", n, err)
		}
		var got string
		if err := websocket.Message.Receive(ws, &got); err != nil {
			return 0, fmt.Errorf("WebSocket, answer %d after %s: %w", n, time.Since(began).Round(time.Millisecond), err)
		}
		if got != sent {
			return 0, fmt.Errorf("WebSocket: %q was echoed as %q", sent, got)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return 0, ws.Close()
}

// Large are the bytes of a large file: the same each time, and no two blocks alike.
func Large(size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{'l', 'a', 'r', 'g', 'e'}), size)
}

func largeSum(size int64) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, Large(size))
	return hex.EncodeToString(h.Sum(nil)), err
}

// paced reads no faster than rate bytes a second.
type paced struct {
	r     io.Reader
	rate  float64
	ctx   context.Context
	began time.Time
	n     int64
}

func (p *paced) Read(b []byte) (int, error) {
	if p.began.IsZero() {
		p.began = time.Now()
	}
	if early := time.Duration(float64(p.n)/p.rate*float64(time.Second)) - time.Since(p.began); early > 0 {
		select {
		case <-time.After(early):
		case <-p.ctx.Done():
			return 0, context.Cause(p.ctx)
		}
	}
	n, err := p.r.Read(b[:min(len(b), 1<<16)])
	p.n += int64(n)
	return n, err
}

// forgetfulDialer connects to 127.0.0.1, whatever the host.
type forgetfulDialer struct{ net.Dialer }

func (d *forgetfulDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}
