package collect

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/wire"
)

// pipes is a listener whose connections are pipes, so that time can be false.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// serveOnPipe runs f with a connection to a real HTTP server on c.
func serveOnPipe(t *testing.T, c *Collector, wrap func(net.Conn) net.Conn, f func(client net.Conn)) {
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	s := &http.Server{Handler: c}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	client, server := net.Pipe()
	l.conns <- wrap(server)
	f(client)
	client.Close()
	s.Close()
	<-done
}

func head(t *testing.T, body []byte) string {
	r := postReport(newKey(t), body)
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", wire.PathReports, len(body))
	for name := range r.Header {
		fmt.Fprintf(&b, "%s: %s\r\n", name, r.Header.Get(name))
	}
	return b.String() + "\r\n"
}

func TestSlowBodyIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCollector(t, &memory{})
		same := func(c net.Conn) net.Conn { return c }
		serveOnPipe(t, c, same, func(conn net.Conn) {
			start := time.Now()
			body := compress(t, encode(t, report()))
			written := make(chan struct{})
			go func() { // a byte a second, until the connection is closed
				defer close(written)
				if _, err := io.WriteString(conn, head(t, body)); err != nil {
					return
				}
				for _, b := range body {
					time.Sleep(time.Second)
					if _, err := conn.Write([]byte{b}); err != nil {
						return
					}
				}
			}()
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			problem(t, res, http.StatusRequestTimeout, "10s")
			if took := time.Since(start); took != 10*time.Second || !res.Close {
				t.Errorf("answered after %s, connection closed: %t", took, res.Close)
			}
			conn.Close()
			<-written
		})
	})
}

// watched remembers the deadline that a connection's reads have.
type watched struct {
	net.Conn
	mu   sync.Mutex
	read time.Time
	set  int // how often it was not zero
}

func (w *watched) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read = t
	if !t.IsZero() {
		w.set++
	}
	return w.Conn.SetReadDeadline(t)
}

// logFunc is an Appender that does as the test says. These tests are not in a
// bubble of false time, since package ingestlog shares its decoders, whose
// channels may not leave one.
type logFunc func(ctx context.Context) error

func (f logFunc) Append(ctx context.Context, _ ingestlog.Record) error { return f(ctx) }

// The time that a body has must not run while the log is waited for: net/http
// would take its end for the sender's hanging up.
func TestSlowLogIsWaitedFor(t *testing.T) {
	var conn *watched
	log := logFunc(func(context.Context) error {
		conn.mu.Lock()
		defer conn.mu.Unlock()
		if conn.set == 0 || !conn.read.IsZero() {
			t.Errorf("while appending, reads end at %v, set %d times", conn.read, conn.set)
		}
		return nil
	})
	wrap := func(c net.Conn) net.Conn { conn = &watched{Conn: c}; return conn }
	serveOnPipe(t, newCollector(t, log), wrap, func(client net.Conn) {
		body := compress(t, encode(t, report()))
		if _, err := io.WriteString(client, head(t, body)+string(body)); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != 200 {
			t.Error(res.Status)
		}
	})
}

// A sender that hangs up while the log is busy is not acknowledged, and it is
// not taken for the log's failure.
func TestSenderHangsUp(t *testing.T) {
	appending, done := make(chan struct{}), make(chan struct{})
	c := newCollector(t, logFunc(func(ctx context.Context) error {
		close(appending)
		<-ctx.Done()
		close(done)
		return ctx.Err()
	}), func(cfg *Config) { cfg.Limits.InFlight = 1 })
	same := func(c net.Conn) net.Conn { return c }
	serveOnPipe(t, c, same, func(client net.Conn) {
		body := compress(t, encode(t, report()))
		if _, err := io.WriteString(client, head(t, body)+string(body)); err != nil {
			t.Fatal(err)
		}
		<-appending
		client.Close()
		<-done
	})
	// The handler may still be on its way out; its slot is the last thing it gives back.
	c.inFlight <- struct{}{}
	c.health.mu.Lock()
	defer c.health.mu.Unlock()
	if c.health.failed {
		t.Error("it is taken for the log's failure")
	}
}
