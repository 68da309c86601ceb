package release

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-evergreen/evergreen/server/answer"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A fault is an error that is the asker's to mend, so that the asker is told.
type fault struct {
	status        int
	title, detail string
}

func (f *fault) Error() string { return f.title + ": " + f.detail }

// Problem is what the asker is told.
func (f *fault) Problem() wire.Problem {
	return wire.Problem{Title: f.title, Status: f.status, Detail: f.detail}
}

func invalid(err error) error {
	return &fault{http.StatusUnprocessableEntity, "this is not understood", err.Error()}
}

func missing(format string, args ...any) error {
	return &fault{http.StatusNotFound, "there is nothing here", fmt.Sprintf(format, args...)}
}

func (c *change) forbidden(role Role, path string) error {
	of := path
	if path == AllPaths {
		of = "all modules"
	}
	return &fault{http.StatusForbidden, "you may not do this", fmt.Sprintf("%q is no %s of %s.", c.who.name, role, of)}
}

// fail is the one place where errors become responses. Causes that are not
// the asker's stay in the log.
func (s *Service) fail(w http.ResponseWriter, r *http.Request, err error) {
	var f *fault
	if !errors.As(err, &f) {
		if r.Context().Err() != nil {
			return // nobody is listening
		}
		s.cfg.Logger.Error("answering a request", "path", r.URL.Path, "err", err)
		f = &fault{http.StatusServiceUnavailable, "something went wrong here", "The cause is in the server's log. Try again in a minute."}
		w.Header().Set("Retry-After", "60")
	}
	answer.Problem(w, f.Problem())
}

func dateOf(t time.Time) string {
	if t.IsZero() {
		return "no date"
	}
	return t.Format(time.DateOnly)
}
