package updater

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-evergreen/evergreen/slots"
	"github.com/caddy-evergreen/evergreen/wire"
)

// An update that goes well goes through all states, each written down, and ends
// as the executable that the next start brings.
func TestUpdates(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		w.reach(Healthy)
		want := []State{Idle, Checked, Downloading, Verified, Rehearsing, Switching, Watching, Healthy}
		if d := cmp.Diff(want, w.went()); d != "" {
			t.Error(d)
		}
		d := slots.Open(w.dir)
		s, ok, err := d.Active()
		if err != nil || !ok || s.State != slots.Good || s.Caddy != "v2.11.9" || w.now().slot != s.ID {
			t.Errorf("active: %+v %v %v, running %q", s, ok, err, w.now().slot)
		}
		attempts, err := Attempts(w.dir)
		if err != nil {
			t.Fatal(err)
		}
		outcome := []Outcome{{
			State: Healthy, Step: Watching, From: "v2.11.3", To: "v2.11.9", Slot: idOf("v2.11.9"), Severity: wire.SeverityCritical, Try: 1,
			Bytes: int64(len(content("v2.11.9"))), Method: "bsdiff", Seconds: map[State]float64{Watching: 600},
		}}
		opts := cmp.Options{cmpopts.IgnoreFields(Outcome{}, "Began", "Ended"), cmpopts.IgnoreMapEntries(func(s State, v float64) bool { return v == 0 })}
		if d := cmp.Diff(outcome, attempts, opts); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(outcome, w.ends(), opts); d != "" {
			t.Error(d)
		}
		notice := []Notice{{
			From: "v2.11.3", To: "v2.11.9", Severity: wire.SeverityCritical, Changes: w.answer.Plan.Changes,
			Reasons: []string{"v2.11.9: Fixes much", "GO-2026-0001: A hole"}, Advisories: []string{"GO-2026-0001"}, Link: "https://example.com/v2.11.9", Installs: true,
		}}
		if d := cmp.Diff(notice, w.notices()); d != "" {
			t.Error(d)
		}
	})
}
