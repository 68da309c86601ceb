package collect

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
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
func serveOnPipe(t *testing.T, c *Collector, f func(conn net.Conn)) {
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	s := &http.Server{Handler: c}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	client, server := net.Pipe()
	l.conns <- server
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
		serveOnPipe(t, c, func(conn net.Conn) {
			start := time.Now()
			body := compress(t, encode(t, report()))
			go func() { // a byte a second; ends when the server closes
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
		})
	})
}

// slowLog takes longer than a body may.
type slowLog struct{ memory }

func (l *slowLog) Append(ctx context.Context, r ingestlog.Record) error {
	select {
	case <-time.After(time.Minute):
		return l.memory.Append(ctx, r)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestSlowLogIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &slowLog{}
		serveOnPipe(t, newCollector(t, log), func(conn net.Conn) {
			body := compress(t, encode(t, report()))
			if _, err := io.WriteString(conn, head(t, body)+string(body)); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != 200 || log.len() != 1 {
				t.Errorf("%s, %d stored", res.Status, log.len())
			}
		})
	})
}

// A sender that hangs up while the log is busy is not acknowledged, and no
// error is made of it.
func TestSenderHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &slowLog{}
		c := newCollector(t, log)
		serveOnPipe(t, c, func(conn net.Conn) {
			body := compress(t, encode(t, report()))
			if _, err := io.WriteString(conn, head(t, body)+string(body)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			conn.Close()
			synctest.Wait()
			if log.len() != 0 || c.health.failed {
				t.Errorf("%d stored, failed: %t", log.len(), c.health.failed)
			}
		})
	})
}
