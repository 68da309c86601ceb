package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-evergreen/evergreen/nearest"
	"github.com/caddy-evergreen/evergreen/server/answer"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A fault is an error that is the asker's to mend, so that the asker is told.
type fault struct {
	status int
	title  string
	Detail string // shown by message.html
}

func (f *fault) Error() string { return f.title + ": " + f.Detail }

// Problem is what the asker is told, where another package answers.
func (f *fault) Problem() wire.Problem {
	return wire.Problem{Title: f.title, Status: f.status, Detail: f.Detail}
}

func badParameter(format string, args ...any) error {
	return &fault{http.StatusBadRequest, "a parameter is not understood", fmt.Sprintf(format, args...)}
}

func tooMuch(format string, args ...any) error {
	return &fault{http.StatusBadRequest, "this asks for too much at once", fmt.Sprintf(format, args...)}
}

// fail is the one place where errors become responses. Causes that are not
// the asker's stay in the log.
func (d *Dashboard) fail(w http.ResponseWriter, r *http.Request, rt route, err error) {
	f, ok := faultOf(err)
	switch {
	case ok:
	case r.Context().Err() != nil:
		return // nobody is listening
	case errors.Is(err, context.DeadlineExceeded):
		d.cfg.Logger.Warn("a query took too long", "path", r.URL.Path, "err", err)
		f = &fault{http.StatusServiceUnavailable, "the answer took too long", "Choose a shorter range or a coarser grain, or try again in a minute."}
	default:
		d.cfg.Logger.Error("answering a request", "path", rt.path, "err", err)
		f = &fault{http.StatusInternalServerError, "something went wrong here", "The cause is in the server's log. Try again in a minute."}
	}
	if f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "60")
	}
	w.Header().Del("ETag")
	if !rt.private {
		w.Header().Set("Cache-Control", "no-store")
	}
	if !rt.api {
		d.message(w, r, f)
		return
	}
	answer.JSON(w, wire.TypeProblem, f.status, wire.Problem{Title: f.title, Status: f.status, Detail: f.Detail})
}

// faultOf is what an asker is told of an error that is the asker's to mend.
func faultOf(err error) (f *fault, ok bool) {
	var told interface{ Problem() wire.Problem } // by another package
	switch {
	case errors.As(err, &f):
		return f, true
	case errors.As(err, &told):
		p := told.Problem()
		return &fault{p.Status, p.Title, p.Detail}, true
	case errors.Is(err, wire.ErrExpired):
		return &fault{http.StatusGone, "this link has expired", "Links to an instance's page are good for a limited time. Run `caddy evergreen link` on the server to make a new one."}, true
	case errors.Is(err, wire.ErrSignature):
		return &fault{http.StatusForbidden, "this link is not valid", "The page of an instance opens only with the complete link that `caddy evergreen link` prints on the server itself. Was it cut off while it was copied?"}, true
	}
	return nil, false
}

// missing answers what no route does.
func (d *Dashboard) missing(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodOptions && (strings.HasPrefix(r.URL.Path, "/api/v1/") || r.URL.Path == "/live") {
		preflight(w)
		return nil
	}
	var paths []string
	known := http.NewServeMux()
	for _, rt := range d.routes {
		known.Handle(rt.path, http.NotFoundHandler())
		paths = append(paths, strings.TrimSuffix(rt.path, "{$}"))
	}
	if _, pattern := known.Handler(r); pattern != "" && r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return &fault{http.StatusMethodNotAllowed, "this is only to be read", fmt.Sprintf("%.80q is asked for with GET, not %.20s.", r.URL.Path, r.Method)}
	}
	return &fault{http.StatusNotFound, "there is nothing here",
		fmt.Sprintf("%.80q does not exist.%s", r.URL.Path, guess(r.URL.Path, paths))}
}

// guess is a question for the known name that s may have been meant to be, or
// empty. It begins with a space.
func guess(s string, known []string) string {
	name := nearest.Name(s, known)
	for _, k := range known {
		if name == "" && len(s) > 1 && strings.HasPrefix(k, strings.ToLower(s)) {
			name = k
		}
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" Did you mean %q?", name)
}

// oneOf joins names for a message, at most a dozen of them.
func oneOf(names []string) string {
	if len(names) > 12 {
		return strings.Join(names[:12], ", ") + fmt.Sprintf(" … (%d in all, see /dictionary)", len(names))
	}
	return strings.Join(slices.Clone(names), ", ")
}
