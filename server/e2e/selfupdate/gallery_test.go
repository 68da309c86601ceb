//go:build e2e && linux

package selfupdate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/updater"
)

// galleryLoads are what a bad candidate is seen by, at a low rate: the figure
// that counts is how many requests it harmed.
var galleryLoads = testbed.LoadConfig{
	Kinds:   []string{testbed.LoadNew, testbed.LoadNewTLS, testbed.LoadKeepAlive, testbed.LoadH2, testbed.LoadH3},
	Workers: 2, Pause: 50 * time.Millisecond,
}

// gallerySite has two sites, and the plugin in both.
func gallerySite(watch string) testbed.LoadSiteConfig {
	return testbed.LoadSiteConfig{
		Globals: []string{"\tupdates critical install {\n\t\twatch " + watch + "\n\t}"},
		Lines:   []string{"badplugin"},
		Sites:   "two.localhost {\n\tbadplugin\n\trespond \"the other site\"\n}\n",
	}
}

// A badCandidate is an executable that is built and signed as any other, and does harm.
type badCandidate struct {
	name   string
	does   string // BADPLUGIN
	steps  []updater.State
	causes []updater.Cause
}

// What a rehearsal finds, and what only a watch can: the same in either case
// is that it is gone. Memory may be eaten too slowly for a rehearsal.
var (
	rehearsed = []updater.State{updater.Rehearsing}
	watched   = []updater.State{updater.Watching}
	either    = []updater.State{updater.Rehearsing, updater.Watching}
)

// TestE2EBadCandidates updates to those whose harm a rehearsal can see, which never
// serve, and to others, which are gone again soon. What is late in them is so by
// 25 seconds, so that the test is not: a rehearsal is over by then.
func TestE2EBadCandidates(t *testing.T) {
	s := theUpdates(t)
	s.before(t)
	s.after(t) // built before the clock of any of them runs
	const late = " 25s"
	for _, c := range []badCandidate{
		{"exits at start", "exit", rehearsed, []updater.Cause{updater.CauseRehearsal, updater.CauseStart}},
		{"hangs at start", "hang", rehearsed, []updater.Cause{updater.CauseRehearsal, updater.CauseStart}},
		{"panics on the first request", "panic", rehearsed, []updater.Cause{updater.CauseRehearsal}},
		{"answers 500 on one site", "broken-site two.localhost", rehearsed, []updater.Cause{updater.CauseRehearsal}},
		{"drops HTTP/3", "no-h3", rehearsed, []updater.Cause{updater.CauseRehearsal}},
		{"leaks memory at once", "leak", either, []updater.Cause{updater.CauseRehearsal, updater.CauseStart, updater.CauseHarm}},
		{"has lost a module", "lose", rehearsed, []updater.Cause{updater.CauseModules}},
		{"panics at requests, later", "panic-after" + late, watched, []updater.Cause{updater.CauseHarm}},
		{"answers 500 on one site, later", "broken-site localhost" + late, watched, []updater.Cause{updater.CauseHarm}},
		{"leaks memory, later", "leak-after" + late, watched, []updater.Cause{updater.CauseHarm}},
		{"is slow, later", "slow-after" + late, watched, []updater.Cause{updater.CauseHarm}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.try(t, s, "2m")
		})
	}
}

// TestE2EPanicsAfterTwoMinutes is the same with one that does no harm for so long.
func TestE2EPanicsAfterTwoMinutes(t *testing.T) {
	t.Parallel()
	s := theUpdates(t)
	s.after(t)
	badCandidate{"panics after two minutes", "panic-after 2m", watched, []updater.Cause{updater.CauseHarm}}.try(t, s, "6m")
}

// try has a Caddy under load update itself to the candidate.
func (c badCandidate) try(t *testing.T, s *service, watch string) {
	t.Helper()
	caddy := loadedWith(t, testbed.Launch{}, s.before(t).copied(t), gallerySite(watch), "BADPLUGIN="+c.does)
	pid := caddy.PID()
	load := send(t, caddy, galleryLoads)
	if c.steps[0] == updater.Watching {
		served(t, caddy)
	}
	began := time.Now()
	do(t, caddy, "apply")
	o := ended(t, caddy, began)
	after := load.Results()
	time.Sleep(2 * time.Second)
	all := load.Stop()
	t.Logf("| %s | %s while %s | %d of %d |", c.name, o.State, o.Step, all.Failed(), all.Requests())
	t.Logf("%s", all)
	want := map[updater.State]updater.State{updater.Rehearsing: updater.Failed, updater.Watching: updater.RolledBack}
	if !slices.Contains(c.steps, o.Step) || o.State != want[o.Step] || !slices.Contains(c.causes, o.Cause) {
		t.Errorf("it ended as %s, %s, of %q: %s", o.State, o.Step, o.Cause, o.Why)
	}
	if o.State == updater.Failed {
		lostNothing(t, all)
	}
	for _, r := range all {
		if now, then := r.Requests-r.Failed, after.Of(r.Kind); now <= then.Requests-then.Failed {
			t.Errorf("%s: nothing is answered after it ended", r.Kind)
		}
	}
	if slot, err := runs(caddy); err != nil || slot != "" || caddy.PID() != pid {
		t.Errorf("slot %q runs (%v) as process %d, not the installed one as %d", slot, err, caddy.PID(), pid)
	}
	quarantined(t, caddy, o)
}

// served lets a Caddy serve for as long as it takes to learn what is usual,
// before it updates itself.
func served(t *testing.T, c *testbed.Caddy) {
	t.Helper()
	do(t, c, "pause")
	time.Sleep(40 * time.Second)
	do(t, c, "resume")
}

// quarantined is that the candidate isn't tried again by itself, or not soon: a
// candidate that did not come up in a rehearsal has a few more tries, since that
// may be the machine's fault. The log says why.
func quarantined(t *testing.T, c *testbed.Caddy, o updater.Outcome) {
	t.Helper()
	s, err := status(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Quarantine) != 1 || s.Quarantine[0].Slot != o.Slot || s.Quarantine[0].Why == "" {
		if o.State != updater.Failed || s.Waiting == "" {
			t.Errorf("in quarantine: %+v; it is %s: %s", s.Quarantine, s.State, s.Waiting)
		}
	}
	if active, ok, err := slotsOf(c).Active(); err != nil || ok {
		t.Errorf("slot %s is active (%v)", active.ID, err)
	}
	logged(t, c, o)
}

// asLogged is how a text begins in the log, whichever step the log names before it.
func asLogged(t *testing.T, why string) string {
	t.Helper()
	line, _, _ := strings.Cut(why, "\n")
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(line[:min(len(line), 80)]); err != nil {
		t.Fatal(err)
	}
	text := strings.Trim(b.String(), "\"\n")
	return text[strings.LastIndex(text, ": ")+1:]
}

// logged is that the log has why an update ended as it did.
func logged(t *testing.T, c *testbed.Caddy, o updater.Outcome) {
	t.Helper()
	text := asLogged(t, o.Why)
	if strings.TrimSpace(text) == "" {
		t.Fatal("there is no reason")
	}
	eventually(t, "waiting for the log to have the reason", func() error {
		if !strings.Contains(c.Log(), text) {
			return fmt.Errorf("it has not %q", text)
		}
		return nil
	})
}

// TestE2ECrashes has a candidate end its whole process while it is watched. The
// test starts Caddy again, as a supervisor does: it is what it was before.
func TestE2ECrashes(t *testing.T) {
	t.Parallel()
	s := theUpdates(t)
	c := loadedWith(t, testbed.Launch{}, s.before(t).copied(t), gallerySite("2m"), "BADPLUGIN=crash-after 25s")
	load := send(t, c, galleryLoads)
	served(t, c)
	began := time.Now()
	do(t, c, "apply")
	select {
	case <-c.Done():
	case <-time.After(within):
		t.Fatal("it has not crashed")
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := ended(t, c, began)
	time.Sleep(time.Second)
	all := load.Stop()
	t.Logf("| crashes while it is watched | %s while %s | %d of %d |\n%s", o.State, o.Step, all.Failed(), all.Requests(), all)
	if o.State != updater.RolledBack || o.Cause != updater.CauseCrash {
		t.Errorf("it ended as %s of %q: %s", o.State, o.Cause, o.Why)
	}
	eventually(t, "the installed executable runs", func() error {
		slot, err := runs(c)
		if err == nil && slot != "" {
			err = fmt.Errorf("slot %s runs", slot)
		}
		return err
	})
	quarantined(t, c, o)
}
