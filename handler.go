package evergreen

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// The places in a server's routes where a Handler stands.
const (
	primary = "primary" // first of the routes
	onError = "error"   // first of the error routes
	last    = "last"    // last of the routes while they are provisioned, see settle
)

// Handler measures what can't be measured around the whole server.
//
// Requests over HTTP/1 and HTTP/2 are counted outermost, around http.Server's
// handler (see outermost), where the status that was sent is seen whatever
// happened inside. There, a Handler only notes the error that the routes
// returned. Caddy gives no such place for HTTP/3, so the Handler counts itself:
// when the routes return an error, Caddy answers after the Handler has
// returned, so the count is made in the error routes, or, where the user has
// none, from the status that Caddy takes from the error. HTTP/3 requests that
// Caddy refuses before any route (an invalid Host, a method of more than 32
// bytes) are not seen.
type Handler struct {
	Phase string `json:"phase,omitempty"`

	site *site // nil: not injected by us, does nothing
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.evergreen", New: func() caddy.Module { return new(Handler) }}
}

// Provision finds the server that the handler is in.
func (h *Handler) Provision(ctx caddy.Context) error {
	a, _ := ctx.Value(appKey{}).(*App)
	srv, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if a == nil || srv == nil {
		return nil
	}
	a.try("provision the handler", "HTTP/3 requests and handler errors are not counted", func() error {
		switch h.Phase {
		case primary, onError:
			h.site = a.siteOf(srv)
		case last:
			return settle(ctx, srv)
		}
		return nil
	})
	return nil
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	switch {
	case h.site == nil:
		return next.ServeHTTP(w, r)
	case r.ProtoMajor < 3 && h.site.outermost.Load():
		err := next.ServeHTTP(w, r)
		if h.Phase == primary {
			h.outcome(measuredBy(w), r, err)
		}
		return err
	case h.Phase == primary:
		return h.measure(h.site.begin(r), w, r, next)
	}
	// In the error routes: go on with the request that failed in the routes, or
	// begin with one that Caddy refused before them.
	x, _ := caddyhttp.GetVar(r.Context(), pendingVar).(*exchange)
	if x == nil {
		x = h.site.begin(r)
		if err, ok := r.Context().Value(caddyhttp.ErrorCtxKey).(error); ok && x != nil {
			x.q.HandlerError = statusOf(err)
		}
	}
	return h.measure(x, w, r, next)
}

// pendingVar holds, among a request's variables, the exchange whose answer the
// error routes write.
const pendingVar = "evergreen.pending"

func (h *Handler) measure(x *exchange, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if x == nil {
		return next.ServeHTTP(w, r)
	}
	returned := false
	defer func() {
		if !returned {
			x.panicking(recover())
		}
	}()
	err := next.ServeHTTP(x.writer(w), r)
	returned = true
	if h.Phase == primary {
		h.outcome(x, r, err)
	}
	switch {
	case err == nil:
		x.end()
	case h.Phase == primary && h.site.errorRoutes:
		caddyhttp.SetVar(r.Context(), pendingVar, x)
	case h.Phase == primary:
		x.header(x.q.HandlerError)
		x.end()
	default:
		// Caddy answers with the status of the first error.
		x.header(x.q.HandlerError)
		x.end()
	}
	return err
}

// statusOf is the status that Caddy answers with for an error, see caddyhttp's
// errLogValues.
func statusOf(err error) int {
	var he caddyhttp.HandlerError
	if errors.As(err, &he) {
		return he.StatusCode
	}
	return http.StatusInternalServerError
}

// outcome notes what the routes returned, and counts what went wrong in them. x
// is nil if the request isn't measured.
func (h *Handler) outcome(x *exchange, r *http.Request, err error) {
	switch {
	case x == nil && h.site.app.proc.rehearsal.of(r):
	case err != nil:
		if x != nil {
			x.q.HandlerError = statusOf(err)
		}
		handlerFailed(h.site.rec, err)
	case x != nil:
		answered(h.site.rec, x.q.Status, r)
	}
}

// measuredBy finds the exchange that is measured further out, or nil. Caddy may
// have put writers of its own around ours.
func measuredBy(w http.ResponseWriter) *exchange {
	for range 16 {
		switch v := w.(type) {
		case writer2: // each by its type: an assertion to an interface takes longer
			return v.exchange
		case writer1:
			return v.exchange
		case writer3:
			return v.exchange
		case *exchange:
			return v
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return nil
		}
	}
	return nil
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
