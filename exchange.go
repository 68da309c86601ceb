package evergreen

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-evergreen/evergreen/attacks"
	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/updater/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// An exchange is one request while it is handled: it is the response writer and
// holds the body that handlers see.
//
// It is one allocation per request and deliberately not pooled: handlers and
// proxies are known to read a body, or write, after they returned. With a
// recycled exchange that would reach another client's request.
type exchange struct {
	http.ResponseWriter
	site  *site
	conn  *conn // nil for HTTP/3, or if the connection was not seen
	r     *http.Request
	ctx   context.Context
	start time.Time
	body  body
	q     recorder.Request

	host      string // as the client asked for it
	policy    string // its Strict-Transport-Security header when the header was written
	hasPolicy bool
	path      attacks.Path
	length    int64 // of the body, as announced

	tally   *watch.Tally // of the site's process; nil: nothing is watched
	slot    int          // in it
	tallied bool

	wrote    bool // a final header, even if nobody was there to receive it
	failed   bool // a write failed for a reason of the client's
	head     bool
	asked    bool // to switch to q.Upgrade
	extended bool // by CONNECT
	hijacked bool
	ended    bool
}

// begin starts to measure r; nil if that isn't possible.
func (s *site) begin(r *http.Request) (x *exchange) {
	defer func() {
		if recover() != nil {
			x = nil
		}
	}()
	if s.app.proc.rehearsal.of(r) {
		return nil
	}
	x = &exchange{site: s, r: r, ctx: r.Context(), start: time.Now(), host: r.Host}
	// Handlers may rewrite all of these in place.
	x.q.Protocol = recorder.ProtocolOf(r.ProtoMajor, r.ProtoMinor)
	x.q.Method = r.Method
	x.q.Role = s.role
	if ua := r.Header["User-Agent"]; len(ua) > 0 {
		x.q.UserAgent = ua[0]
	}
	x.head = r.Method == http.MethodHead
	x.path, x.length = asked(r), r.ContentLength
	x.upgradeAsked()
	x.conn, x.q.Family, x.q.Transport = s.connectionOf(r)
	if x.conn != nil {
		x.q.Features = x.conn.features
	}
	if r.Body != nil && r.Body != http.NoBody {
		x.body.ReadCloser = r.Body
		r.Body = &x.body
	}
	if failing("begin a request") != nil {
		return nil
	}
	s.rec.Begin()
	x.watchBegin()
	return x
}

// upgradeAsked looks whether the request asks for another protocol.
func (x *exchange) upgradeAsked() {
	r := x.r
	switch {
	case r.Method == http.MethodConnect:
		token := r.Header.Get(":protocol") // HTTP/2
		if r.ProtoMajor == 3 && !strings.HasPrefix(r.Proto, "HTTP/") {
			token = r.Proto
		}
		if token == "" {
			token = "connect"
		}
		x.asked, x.extended, x.q.Upgrade = true, true, upgradeOf(token)
	case r.ProtoMajor == 1 && len(r.Header["Upgrade"]) > 0:
		x.asked, x.q.Upgrade = true, upgradeOf(r.Header["Upgrade"][0])
	}
}

func upgradeOf(token string) wire.Value {
	for i, name := range wire.Upgrade.Values {
		if i > 0 && strings.EqualFold(name, strings.TrimSpace(token)) {
			return wire.Value(i)
		}
	}
	return wire.Other
}

// header notes the final status when the header is written. A client that was
// gone before gets none.
func (x *exchange) header(status int) {
	if x.wrote {
		return
	}
	x.wrote = true
	x.policy, x.hasPolicy = firstPolicy(x.Header())
	if x.ctx.Err() == nil {
		x.q.Status = status
		x.q.FirstByte = max(time.Since(x.start), 1)
		x.watchAnswer(x.q.FirstByte)
	}
}

// end counts the request after its handler returned.
func (x *exchange) end() { x.count(true) }

// panicking counts a request whose handler panicked with v, and panics on. A
// nil v is runtime.Goexit.
func (x *exchange) panicking(v any) {
	x.q.Panicked = v != nil && v != http.ErrAbortHandler //nolint:errorlint // net/http compares it so
	x.count(false)
	if v != nil {
		panic(v)
	}
}

func (x *exchange) count(returned bool) {
	defer func() { _ = recover() }() // never the request's failure
	if x.ended {
		return
	}
	x.ended = true
	q := &x.q
	q.Duration = time.Since(x.start)
	q.RequestBytes = x.body.n.Load()
	gone := x.ctx.Err() != nil
	switch {
	case x.hijacked && q.Status == 0 && x.asked:
		q.Status = http.StatusSwitchingProtocols // written by the handler itself
		q.FirstByte = q.Duration
	case !x.wrote && !x.hijacked && returned && !gone:
		q.Status = http.StatusOK // as the server writes when nobody did
		q.FirstByte = q.Duration
	}
	q.Upgraded = x.asked && (q.Status == http.StatusSwitchingProtocols && !x.extended || q.Status/100 == 2 && x.extended)
	q.Aborted = !q.Upgraded && (x.failed || gone && !x.complete())
	if x.conn == nil || x.conn.transport == 0 {
		q.Transport = transportOf(x.r.TLS != nil || q.Transport == transportTLS)
	}
	if err := failing("count a request"); err != nil {
		panic(err)
	}
	x.site.rec.Request(q)
	x.watchEnd()
	x.strictTransport()
	x.watched(gone)
	if x.hijacked && x.conn != nil {
		x.conn.close()
	}
}

// complete reports whether the client had got the whole response when it went.
func (x *exchange) complete() bool {
	if x.q.Status == 0 {
		return false
	}
	if x.head || x.q.Status == http.StatusNoContent || x.q.Status == http.StatusNotModified {
		return true
	}
	length, err := strconv.ParseInt(x.Header().Get("Content-Length"), 10, 64)
	return err == nil && x.q.ResponseBytes >= length
}

// wroteBody counts n bytes of the response's body.
func (x *exchange) wroteBody(n int64, err error) {
	if !x.head {
		x.q.ResponseBytes += n
	}
	if err != nil && !errors.Is(err, http.ErrBodyNotAllowed) && !errors.Is(err, http.ErrContentLength) &&
		!errors.Is(err, http.ErrHijacked) && !errors.Is(err, os.ErrDeadlineExceeded) && x.ctx.Err() != nil {
		x.failed = true
	}
}

// writer puts x before w, with the optional interfaces that w has.
func (x *exchange) writer(w http.ResponseWriter) http.ResponseWriter {
	x.ResponseWriter = w
	if _, ok := w.(http.Hijacker); ok {
		return writer1{x}
	}
	if _, ok := w.(http.Pusher); ok {
		return writer2{x}
	}
	if _, ok := w.(http3.HTTPStreamer); ok {
		return writer3{x}
	}
	return x
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		x.header(status)
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(p []byte) (int, error) {
	x.header(http.StatusOK)
	n, err := x.ResponseWriter.Write(p)
	x.wroteBody(int64(n), err)
	return n, err
}

func (x *exchange) WriteString(s string) (int, error) {
	x.header(http.StatusOK)
	n, err := io.WriteString(x.ResponseWriter, s)
	x.wroteBody(int64(n), err)
	return n, err
}

// ReadFrom keeps the server's own, and with it sendfile and splice.
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	rf, ok := x.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{x}, r)
	}
	x.header(http.StatusOK)
	n, err := rf.ReadFrom(r)
	x.wroteBody(n, err)
	return n, err
}

// Flush sends what was written, and the header first.
func (x *exchange) Flush() { _ = x.FlushError() }

// FlushError is Flush for http.ResponseController.
func (x *exchange) FlushError() error {
	x.header(http.StatusOK)
	switch f := x.ResponseWriter.(type) {
	case interface{ FlushError() error }:
		return f.FlushError()
	case http.Flusher:
		f.Flush()
		return nil
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// writer1 is for HTTP/1.
type writer1 struct{ *exchange }

func (w writer1) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := w.ResponseWriter.(http.Hijacker).Hijack()
	if err == nil {
		w.hijacked = true
	}
	return c, rw, err
}

// writer2 is for HTTP/2.
type writer2 struct{ *exchange }

func (w writer2) Push(target string, opts *http.PushOptions) error {
	return w.ResponseWriter.(http.Pusher).Push(target, opts)
}

// writer3 is for HTTP/3.
type writer3 struct{ *exchange }

func (w writer3) HTTPStream() *http3.Stream {
	w.header(http.StatusOK) // it is flushed
	w.hijacked = true
	return w.ResponseWriter.(http3.HTTPStreamer).HTTPStream()
}

func (w writer3) ReceivedSettings() <-chan struct{} {
	if s, ok := w.ResponseWriter.(http3.Settingser); ok {
		return s.ReceivedSettings()
	}
	return nil
}

func (w writer3) Settings() *http3.Settings {
	if s, ok := w.ResponseWriter.(http3.Settingser); ok {
		return s.Settings()
	}
	return nil
}

// body counts what handlers read. A proxy may still read while the request is
// counted.
type body struct {
	io.ReadCloser
	n    atomic.Int64
	wait atomic.Int64 // ns that reading took
}

func (b *body) Read(p []byte) (int, error) {
	start := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.wait.Add(int64(time.Since(start)))
	b.n.Add(int64(n))
	return n, err
}
