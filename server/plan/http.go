package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/caddy-evergreen/evergreen/server/answer"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Limits of what is asked over HTTP.
const (
	maxBody   = 1 << 20
	auditTime = 30 * time.Second
	// maxAudits is how many are made at once: one that asks for modules nobody
	// asked for before waits for a module proxy.
	maxAudits = 8
)

// API answers audits over HTTP.
type API struct {
	planner *Planner
	maxAge  time.Duration
	now     func() time.Time
	log     *slog.Logger
	slots   chan struct{}
}

// NewAPI makes an API. maxAge is how old a database may be and still call
// something clean, DefaultMaxAge if it is 0; now is time.Now if it is nil, log
// slog.Default().
func NewAPI(p *Planner, maxAge time.Duration, now func() time.Time, log *slog.Logger) *API {
	if maxAge == 0 {
		maxAge = DefaultMaxAge
	}
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.Default()
	}
	return &API{p, maxAge, now, log, make(chan struct{}, maxAudits)}
}

// Register adds the API's routes: POST /api/v1/audit with a wire.Check or a
// wire.BuildList, which answers an Audit.
func (a *API) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+wire.PathAudit, a.audit)
}

func (a *API) audit(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		a.fail(w, http.StatusRequestEntityTooLarge, "the request is too long", fmt.Sprintf("A build list has at most %d bytes.", maxBody))
		return
	}
	c, err := ParseCheck(body)
	if err != nil {
		a.fail(w, http.StatusBadRequest, "the build list is not understood", err.Error())
		return
	}
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		w.Header().Set("Retry-After", "5")
		a.fail(w, http.StatusServiceUnavailable, "too many audits at once", "Try again in a few seconds.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), auditTime)
	defer cancel()
	found, err := a.planner.Audit(ctx, c, nil, a.now(), a.maxAge)
	switch {
	case r.Context().Err() != nil:
		return // nobody is listening
	case errors.Is(err, context.DeadlineExceeded):
		w.Header().Set("Retry-After", "30")
		a.fail(w, http.StatusServiceUnavailable, "the audit took too long", "The modules' go.mod files are being fetched. Try again in a minute.")
		return
	case err != nil:
		a.fail(w, http.StatusBadRequest, "the build list is not understood", err.Error())
		return
	}
	if found.PlanError != "" {
		a.log.Info("an audit without a plan", "err", found.PlanError)
	}
	answer.JSON(w, wire.TypeJSON, http.StatusOK, found)
}

func (a *API) fail(w http.ResponseWriter, status int, title, detail string) {
	answer.Problem(w, wire.Problem{Title: title, Status: status, Detail: detail})
}

// ParseCheck reads a wire.Check, or a wire.BuildList alone, from JSON. Unknown
// names are refused.
func ParseCheck(b []byte) (wire.Check, error) {
	var which struct {
		Build json.RawMessage `json:"build"`
	}
	if err := json.Unmarshal(b, &which); err != nil {
		return wire.Check{}, fmt.Errorf("it is no JSON object: %w", err)
	}
	var c wire.Check
	into := any(&c.Build)
	if which.Build != nil {
		into = &c
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return wire.Check{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return wire.Check{}, errors.New("there is something after its end")
	}
	if len(c.Build.Modules) > wire.MaxModules {
		return wire.Check{}, fmt.Errorf("there are %d modules: at most %d are taken", len(c.Build.Modules), wire.MaxModules)
	}
	c.Build.Sort()
	return c, nil
}
