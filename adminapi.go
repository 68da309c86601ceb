package evergreen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-evergreen/evergreen/nearest"
	"github.com/caddy-evergreen/evergreen/reporter"
	"github.com/caddy-evergreen/evergreen/wire"
)

// apiBase is where the routes below are in Caddy's admin API.
const apiBase = "/evergreen/"

// instance is what the admin API asks of the process-wide half of the app.
type instance interface {
	Status() Status
	NextReport() *wire.Report // what would be sent if a report were made now; nil: not to be had
	History() []reporter.Send // newest first
	Link(ttl time.Duration) (url string, expires time.Time, err error)
	ResetIdentity() error
	Forget(ctx context.Context) error
}

// Status is how telemetry is doing in this process.
type Status struct {
	Version    string   // of this module
	Telemetry  string   // "on" or "off"
	Reason     string   // why it is off
	Fallbacks  []string // steps that were not possible, and so what is not seen
	MetricsOff []string // switched off by name or prefix, as configured
	Label      string   // of the deployment, as configured
	Window     time.Duration
	Reporter   reporter.Status
}

// statusDocument is a Status as GET /evergreen/status answers: times as RFC 3339,
// durations in seconds.
type statusDocument struct {
	Version        string         `json:"version"`
	CaddyVersion   string         `json:"caddy_version"`
	Telemetry      string         `json:"telemetry"`
	Reason         string         `json:"reason,omitempty"`
	Instance       string         `json:"instance,omitempty"`
	Endpoint       string         `json:"endpoint,omitempty"`
	State          string         `json:"state,omitempty"`
	FirstSend      time.Time      `json:"first_send,omitzero"`
	NextSend       time.Time      `json:"next_send,omitzero"`
	LastSend       *reporter.Send `json:"last_send,omitempty"`
	LastError      string         `json:"last_error,omitempty"`
	NextNumber     uint64         `json:"next_number"`
	StoredThrough  uint64         `json:"stored_through"`
	SpoolReports   int            `json:"spool_reports"`
	SpoolBytes     int64          `json:"spool_bytes"`
	DroppedReports uint64         `json:"dropped_reports"`
	DroppedWindows uint64         `json:"dropped_windows"`
	MemoryOnly     bool           `json:"memory_only"`
	Window         float64        `json:"window_seconds"`
	ReportEvery    float64        `json:"report_every_seconds"`
	Fallbacks      []string       `json:"fallbacks"`
	MetricsOff     []string       `json:"metrics_off"`
	Label          string         `json:"label,omitempty"`
	// Updates is as GET /evergreen/updates answers.
	Updates updatesDocument `json:"updates"`
}

// linkDocument is the answer of POST /evergreen/link.
type linkDocument struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// doneDocument answers the requests that change something.
type doneDocument struct {
	Done string `json:"done"`
	// Instance is the id from now on; empty until there is one.
	Instance string `json:"instance,omitempty"`
}

// The bounds of a link's life, and what it is if nothing else was asked for.
const (
	defaultLinkTTL = 24 * time.Hour
	minLinkTTL     = time.Minute
	maxLinkTTL     = wire.MaxLinkAge - time.Hour // less what clocks may differ
)

// maxRequest is more than any request to these routes needs.
const maxRequest = 4 << 10

// adminAPI answers for the instance that current finds, and for what updates
// says is there of updates.
type adminAPI struct {
	current func() (instance, bool)
	updates func() updatesInstance
}

// routes are those of admin.api.evergreen.
func routes() []caddy.AdminRoute {
	return adminAPI{currentInstance, currentUpdatesInstance}.routes()
}

// handler answers a request with what in is.
type handler func(in instance, w http.ResponseWriter, r *http.Request) error

func (a adminAPI) routes() []caddy.AdminRoute {
	table := []struct {
		name, method string
		handle       handler
	}{
		{"status", http.MethodGet, a.status},
		{"report", http.MethodGet, a.report},
		{"history", http.MethodGet, a.history},
		{"link", http.MethodPost, a.link},
		{"reset-identity", http.MethodPost, a.resetIdentity},
		{"forget", http.MethodPost, a.forget},
		{"updates", http.MethodGet, a.updatesStatus},
		{"build", http.MethodGet, a.build},
		{"apply", http.MethodPost, a.apply},
		{"rollback", http.MethodPost, a.rollback},
		{"pause", http.MethodPost, a.pause},
		{"resume", http.MethodPost, a.resume},
	}
	var rs []caddy.AdminRoute
	var names []string
	for _, e := range table {
		names = append(names, e.name)
		rs = append(rs, caddy.AdminRoute{
			Pattern: apiBase + e.name,
			Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				if r.Method != e.method && !(r.Method == http.MethodHead && e.method == http.MethodGet) {
					w.Header().Set("Allow", e.method)
					return failure(http.StatusMethodNotAllowed, "%s%s takes %s, not %.20q", apiBase, e.name, e.method, r.Method)
				}
				in, ok := a.current()
				if !ok {
					return failure(http.StatusServiceUnavailable, "evergreen is compiled in but has not started: Caddy's log says why")
				}
				return e.handle(in, w, r)
			}),
		})
	}
	return append(rs, caddy.AdminRoute{
		Pattern: apiBase,
		Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			name := strings.Trim(strings.TrimPrefix(r.URL.Path, apiBase), "/")
			return failure(http.StatusNotFound, "there is no %s%.40s%s", apiBase, name, nearest.Hint(name, names))
		}),
	})
}

func (a adminAPI) status(in instance, w http.ResponseWriter, _ *http.Request) error {
	d := document(in.Status(), in.History())
	d.Updates = a.updates().Document()
	return answer(w, d)
}

func document(s Status, history []reporter.Send) statusDocument {
	_, caddyVersion := caddy.Version()
	caddyVersion, _, _ = strings.Cut(caddyVersion, " ")
	d := statusDocument{
		Version: s.Version, CaddyVersion: caddyVersion, Telemetry: s.Telemetry, Reason: s.Reason,
		Instance: s.Reporter.Instance, Endpoint: s.Reporter.Endpoint, State: s.Reporter.State,
		FirstSend: utc(s.Reporter.FirstSend), NextSend: utc(s.Reporter.NextSend),
		LastError: s.Reporter.LastError, NextNumber: s.Reporter.NextNumber, StoredThrough: s.Reporter.StoredThrough,
		SpoolReports: s.Reporter.SpoolReports, SpoolBytes: s.Reporter.SpoolBytes,
		DroppedReports: s.Reporter.DroppedReports, DroppedWindows: s.Reporter.DroppedWindows, MemoryOnly: s.Reporter.MemoryOnly,
		Window: s.Window.Seconds(), ReportEvery: s.Reporter.ReportEvery.Seconds(),
		Fallbacks: notNil(s.Fallbacks), MetricsOff: notNil(s.MetricsOff), Label: s.Label,
	}
	if len(history) > 0 {
		last := slices.MaxFunc(history, func(a, b reporter.Send) int { return a.Time.Compare(b.Time) })
		d.LastSend = &last
	}
	return d
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Second)
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// report answers with the JSON form of exactly what the next report holds.
func (a adminAPI) report(in instance, w http.ResponseWriter, _ *http.Request) error {
	if err := mustBeOn(in, "no report is made"); err != nil {
		return err
	}
	r := in.NextReport()
	if r == nil {
		return failure(http.StatusServiceUnavailable, "the next report can't be told: Caddy's log says why")
	}
	b, err := wire.EncodeJSON(r)
	if err != nil {
		return failure(http.StatusInternalServerError, "%w", err)
	}
	w.Header().Set("Content-Type", wire.TypeJSON)
	_, err = w.Write(b)
	return err
}

func (a adminAPI) history(in instance, w http.ResponseWriter, _ *http.Request) error {
	sends := in.History()
	if sends == nil {
		sends = []reporter.Send{}
	}
	return answer(w, sends)
}

// link makes a link to the instance's own page. A body is optional: {"ttl": "24h"}.
func (a adminAPI) link(in instance, w http.ResponseWriter, r *http.Request) error {
	ttl, err := linkTTL(r.Body)
	if err != nil {
		return failure(http.StatusBadRequest, "%w", err)
	}
	if err := mustSend(in, "there is no page to link to"); err != nil {
		return err
	}
	url, expires, err := in.Link(ttl)
	if err != nil {
		return failure(http.StatusInternalServerError, "making a link: %w", err)
	}
	return answer(w, linkDocument{url, utc(expires)})
}

func linkTTL(body io.Reader) (time.Duration, error) {
	b, err := io.ReadAll(io.LimitReader(body, maxRequest+1))
	switch {
	case err != nil:
		return 0, fmt.Errorf("reading the request: %w", err)
	case len(b) > maxRequest:
		return 0, errors.New(`the request is too long: send nothing, or {"ttl": "24h"}`)
	case len(strings.TrimSpace(string(b))) == 0:
		return defaultLinkTTL, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil || fields == nil {
		return 0, errors.New(`the request is not a JSON object: send nothing, or {"ttl": "24h"}`)
	}
	ttl := defaultLinkTTL
	for name, raw := range fields {
		if name != "ttl" {
			return 0, fmt.Errorf("unknown field %.40q%s", name, nearest.Hint(name, []string{"ttl"}))
		}
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return 0, errors.New(`ttl is not a text such as "24h"`)
		}
		if ttl, err = caddy.ParseDuration(text); err != nil {
			return 0, fmt.Errorf(`ttl %.40q is not a duration such as "90m", "24h" or "7d"`, text)
		}
	}
	if ttl < minLinkTTL || ttl > maxLinkTTL {
		return 0, fmt.Errorf("ttl %s is out of bounds: a link is good for a minute to a year", ttl)
	}
	return ttl, nil
}

func (a adminAPI) resetIdentity(in instance, w http.ResponseWriter, _ *http.Request) error {
	if err := mustBeOn(in, "there is no identity in use"); err != nil {
		return err
	}
	if err := in.ResetIdentity(); err != nil {
		return failure(http.StatusInternalServerError, "resetting the identity: %w", err)
	}
	return answer(w, doneDocument{"the identity was reset", in.Status().Reporter.Instance})
}

// forget has the server delete this instance's reports and page.
func (a adminAPI) forget(in instance, w http.ResponseWriter, r *http.Request) error {
	if err := mustSend(in, "nothing can be asked of it: to have reports deleted, switch telemetry on, forget, and switch it off again"); err != nil {
		return err
	}
	if err := in.Forget(r.Context()); err != nil {
		return failure(http.StatusBadGateway, "asking the server to forget this instance: %w", err)
	}
	return answer(w, doneDocument{"the server deleted this instance's reports and page", in.Status().Reporter.Instance})
}

// mustBeOn refuses, with the reason, what makes no sense while telemetry is off.
func mustBeOn(in instance, so string) error {
	if s := in.Status(); s.Telemetry == "off" {
		reason := ""
		if s.Reason != "" {
			reason = " (" + s.Reason + ")"
		}
		return failure(http.StatusConflict, "telemetry is off%s: %s", reason, so)
	}
	return nil
}

// mustSend refuses what needs a server where there is none.
func mustSend(in instance, so string) error {
	if err := mustBeOn(in, so); err != nil {
		return err
	}
	if in.Status().Reporter.Endpoint == "" {
		return failure(http.StatusConflict, "no endpoint is set, so nothing was ever sent from here: set `endpoint` in the evergreen option, or EVERGREEN_ENDPOINT")
	}
	return nil
}

func answer(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // a link has an ampersand
	return e.Encode(v)
}

func failure(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}
