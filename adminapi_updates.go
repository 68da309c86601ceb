package evergreen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/caddy-evergreen/evergreen/boot"
	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

// updatesInstance is what the admin API asks of the process-wide updater.
type updatesInstance interface {
	Document() updatesDocument
	Build() (buildDocument, error)
	Apply(ctx context.Context, version string) error
	Rollback(ctx context.Context) error
	Pause(who string) error
	Resume() error
}

// updatesDocument is what GET /evergreen/updates answers: what is known and done,
// and the policy that holds. Times are as RFC 3339.
type updatesDocument struct {
	updater.Status
	Channel wire.Channel      `json:"channel,omitempty"`
	Every   float64           `json:"check_interval_seconds,omitempty"` // 0: as the service says
	Watch   float64           `json:"watch_seconds,omitempty"`
	Pins    map[string]string `json:"pins,omitempty"`
	// Folder is where all of updates is kept.
	Folder string `json:"folder,omitempty"`
	// Installed is the path of the installed executable, where a slot's runs.
	Installed string `json:"installed,omitempty"`
	// Refused is why the executable that should run does not.
	Refused string `json:"refused,omitempty"`
}

// buildDocument is what GET /evergreen/build answers: what a check says of this
// executable, and whom it would ask.
type buildDocument struct {
	Service string     `json:"service,omitempty"`
	Check   wire.Check `json:"check"`
}

// applyRequest, pauseRequest are the bodies of POST /evergreen/apply and
// /evergreen/pause, which may be empty.
type (
	applyRequest struct {
		Version string `json:"version"` // "v2.11.9"; "": what is offered
	}
	pauseRequest struct {
		Who string `json:"who"`
	}
)

func (a adminAPI) updatesStatus(_ instance, w http.ResponseWriter, _ *http.Request) error {
	return answer(w, a.updates().Document())
}

func (a adminAPI) build(_ instance, w http.ResponseWriter, _ *http.Request) error {
	d, err := a.updates().Build()
	if err != nil {
		return failure(http.StatusInternalServerError, "telling what this executable was built from: %w", err)
	}
	return answer(w, d)
}

func (a adminAPI) apply(_ instance, w http.ResponseWriter, r *http.Request) error {
	var request applyRequest
	if err := readRequest(r.Body, &request, `{"version": "v2.11.9"}`); err != nil {
		return failure(http.StatusBadRequest, "%w", err)
	}
	if err := a.updates().Apply(r.Context(), request.Version); err != nil {
		return failure(http.StatusConflict, "%w", err)
	}
	return answer(w, doneDocument{Done: "the update has begun: GET /evergreen/updates tells how it goes"})
}

func (a adminAPI) rollback(_ instance, w http.ResponseWriter, r *http.Request) error {
	if err := a.updates().Rollback(r.Context()); err != nil {
		return failure(http.StatusConflict, "%w", err)
	}
	return answer(w, doneDocument{Done: "the way back has begun: GET /evergreen/updates tells how it goes"})
}

func (a adminAPI) pause(_ instance, w http.ResponseWriter, r *http.Request) error {
	request := pauseRequest{Who: "someone at the admin API"}
	if err := readRequest(r.Body, &request, `{"who": "a name"}`); err != nil {
		return failure(http.StatusBadRequest, "%w", err)
	}
	if len(request.Who) > 200 {
		return failure(http.StatusBadRequest, "who is too long: at most 200 bytes are taken")
	}
	if err := a.updates().Pause(request.Who); err != nil {
		return failure(http.StatusConflict, "%w", err)
	}
	return answer(w, doneDocument{Done: "updates are paused, over restarts as well, until they are resumed"})
}

func (a adminAPI) resume(_ instance, w http.ResponseWriter, _ *http.Request) error {
	if err := a.updates().Resume(); err != nil {
		return failure(http.StatusConflict, "%w", err)
	}
	return answer(w, doneDocument{Done: "updates go on"})
}

// readRequest reads a small JSON object strictly; no body is an empty object.
func readRequest(body io.Reader, into any, shape string) error {
	b, err := io.ReadAll(io.LimitReader(body, maxRequest+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading the request: %w", err)
	case len(b) > maxRequest:
		return fmt.Errorf("the request is too long: send nothing, or %s", shape)
	case len(bytes.TrimSpace(b)) == 0:
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("the request is not understood (%w): send nothing, or %s", err, shape)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("there is something after the request's end: send nothing, or %s", shape)
	}
	return nil
}

// currentUpdatesInstance is what there is of updates.
func currentUpdatesInstance() updatesInstance {
	if u := currentUpdates(); u != nil {
		if p := u.policy.Load(); p.Off == "" {
			return u
		}
		return updatesOff(u.policy.Load().Off)
	}
	return updatesOff(whyNoUpdates())
}

// Document tells what is known and done.
func (u *updates) Document() updatesDocument {
	p := u.policy.Load()
	d := updatesDocument{
		Status: u.updater.Status(), Channel: p.Channel, Every: p.Every.Seconds(), Watch: p.Watch.Seconds(), Pins: p.Pins,
	}
	d.tellProcess()
	d.Scope, d.Service, d.Window = p.Scope, p.Server, p.Window
	if d.Notify == "" {
		d.Notify = p.Notify
	}
	d.Since, d.LastCheck, d.NextCheck = utc(d.Since), utc(d.LastCheck), utc(d.NextCheck)
	return d
}

// tellProcess adds what this process is, which may be an update's executable also
// where no more updates are asked for.
func (d *updatesDocument) tellProcess() {
	d.Folder = updatesDir()
	if now := boot.Current(); now.Slot != "" || now.Refused != nil {
		d.Installed = now.Installed
		if now.Refused != nil {
			d.Refused = now.Refused.Error()
		}
	}
}

// Build is this executable's build.
func (u *updates) Build() (buildDocument, error) {
	c, err := u.self.check()
	p := u.policy.Load()
	c.Scope, c.Channel, c.Pins = p.Scope, p.Channel, p.Pins
	return buildDocument{p.Server, c}, err
}

// Apply begins an update, whatever the policy.
func (u *updates) Apply(ctx context.Context, version string) error {
	return u.updater.Apply(ctx, version)
}

// Rollback begins the way back.
func (u *updates) Rollback(ctx context.Context) error { return u.updater.Rollback(ctx) }

// Pause keeps updates from being installed.
func (u *updates) Pause(who string) error { return u.updater.Pause(who) }

// Resume ends Pause.
func (u *updates) Resume() error { return u.updater.Resume() }

// updatesOff is what there is of updates where they are off: why.
type updatesOff string

func (o updatesOff) Document() updatesDocument {
	d := updatesDocument{Status: updater.Status{State: updater.Idle, Off: string(o), Running: boot.Current().Slot}}
	if d.Running != "" {
		d.tellProcess()
	}
	return d
}

func (updatesOff) Build() (buildDocument, error) {
	c, err := new(self).check()
	c.Channel = wire.ChannelStable
	return buildDocument{Check: c}, err
}

func (o updatesOff) refuse() error {
	return fmt.Errorf("updates are off: %s", string(o))
}

func (o updatesOff) Apply(context.Context, string) error { return o.refuse() }
func (o updatesOff) Rollback(context.Context) error      { return o.refuse() }
func (o updatesOff) Pause(string) error                  { return o.refuse() }
func (o updatesOff) Resume() error                       { return o.refuse() }

var (
	_ updatesInstance = (*updates)(nil)
	_ updatesInstance = updatesOff("")
)

// pollEvery is how often a command looks at how an update goes.
const pollEvery = 500 * time.Millisecond
