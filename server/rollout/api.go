package rollout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/caddy-evergreen/evergreen/server/answer"
	"github.com/caddy-evergreen/evergreen/wire"
)

// An API is the rollouts over HTTP.
//
//	GET  /api/v1/rollouts        all of them, the newest first
//	GET  /api/v1/rollouts/{id}   one, with its history
//	POST /api/v1/rollouts        a Creation: begin one
//	POST /api/v1/rollouts/{id}   a Step: ramp, pause, resume, stop
type API struct {
	Rollouts *Rollouts
	// Authorize answers who makes a change, if they may do it for the module at
	// path. Its error may have a method Problem() wire.Problem.
	Authorize func(r *http.Request, body []byte, path string) (by string, err error)
	Logger    *slog.Logger
}

// A Creation begins a rollout.
type Creation struct {
	Path    string  `json:"path"`
	Version string  `json:"version"`
	Share   float64 `json:"share"`
	Why     string  `json:"why,omitempty"`
}

// A Step changes a rollout.
type Step struct {
	Do    string  `json:"do"` // "ramp", "pause", "resume", "stop"
	Share float64 `json:"share,omitempty"`
	Why   string  `json:"why,omitempty"`
}

// Listing answers GET /api/v1/rollouts.
type Listing struct {
	Rollouts []Rollout `json:"rollouts"`
}

const maxBody = 16 << 10

// Register adds the API's paths to mux.
func (a *API) Register(mux *http.ServeMux) {
	handle := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			v, err := f(r)
			if err != nil {
				a.fail(w, r, err)
				return
			}
			answer.JSON(w, wire.TypeJSON, http.StatusOK, v)
		})
	}
	handle("GET "+wire.PathRollouts, func(r *http.Request) (any, error) {
		all, err := a.Rollouts.List(r.Context())
		if all == nil {
			all = []Rollout{}
		}
		return Listing{all}, err
	})
	handle("GET "+wire.PathRollouts+"/{id}", func(r *http.Request) (any, error) { return a.Rollouts.Get(r.Context(), r.PathValue("id")) })
	handle("POST "+wire.PathRollouts, a.create)
	handle("POST "+wire.PathRollouts+"/{id}", a.step)
}

func (a *API) create(r *http.Request) (any, error) {
	var c Creation
	body, err := read(r, &c)
	if err != nil {
		return nil, err
	}
	by, err := a.Authorize(r, body, c.Path)
	if err != nil {
		return nil, err
	}
	return a.Rollouts.Create(r.Context(), c.Path, c.Version, c.Share, by, c.Why)
}

func (a *API) step(r *http.Request) (any, error) {
	var s Step
	body, err := read(r, &s)
	if err != nil {
		return nil, err
	}
	ctx, id := r.Context(), r.PathValue("id")
	o, err := a.Rollouts.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	by, err := a.Authorize(r, body, o.Path)
	if err != nil {
		return nil, err
	}
	switch s.Do {
	case "ramp":
		return a.Rollouts.Ramp(ctx, id, s.Share, by, s.Why)
	case "pause":
		return a.Rollouts.Pause(ctx, id, by, s.Why)
	case "resume":
		return a.Rollouts.Resume(ctx, id, by, s.Why)
	case "stop":
		return a.Rollouts.Stop(ctx, id, by, s.Why)
	}
	return nil, refused("do is %.40q: it is ramp, pause, resume or stop", s.Do)
}

func read(r *http.Request, into any) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, refused("the body can't be read, or is over %d bytes", maxBody)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return nil, refused("the body is not understood: %v", err)
	}
	return body, nil
}

func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	var no *Refused
	var told interface{ Problem() wire.Problem }
	p := wire.Problem{Status: http.StatusServiceUnavailable, Title: "something went wrong here", Detail: "The cause is in the server's log. Try again in a minute."}
	switch {
	case errors.As(err, &told):
		p = told.Problem()
	case errors.As(err, &no):
		p = wire.Problem{Status: http.StatusUnprocessableEntity, Title: "this is refused", Detail: err.Error()}
	case errors.Is(err, ErrUnknown):
		p = wire.Problem{Status: http.StatusNotFound, Title: "there is nothing here", Detail: fmt.Sprintf("%v.", err)}
	case r.Context().Err() != nil:
		return // nobody is listening
	default:
		a.Logger.Error("answering a request", "path", r.URL.Path, "error", err)
	}
	answer.Problem(w, p)
}
