package updates

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-evergreen/evergreen/server/answer"
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

// A limited check is of a sender that asks too much.
type limited time.Duration

func (l limited) Error() string { return "too many checks from this address" }

func (u *Updates) check(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	outcome, err := u.serve(w, r)
	if err != nil {
		outcome = u.fail(w, r, err)
	}
	u.m.checks.WithLabelValues(outcome).Inc()
	u.m.duration.Observe(time.Since(began).Seconds())
}

func (u *Updates) serve(w http.ResponseWriter, r *http.Request) (outcome string, err error) {
	if u.cfg.Limit != nil {
		if wait := u.cfg.Limit(r); wait > 0 {
			return "", limited(wait)
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxBody))
	if err != nil {
		return "", bad{fmt.Errorf("the check can't be read, or is over %d bytes: %w", wire.MaxBody, err)}
	}
	var id wire.InstanceID // of who has none: no rollout reaches it before all
	if h := r.Header.Get(wire.HeaderInstance); h != "" {
		if id, err = wire.ParseInstanceID(h); err != nil {
			return "", bad{err}
		}
	}
	held := u.cfg.Held(id)
	q, generation, now := questionOf(body, held), u.cfg.Generation(), time.Now()
	e, from := u.answers.get(q, generation, now), "memory"
	if e == nil {
		var first bool
		e, first, err = u.answers.once(r.Context(), q, generation, u.wait, func(ctx context.Context) (*encoded, error) {
			return u.make(ctx, q, generation, body, held)
		})
		if err != nil {
			return "", err
		}
		if from = "another"; first {
			from = "made"
		}
	}
	u.m.memory.WithLabelValues(from).Inc()
	h := w.Header()
	h.Set("ETag", e.etag)
	h.Set("Cache-Control", "no-cache")
	h.Set("Retry-After", strconv.FormatInt(int64(jitter(e.retry)/time.Second), 10))
	if e.status == http.StatusOK && r.Header.Get("If-None-Match") == e.etag {
		w.WriteHeader(http.StatusNotModified)
		return outcomeUnchanged, nil
	}
	h.Set("Content-Type", wire.TypeJSON)
	h.Set("Content-Length", strconv.Itoa(len(e.body)))
	w.WriteHeader(e.status)
	w.Write(e.body)
	return e.outcome, nil
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
	e, err := encode(q, generation, a, time.Now())
	if err == nil && a.Target != nil && c.SHA256 != "" && !slices.ContainsFunc(a.Target.Files, func(f wire.TargetFile) bool { return f.From == c.SHA256 }) {
		e.good = time.Now().Add(deltaGood) // a patch may come
	}
	return e, err
}

// jitter spreads askers over a tenth of a time, so that a fleet that was started
// at once doesn't ask at once for ever.
func jitter(d time.Duration) time.Duration {
	return d - d/20 + rand.N(max(d/10, 1))
}

// fail tells why a check was not answered, and with which outcome that counts.
func (u *Updates) fail(w http.ResponseWriter, r *http.Request, err error) (outcome string) {
	var b bad
	var l limited
	outcome = outcomeError
	p := wire.Problem{Status: http.StatusInternalServerError, Title: "the check could not be answered", Detail: "The cause is in the server's log. Ask again later."}
	retry := func(after time.Duration) {
		w.Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(after.Seconds())), 10))
	}
	switch {
	case errors.As(err, &b):
		outcome = outcomeRefused
		p = wire.Problem{Status: http.StatusBadRequest, Title: "the check is refused", Detail: err.Error()}
	case r.Context().Err() != nil:
		return outcomeHungUp // nobody is listening
	case errors.As(err, &l):
		outcome = outcomeLimited
		p = wire.Problem{Status: http.StatusTooManyRequests, Title: "too many checks from this address", Detail: "Ask again when Retry-After says."}
		retry(time.Duration(l))
	case errors.Is(err, errPlanning):
		outcome = outcomePlanning
		p = wire.Problem{Status: http.StatusServiceUnavailable, Title: "the plan is being made", Detail: "Nobody asked for this build before. Ask again when Retry-After says."}
		retry(jitter(buildRetry))
	case errors.Is(err, errBusy), errors.Is(err, context.DeadlineExceeded):
		outcome = outcomeBusy
		p = wire.Problem{Status: http.StatusServiceUnavailable, Title: "the service is busy", Detail: "Ask again when Retry-After says."}
		retry(jitter(2 * time.Minute))
	default:
		u.cfg.Logger.Error("a check could not be answered", "error", err)
	}
	answer.Problem(w, p)
	return outcome
}
