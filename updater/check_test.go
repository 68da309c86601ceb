package updater_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

var check = wire.Check{
	Build:  wire.BuildList{Go: "go1.26.3", Modules: []wire.ModuleVersion{{Path: wire.CaddyPath, Version: "v2.11.3"}}},
	System: wire.System{OS: "linux", Arch: "amd64"}, Scope: wire.ScopeAll, Channel: wire.ChannelStable,
}

func TestCheck(t *testing.T) {
	want := wire.Answer{NeedsUpdate: true, Plan: &wire.Plan{Changes: []wire.Change{{Path: wire.CaddyPath, From: "v2.11.3", To: "v2.11.9", Kind: wire.ChangeCaddy}}}, RetryAfter: 30}
	id := wire.InstanceID{1, 2, 3}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got, err := wire.ParseCheck(body)
		if d := cmp.Diff(check, got); err != nil || d != "" {
			t.Errorf("%v %s", err, d)
		}
		if r.URL.Path != "/under"+wire.PathCheck || r.Header.Get(wire.HeaderInstance) != id.String() {
			t.Errorf("%s from %q", r.URL.Path, r.Header.Get(wire.HeaderInstance))
		}
		w.Header().Set("Retry-After", "29")
		w.WriteHeader(http.StatusAccepted)
		json.NewEncoder(w).Encode(want)
	}))
	defer srv.Close()
	c := updater.Client{Service: srv.URL + "/under/", Instance: &id}
	got, again, err := c.Check(t.Context(), check)
	if err != nil || again != 29*time.Second {
		t.Fatal(again, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// What is no answer is an error that says what came, and when to ask again.
func TestNoAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		says   string
	}{
		"busy":       {503, `{"title":"the service is busy","status":503,"detail":"Ask again."}`, "the service is busy"},
		"elsewhere":  {404, "<html>", "is no service that knows"},
		"garbage":    {200, "{", "is not understood"},
		"no plan":    {200, `{"needs_update":true}`, "says that one is needed"},
		"large":      {200, strings.Repeat(" ", 5<<20), "is over"},
		"wrong type": {200, `{"needs_update":"yes"}`, "is not understood"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "100")
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		}))
		client := updater.Client{Service: srv.URL}
		_, again, err := client.Check(t.Context(), check)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "busy" && again != 100*time.Second {
			t.Errorf("%s: ask again after %v", name, again)
		}
		srv.Close()
	}
	client := updater.Client{Service: "http://127.0.0.1:1"}
	var p *updater.Problem
	if _, _, err := client.Check(t.Context(), check); err == nil || errors.As(err, &p) {
		t.Errorf("nobody answers: %v", err)
	}
}
