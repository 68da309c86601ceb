package updates

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A plan that nobody asked for before may have to fetch hundreds of go.mod
// files: who asks waits for waitTime, and finds the answer when asking again,
// since planning goes on for planTime.
const (
	waitTime = 20 * time.Second
	planTime = 10 * time.Minute
)

var (
	errBusy     = errors.New("too many new checks at once")
	errPlanning = errors.New("the plan is being made")
)

// A bad check is the asker's to mend.
type bad struct{ error }

func (u *Updates) check(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxBody))
	if err != nil {
		u.fail(w, r, bad{fmt.Errorf("the check can't be read, or is over %d bytes: %w", wire.MaxBody, err)})
		return
	}
	var held []Held
	if h := r.Header.Get(wire.HeaderInstance); h != "" {
		id, err := wire.ParseInstanceID(h)
		if err != nil {
			u.fail(w, r, bad{err})
			return
		}
		held = u.cfg.Held(id)
	}
	q, generation, now := questionOf(body, held), u.cfg.Generation(), time.Now()
	e := u.answers.get(q, generation, now)
	if e == nil {
		if e, err = u.answers.once(r.Context(), q, u.wait, func(ctx context.Context) (*encoded, error) {
			return u.make(ctx, q, generation, body, held)
		}); err != nil {
			u.fail(w, r, err)
			return
		}
	}
	h := w.Header()
	h.Set("ETag", e.etag)
	h.Set("Cache-Control", "no-cache")
	h.Set("Retry-After", strconv.FormatInt(int64(jitter(e.retry)/time.Second), 10))
	if e.status == http.StatusOK && r.Header.Get("If-None-Match") == e.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", wire.TypeJSON)
	h.Set("Content-Length", strconv.Itoa(len(e.body)))
	w.WriteHeader(e.status)
	w.Write(e.body)
}

// make reads and answers a check that is not in memory.
func (u *Updates) make(ctx context.Context, q question, generation string, body []byte, held []Held) (*encoded, error) {
	c, err := wire.ParseCheck(body)
	if err != nil {
		return nil, bad{err}
	}
	select {
	case u.waiting <- struct{}{}:
		defer func() { <-u.waiting }()
	default:
		return nil, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, planTime)
	defer cancel()
	select {
	case u.turns <- struct{}{}:
		defer func() { <-u.turns }()
	case <-ctx.Done():
		return nil, errBusy
	}
	a, err := u.answer(ctx, c, held)
	if err != nil {
		return nil, err
	}
	return encode(q, generation, a, time.Now())
}

// jitter spreads askers over a tenth of a time, so that a fleet that was started
// at once doesn't ask at once for ever.
func jitter(d time.Duration) time.Duration {
	return d - d/20 + rand.N(max(d/10, 1))
}

func (u *Updates) fail(w http.ResponseWriter, r *http.Request, err error) {
	var b bad
	p := wire.Problem{Status: http.StatusInternalServerError, Title: "the check could not be answered", Detail: "The cause is in the server's log. Ask again later."}
	switch {
	case errors.As(err, &b):
		p = wire.Problem{Status: http.StatusBadRequest, Title: "the check is refused", Detail: err.Error()}
	case r.Context().Err() != nil:
		return // nobody is listening
	case errors.Is(err, errPlanning):
		p = wire.Problem{Status: http.StatusServiceUnavailable, Title: "the plan is being made", Detail: "Nobody asked for this build before. Ask again when Retry-After says."}
		w.Header().Set("Retry-After", strconv.FormatInt(int64(jitter(buildRetry)/time.Second), 10))
	case errors.Is(err, errBusy), errors.Is(err, context.DeadlineExceeded):
		p = wire.Problem{Status: http.StatusServiceUnavailable, Title: "the service is busy", Detail: "Ask again when Retry-After says."}
		w.Header().Set("Retry-After", strconv.FormatInt(int64(jitter(2*time.Minute)/time.Second), 10))
	default:
		u.cfg.Logger.Error("a check could not be answered", "error", err)
	}
	b2, err := json.Marshal(p)
	if err != nil {
		u.cfg.Logger.Error("encoding a problem", "error", err)
		return
	}
	w.Header().Set("Content-Type", wire.TypeProblem)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	w.Write(append(b2, '\n'))
}
