package updater

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/slots"
	"github.com/caddy-evergreen/evergreen/wire"
)

// How attempts end that don't go well: the state, the cause, whether the version
// is tried again by itself, and what runs.
func TestEnds(t *testing.T) {
	errGone := errors.New("the mirror breaks off")
	for name, c := range map[string]struct {
		world   func(*world)
		edit    func(*Actions)
		state   State
		step    State
		cause   Cause
		lasting bool
		says    string
	}{
		"a download that breaks off": {
			edit: func(a *Actions) {
				a.Fetch = func(context.Context, wire.Target, string) (Fetched, error) { return Fetched{}, errGone }
			},
			state: Failed, step: Downloading, cause: CauseNetwork, says: "breaks off",
		},
		"a wrong signature": {
			edit: func(a *Actions) {
				a.Vouched = func(context.Context, wire.Target) (wire.TargetCustom, error) {
					return wire.TargetCustom{}, Passing(CauseSignature, errors.New("not signed"))
				}
			},
			state: Failed, step: Checked, cause: CauseSignature, says: "not signed",
		},
		"another file than its name says": {
			edit: func(a *Actions) {
				a.Fetch = func(_ context.Context, _ wire.Target, file string) (Fetched, error) {
					return Fetched{}, os.WriteFile(file, []byte("the executable of v2.11.9 and more"), 0o600)
				}
				a.Inspect = func(string) (wire.BuildList, error) { return build("v2.11.9", "v1.0.0"), nil }
			},
			state: Failed, step: Downloading, cause: CauseMismatch, says: "SHA-256",
		},
		"an older one that was signed once": {
			edit: func(a *Actions) {
				a.Vouched = func(context.Context, wire.Target) (wire.TargetCustom, error) {
					return wire.TargetCustom{Kind: wire.TargetExecutable, Spec: []byte(`{"go":"go1.26.3","caddy":"v2.11.2","plugins":[{"path":"example.com/plugin","version":"v1.0.0"}]}`)}, nil
				}
			},
			state: Failed, step: Checked, cause: CauseOlder, lasting: true, says: "v2.11.2, older than v2.11.3",
		},
		"one without a plugin": {
			edit: func(a *Actions) {
				a.Inspect = func(string) (wire.BuildList, error) {
					b := build("v2.11.9", "v1.0.0")
					b.Modules = slices.DeleteFunc(b.Modules, func(m wire.ModuleVersion) bool { return m.Plugin })
					return b, nil
				}
			},
			state: Failed, step: Downloading, cause: CauseModules, lasting: true, says: "lacks the plugin example.com/plugin",
		},
		"another build than announced": {
			edit: func(a *Actions) {
				a.Inspect = func(string) (wire.BuildList, error) { return build("v2.11.10", "v1.0.0"), nil }
			},
			state: Failed, step: Downloading, cause: CauseMismatch, lasting: true, says: "v2.11.9 was announced",
		},
		"one for another system": {
			edit: func(a *Actions) {
				a.Vouched = func(context.Context, wire.Target) (wire.TargetCustom, error) {
					return wire.TargetCustom{Kind: wire.TargetExecutable, System: &wire.System{OS: "linux", Arch: "arm64"}}, nil
				}
			},
			state: Failed, step: Checked, cause: CauseMismatch, lasting: true, says: "for linux/arm64",
		},
		"one that needs a newer kernel": {
			edit: func(a *Actions) {
				a.Vouched = func(context.Context, wire.Target) (wire.TargetCustom, error) {
					return wire.TargetCustom{Kind: wire.TargetExecutable, MinKernel: map[string]string{"linux": "6.10"}}, nil
				}
			},
			state: Failed, step: Checked, cause: CauseKernel, says: "a kernel of 6.10 or newer",
		},
		"a full disk": {
			world: func(w *world) { w.free = func(string) (int64, error) { return reserve, nil } },
			state: Failed, step: Checked, cause: CauseSpace, says: "free some space",
		},
		"a rehearsal that differs": {
			edit: func(a *Actions) {
				a.Rehearse = func(context.Context, Candidate) (string, error) { return "/ answers 500 instead of 200", nil }
			},
			state: Failed, step: Rehearsing, cause: CauseRehearsal, lasting: true, says: "500 instead of 200",
		},
		"a rehearsal that panics": {
			edit: func(a *Actions) {
				a.Rehearse = func(context.Context, Candidate) (string, error) { panic("at the disco") }
			},
			state: Failed, step: Rehearsing, cause: CauseRehearsal, says: "at the disco",
		},
		"a switch that is given up": {
			edit: func(a *Actions) {
				a.Switch = func(context.Context, Destination, func() error) error { return errors.New("a reload arrived") }
			},
			state: Failed, step: Switching, cause: CauseSwitch, says: "a reload arrived",
		},
		"one that does not come up": {
			world: func(w *world) {
				w.edit = func(a *Actions) {
					a.Switch = func(ctx context.Context, to Destination, commit func() error) error {
						if err := commit(); err != nil {
							return err
						}
						old := w.now()
						go func() { old.kill(); w.start() }() // the supervisor starts what is active
						<-ctx.Done()
						return ctx.Err()
					}
				}
			},
			state: Failed, step: Switching, cause: CauseStart, lasting: true, says: "ended before it served",
		},
		"one that comes up badly": {
			edit: func(a *Actions) {
				a.Up = func(context.Context) error { return errors.New("the helper is gone") }
			},
			state: RolledBack, step: Switching, cause: CauseStart, lasting: true, says: "the helper is gone",
		},
		"one that does harm": {
			edit: func(a *Actions) {
				a.Watch = func(context.Context, Candidate) (string, error) { return "12 % of answers are errors", nil }
			},
			state: RolledBack, step: Watching, cause: CauseHarm, lasting: true, says: "12 %",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				if c.world != nil {
					c.world(w)
				}
				if c.edit != nil {
					w.edit = c.edit
				}
				w.start()
				w.until("there is an outcome", func() bool { return len(w.ends()) > 0 })
				o := w.ends()[0]
				if o.State != c.state || o.Step != c.step || o.Cause != c.cause || !strings.Contains(o.Why, c.says) {
					t.Errorf("it ended %s from %s because of %q: %s", o.State, o.Step, o.Cause, o.Why)
				}
				if w.running() != "v2.11.3" {
					t.Errorf("%s runs", w.running())
				}
				if _, active, err := slots.Open(w.dir).Active(); err != nil || active {
					t.Errorf("a slot is active: %v %v", active, err)
				}
				w.pass(3 * 24 * time.Hour)
				switch n := len(w.ends()); {
				case c.lasting && n != 1:
					t.Errorf("it was tried %d times", n)
				case !c.lasting && (n < 4 || n > 14):
					t.Errorf("it was tried %d times in three days", n)
				}
				if n := w.warnings(); n > 10 {
					t.Errorf("there are %d lines in the log, in three days", n)
				}
				q := w.now().u.Status().Quarantine
				if want := c.lasting || c.cause.bounded() && len(w.ends()) >= maxTries; want != (len(q) == 1) {
					t.Errorf("in quarantine: %+v", q)
				}
			})
		})
	}
}

// What failed for good is tried again when it changes, and when a person says so.
func TestQuarantine(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		differs := true
		w.edit = func(a *Actions) {
			a.Rehearse = func(context.Context, Candidate) (string, error) {
				if differs {
					return "it differs", nil
				}
				return "", nil
			}
		}
		w.start()
		w.reach(Failed)
		w.pass(48 * time.Hour)
		if len(w.ends()) != 1 {
			t.Fatalf("tried %d times", len(w.ends()))
		}
		n := w.now().u.Status().Notice
		if n == nil || n.Installs || !strings.Contains(n.Why, "caddy evergreen apply") {
			t.Errorf("notice %+v", n)
		}
		if err := w.now().u.Apply(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		w.until("it is tried again", func() bool { return len(w.ends()) == 2 })
		differs = false
		w.setAnswer(offer("v2.11.3", "v2.11.10", wire.SeverityCritical), nil)
		w.reach(Healthy)
		if got := w.running(); got != "v2.11.10" {
			t.Errorf("%s runs", got)
		}
	})
}

// The process that watches ends: in order, and the next one watches on; without
// notice, and the update is undone; by a power cut, and it isn't.
func TestEndsWhileWatching(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*world)
		want State
	}{
		"in order": {func(w *world) { w.now().end() }, Healthy},
		"crash":    {func(w *world) { w.now().kill() }, RolledBack},
		"in order, but for the end": {func(w *world) {
			w.ending.Store(true)
			w.pass(2 * time.Second)
			w.now().kill()
			w.ending.Store(false)
		}, Healthy},
		"power cut": {func(w *world) { w.now().kill(); w.boot = "2" }, Healthy},
		"another was installed": {func(w *world) {
			w.now().end()
			w.refused = errors.New("the installed executable is newer")
			s, _, err := slots.Open(w.dir).Active()
			if err != nil {
				w.t.Fatal(err)
			}
			s.Installed.BuildID = strings.Repeat("0", 64)
			if err := slots.Open(w.dir).Activate("", 0); err != nil {
				w.t.Fatal(err)
			}
			if _, err := slots.Open(w.dir).Make(s); err != nil {
				w.t.Fatal(err)
			}
		}, Failed},
		"it is refused": {func(w *world) { w.now().end(); w.refused = errors.New("it has no tries left") }, RolledBack},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.start()
				w.reach(Watching)
				w.pass(time.Minute)
				c.end(w)
				w.start()
				w.until("there is an outcome", func() bool { return len(w.ends()) > 0 })
				if got := w.ends()[0].State; got != c.want {
					t.Errorf("it ended %+v", w.ends()[0])
				}
				if c.want == Failed { // and then it is offered for the other one
					return
				}
				if want := map[bool]string{true: "v2.11.9", false: "v2.11.3"}[c.want == Healthy]; w.running() != want {
					t.Errorf("%s runs", w.running())
				}
			})
		})
	}
}

// The way back is tried again when it fails, roughly after the first time, and
// not in a loop.
func TestBackIsHard(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var tries []Destination
		w.edit = func(a *Actions) {
			a.Watch = func(context.Context, Candidate) (string, error) { return "harm", nil }
			smooth := a.Switch
			a.Switch = func(ctx context.Context, to Destination, commit func() error) error {
				if !to.Back {
					return smooth(ctx, to, commit)
				}
				w.mu.Lock()
				tries = append(tries, to)
				n := len(tries)
				w.mu.Unlock()
				if n < 8 {
					return errors.New("it can't be")
				}
				return smooth(ctx, to, commit)
			}
		}
		w.start()
		began := time.Now()
		w.until("it was tried five times", func() bool { return len(seen(w, &tries)) >= smoothBack })
		if d := time.Since(began); d > 5*time.Minute {
			t.Errorf("that took %v", d)
		}
		w.reach(RolledBack)
		var rough []bool
		for _, d := range seen(w, &tries) {
			rough = append(rough, d.Rough)
		}
		if d := cmp.Diff([]bool{false, true, true, true, true, true, true, true}, rough); d != "" {
			t.Error(d)
		}
		if w.running() != "v2.11.3" {
			t.Errorf("%s runs", w.running())
		}
	})
}

// Where a process can't become another one, the next start brings the update.
func TestNextStart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.edit = func(a *Actions) {
			a.Switch = func(context.Context, Destination, func() error) error { return ErrNextStart }
		}
		w.start()
		w.until("it waits for the next start", func() bool { return strings.Contains(w.now().u.Status().Waiting, "next start") })
		w.pass(24 * time.Hour)
		w.now().end()
		w.start()
		w.reach(Healthy)
		if got := w.running(); got != "v2.11.9" {
			t.Errorf("%s runs", got)
		}
	})
}

// A person goes back from a good update, which is then not installed again.
func TestRollback(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		if err := w.now().u.Rollback(t.Context()); err == nil || !strings.Contains(err.Error(), "installed executable runs") {
			t.Errorf("with nothing to go back to: %v", err)
		}
		w.reach(Healthy)
		if err := w.now().u.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.reach(RolledBack)
		w.pass(48 * time.Hour)
		if got := w.running(); got != "v2.11.3" {
			t.Errorf("%s runs", got)
		}
		if err := w.now().u.Apply(t.Context(), "v2.11.9"); err != nil {
			t.Fatal(err)
		}
		w.reach(Watching)
		if err := w.now().u.Apply(t.Context(), "v2.11.9"); err == nil || !strings.Contains(err.Error(), "being watched") {
			t.Errorf("apply while watching: %v", err)
		}
		if err := w.now().u.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.reach(RolledBack)
		if o := w.ends()[len(w.ends())-1]; o.Cause != CausePerson || !o.Person {
			t.Errorf("outcome %+v", o)
		}
	})
}

// The journal is gone while a candidate runs that was not watched to the end.
func TestJournalLost(t *testing.T) {
	for name, content := range map[string]string{"gone": "", "garbage": `{"state":"sw`} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.start()
				w.reach(Watching)
				w.now().end()
				var err error
				if content == "" {
					err = os.Remove(w.dir + "/" + journalFile)
				} else {
					err = os.WriteFile(w.dir+"/"+journalFile, []byte(content), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				w.start()
				w.reach(Watching)
				w.reach(Healthy)
				if s, _, err := slots.Open(w.dir).Active(); err != nil || s.State != slots.Good {
					t.Errorf("active %+v %v", s, err)
				}
			})
		})
	}
}

// A rehearsal that takes the server down with it, as where memory is short, is
// not tried at each start.
func TestEndsWhileRehearsing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var n int
		w.edit = func(a *Actions) {
			a.Rehearse = func(ctx context.Context, _ Candidate) (string, error) { n++; <-ctx.Done(); return "", ctx.Err() }
		}
		w.start()
		w.reach(Rehearsing)
		w.now().end() // in order: it counts for nothing
		for began := time.Now(); time.Since(began) < 48*time.Hour; w.pass(10 * time.Second) {
			w.start()
			w.pass(10 * time.Second)
			w.now().kill()
			if len(w.ends()) >= maxTries {
				break
			}
			for s, err := ReadStatus(w.dir); s.State != Rehearsing && err == nil; s, err = ReadStatus(w.dir) {
				w.start()
				w.pass(time.Hour)
				if w.now().u.Status().State != Rehearsing {
					w.now().end()
				} else {
					w.now().kill()
				}
			}
		}
		if n > maxTries+1 || len(w.ends()) != maxTries {
			t.Errorf("%d rehearsals, %d outcomes", n, len(w.ends()))
		}
		w.start()
		w.pass(time.Hour)
		if q := w.now().u.Status().Quarantine; len(q) != 1 || q[0].Cause != CauseRehearsal {
			t.Errorf("quarantine %+v", q)
		}
	})
}
