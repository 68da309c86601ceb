package evergreen

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/updater/watch"
)

// Where telemetry is off there is no recorder, and no exchange for a request.
// Where updates are installed all the same, what they are judged by is counted
// here, and only that: how many answers of each site slot began how late, how many of
// them with 5xx, and how many handlers panicked. HTTP/3 and handshakes are not
// seen, as that takes modules of ours in the configuration.

// countForUpdates counts where the recorder does not.
func (a *App) countForUpdates() {
	if a.updating == nil || a.updates.Notify != "" {
		return
	}
	err := guard("count for updates", func() error {
		v, err := a.ctx.AppIfConfigured("http")
		if err == nil {
			countAlone(v.(*caddyhttp.App), a.updating.watching.counting)
		}
		return nil // Caddy reports what is wrong with the app
	})
	if err != nil {
		a.log.Warn("an update will be judged by listeners, memory and crashes alone", zap.Error(err))
	}
}

// countAlone has the requests of an http app's servers counted, before they
// start. tally may give nil: then requests only pass.
func countAlone(app *caddyhttp.App, tally func() *watch.Tally) {
	for name, srv := range app.Servers {
		if srv == nil || name == redirectServer {
			continue
		}
		var once sync.Once
		srv.RegisterConnContext(func(ctx context.Context, _ net.Conn) context.Context {
			// Before the server's first connection is served, as outermost.
			once.Do(func() {
				if hs, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok && hs.Handler != nil {
					hs.Handler = &aloneHandler{tally, hs.Handler}
				}
			})
			return ctx
		})
	}
}

type aloneHandler struct {
	tally func() *watch.Tally
	next  http.Handler
}

func (h *aloneHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := h.tally()
	if t == nil {
		h.next.ServeHTTP(w, r)
		return
	}
	a := &aloneAnswer{ResponseWriter: w, tally: t, slot: t.Slot(r.Host), start: time.Now()}
	t.Begin(a.slot)
	returned := false
	defer func() {
		if returned {
			a.begins(http.StatusOK) // as the server writes when nobody did
			return
		}
		v := recover()
		if v != nil && v != http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
			t.Panic(a.slot)
			a.begins(http.StatusInternalServerError)
		}
		a.begins(0)
		if v != nil {
			panic(v)
		}
	}()
	h.next.ServeHTTP(a.writer(), r)
	returned = true
}

// An aloneAnswer is the response writer of one request.
type aloneAnswer struct {
	http.ResponseWriter
	tally *watch.Tally
	slot  int
	start time.Time
	begun bool
}

// begins counts the answer once.
func (a *aloneAnswer) begins(status int) {
	if !a.begun {
		a.begun = true
		a.tally.Answer(a.slot, time.Since(a.start), status)
	}
}

// writer has the optional interfaces that the server's own has.
func (a *aloneAnswer) writer() http.ResponseWriter {
	if _, ok := a.ResponseWriter.(http.Hijacker); ok {
		return alone1{a}
	}
	if _, ok := a.ResponseWriter.(http.Pusher); ok {
		return alone2{a}
	}
	return a
}

// Unwrap is for http.ResponseController.
func (a *aloneAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *aloneAnswer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		a.begins(status)
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *aloneAnswer) Write(p []byte) (int, error) {
	a.begins(http.StatusOK)
	return a.ResponseWriter.Write(p)
}

func (a *aloneAnswer) WriteString(s string) (int, error) {
	a.begins(http.StatusOK)
	return io.WriteString(a.ResponseWriter, s)
}

// ReadFrom keeps the server's own, and with it sendfile and splice.
func (a *aloneAnswer) ReadFrom(r io.Reader) (int64, error) {
	a.begins(http.StatusOK)
	if rf, ok := a.ResponseWriter.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{a.ResponseWriter}, r)
}

// Flush sends what was written, and the header first.
func (a *aloneAnswer) Flush() { _ = a.FlushError() }

// FlushError is Flush for http.ResponseController.
func (a *aloneAnswer) FlushError() error {
	a.begins(http.StatusOK)
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// alone1 is for HTTP/1.
type alone1 struct{ *aloneAnswer }

func (a alone1) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	a.begins(http.StatusSwitchingProtocols)
	return a.ResponseWriter.(http.Hijacker).Hijack()
}

// alone2 is for HTTP/2.
type alone2 struct{ *aloneAnswer }

func (a alone2) Push(target string, opts *http.PushOptions) error {
	return a.ResponseWriter.(http.Pusher).Push(target, opts)
}
