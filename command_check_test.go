package evergreen

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

func TestWriteAnswer(t *testing.T) {
	c := wire.Check{Scope: wire.ScopeAll}
	a := wire.Answer{
		NeedsUpdate: true,
		Plan: &wire.Plan{
			Changes: []wire.Change{{Path: wire.CaddyPath, From: "v2.11.3", To: "v2.11.9", Reasons: []wire.Reason{{ID: "GO-2026-5346", Severity: wire.SeverityImportant}}}},
			Unfixed: []wire.Unfixed{{Path: "example.com/x", Reason: wire.Reason{ID: "GO-2026-1"}, Why: "no fixed version"}},
		},
		Build: &wire.BuildProgress{State: "compiling"},
	}
	for want, change := range map[string]func(){
		`An update is needed (scope all):

  github.com/caddyserver/caddy/v2  v2.11.3  → v2.11.9  GO-2026-5346 (important)

Stays unfixed: GO-2026-1 in example.com/x: no fixed version
It is being built (compiling). Ask again in half a minute.
`: func() {},
		"No update is needed (scope all).\nHeld back: paused\n": func() { a = wire.Answer{Held: "paused"} },
	} {
		saved := a
		change()
		var b bytes.Buffer
		if err := writeAnswer(&b, c, a); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, b.String()); d != "" {
			t.Error(d)
		}
		a = saved
	}
}
