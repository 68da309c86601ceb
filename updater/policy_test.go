package updater

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/slots"
	"github.com/caddy-evergreen/evergreen/wire"
)

func (w *world) setPolicy(f func(*Policy)) {
	f(&w.policy)
	w.now().u.SetPolicy(w.policy)
}

// Off means no request and no file.
func TestOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.policy.Scope = wire.ScopeNone
		w.start()
		w.pass(48 * time.Hour)
		if len(w.checks()) > 0 {
			t.Errorf("asked %d times", len(w.checks()))
		}
		if _, err := os.Stat(w.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder is there: %v", err)
		}
		if err := w.now().u.Apply(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "none") {
			t.Errorf("apply: %v", err)
		}
		w.setPolicy(func(p *Policy) { p.Scope = wire.ScopeAll })
		w.reach(Healthy)
	})
}

// Updates are turned off in the middle of a download, and on again.
func TestOffWhileDownloading(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var began, discarded atomic.Int32
		w.edit = func(a *Actions) {
			fetch := a.Fetch
			a.Fetch = func(ctx context.Context, t wire.Target, file string) (Fetched, error) {
				if began.Add(1) == 1 {
					<-ctx.Done()
					return Fetched{}, ctx.Err()
				}
				return fetch(ctx, t, file)
			}
			a.Discard = func(wire.Target) { discarded.Add(1) }
		}
		w.start()
		w.reach(Downloading)
		synctest.Wait()
		w.setPolicy(func(p *Policy) { p.Scope = wire.ScopeNone })
		w.pass(time.Second)
		if s := w.now().u.Status(); s.State != Idle || s.Off == "" || discarded.Load() != 1 {
			t.Errorf("%+v, discarded %d", s, discarded.Load())
		}
		if _, err := slots.Open(w.dir).Get(idOf("v2.11.9")); !errors.Is(err, slots.ErrNoSlot) {
			t.Errorf("the slot: %v", err)
		}
		asked := len(w.checks())
		w.pass(48 * time.Hour)
		if len(w.checks()) != asked {
			t.Error("it asks although it is off")
		}
		w.setPolicy(func(p *Policy) { p.Scope = wire.ScopeAll })
		w.reach(Healthy)
		if len(w.ends()) != 1 {
			t.Errorf("outcomes %+v", w.ends())
		}
	})
}

// What already serves is watched to the end, also when updates are turned off.
func TestOffWhileWatching(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.edit = func(a *Actions) {
			a.Watch = func(ctx context.Context, _ Candidate) (string, error) {
				select {
				case <-time.After(5 * time.Minute):
					return "harm", nil
				case <-ctx.Done():
					return "", ctx.Err()
				}
			}
		}
		w.start()
		w.reach(Watching)
		w.setPolicy(func(p *Policy) { p.Scope = wire.ScopeNone })
		w.until("it is undone", func() bool { return w.now().slot == "" })
		w.pass(time.Minute)
		if len(w.ends()) != 1 || w.ends()[0].State != RolledBack {
			t.Errorf("outcomes %+v", w.ends())
		}
	})
}

// Notify tells, once a day at most and over restarts, and installs nothing; a
// person still can.
func TestNotify(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.policy.Notify, w.policy.NotifyWhy, w.policy.Scope = true, "this is a container", wire.ScopeCritical
		w.start()
		for range 10 {
			w.pass(12 * time.Hour)
			w.now().end()
			w.start()
		}
		if n := len(w.notices()); n < 5 || n > 6 {
			t.Errorf("told %d times in five days", n)
		}
		if n := w.notices()[0]; n.Installs || n.Why != "this is a container" {
			t.Errorf("told %+v", n)
		}
		w.pass(time.Minute)
		n := len(w.notices())
		w.setAnswer(offer("v2.11.3", "v2.11.10", wire.SeverityCritical), nil)
		w.pass(7 * time.Hour)
		if len(w.notices()) != n+1 || w.notices()[n].To != "v2.11.10" {
			t.Errorf("another version is told of: %+v", w.notices()[n:])
		}
		if err := w.now().u.Apply(t.Context(), "v2.11.9"); err == nil || !strings.Contains(err.Error(), "offers v2.11.10") {
			t.Errorf("apply of what isn't offered: %v", err)
		}
		if err := w.now().u.Apply(t.Context(), "v2.11.10"); err != nil {
			t.Fatal(err)
		}
		if c := w.checks()[len(w.checks())-1]; c.Scope != wire.ScopeAll {
			t.Errorf("a person's version is asked for in the scope %s", c.Scope)
		}
		w.reach(Healthy)
	})
}

// A person wants what is still being built: it is installed when it is there.
func TestApplyWhileBuilding(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.policy.Notify = true
		a := offer("v2.11.3", "v2.11.9", wire.SeverityFeature)
		target := a.Target
		a.Target, a.Build, a.RetryAfter = nil, &wire.BuildProgress{ID: "1", State: "compiling"}, 30
		w.setAnswer(a, nil)
		w.start()
		if err := w.now().u.Apply(t.Context(), "v2.11.9"); err != nil {
			t.Fatal(err)
		}
		w.pass(5 * time.Minute)
		if n := len(w.checks()); n < 8 || n > 14 {
			t.Errorf("asked %d times in five minutes", n)
		}
		w.now().end()
		w.start()
		a.Target, a.Build = target, nil
		w.setAnswer(a, nil)
		w.reach(Healthy)
	})
}

// Downloads happen at any time, switches in the window only.
func TestWindowHolds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { // it is Saturday, 2000-01-01 00:00 UTC
		win, err := ParseWindow("Sun 02:00-05:00 Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		w.policy.Window = win
		w.start()
		w.reach(Verified)
		w.pass(20 * time.Hour)
		s := w.now().u.Status()
		if s.State != Verified || !strings.Contains(s.Waiting, "Sun 02:00-05:00 Europe/Berlin") {
			t.Errorf("%+v", s)
		}
		w.reach(Watching)
		if now := w.now().u.Status().Since.UTC(); now.Weekday() != time.Sunday || now.Hour() != 1 || now.Minute() != 0 {
			t.Errorf("switched at %v", now)
		}
	})
}

// A person's wish does not wait for the window.
func TestApplyOutsideWindow(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		win, err := ParseWindow("Wed 02:00-05:00 UTC")
		if err != nil {
			t.Fatal(err)
		}
		w.policy.Window = win
		w.start()
		w.reach(Verified)
		if err := w.now().u.Apply(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		w.reach(Watching)
		if now := time.Now().UTC(); now.Weekday() != time.Saturday {
			t.Errorf("a person's wish waited until %v", now)
		}
	})
}

// A window that closes during the rehearsal is waited for again.
func TestWindowCloses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		win, err := ParseWindow("00:10-00:20 UTC")
		if err != nil {
			t.Fatal(err)
		}
		w.policy.Window = win
		var rehearsals int
		w.edit = func(a *Actions) {
			a.Rehearse = func(context.Context, Candidate) (string, error) {
				if rehearsals++; rehearsals == 1 {
					time.Sleep(15 * time.Minute)
				}
				return "", nil
			}
		}
		w.start()
		w.reach(Watching)
		if now := time.Now().UTC(); now.Day() != 2 || rehearsals != 2 {
			t.Errorf("switched at %v after %d rehearsals", now, rehearsals)
		}
	})
}

// A configuration that is loaded during the rehearsal is rehearsed too.
func TestConfigChanges(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var config atomic.Uint64
		var seen []uint64
		w.edit = func(a *Actions) {
			a.Config = config.Load
			a.Rehearse = func(context.Context, Candidate) (string, error) {
				if seen = append(seen, config.Load()); len(seen) < 3 {
					config.Add(1)
				}
				return "", nil
			}
		}
		w.start()
		w.reach(Healthy)
		if d := cmp.Diff([]uint64{0, 1, 2}, seen); d != "" {
			t.Error(d)
		}
	})
}

// A person pauses, also by another process, and goes on.
func TestPause(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		if err := Pause(w.dir, "admin", time.Now()); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.pass(24 * time.Hour)
		s := w.now().u.Status()
		if s.State != Checked || s.Paused == nil || s.Paused.Who != "admin" || !strings.Contains(s.Waiting, "caddy evergreen resume") || len(w.notices()) == 0 {
			t.Errorf("%+v, told %d", s, len(w.notices()))
		}
		if err := w.now().u.Apply(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "resume comes first") {
			t.Errorf("apply: %v", err)
		}
		if err := Resume(w.dir); err != nil {
			t.Fatal(err)
		}
		w.reach(Healthy)
	})
}

func TestPauseWhileRehearsing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var n int
		w.edit = func(a *Actions) {
			a.Rehearse = func(ctx context.Context, _ Candidate) (string, error) {
				if n++; n == 1 {
					<-ctx.Done()
					return "", ctx.Err()
				}
				return "", nil
			}
		}
		w.start()
		w.reach(Rehearsing)
		synctest.Wait()
		if err := w.now().u.Pause("admin"); err != nil {
			t.Fatal(err)
		}
		w.reach(Verified)
		w.pass(24 * time.Hour)
		if n != 1 {
			t.Errorf("%d rehearsals", n)
		}
		if err := w.now().u.Resume(); err != nil {
			t.Fatal(err)
		}
		w.reach(Healthy)
	})
}

// Two with one data directory: the second only tells, says so once, and takes
// over when the first has ended.
func TestTwo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.edit = func(a *Actions) {
			a.Rehearse = func(ctx context.Context, _ Candidate) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		}
		first := w.start()
		w.reach(Rehearsing)
		second := w.start()
		w.pass(48 * time.Hour)
		s := second.u.Status()
		if s.State != Checked || !strings.Contains(s.Problem, fmt.Sprintf("process %d", os.Getpid())) {
			t.Errorf("the second: %+v", s)
		}
		if n := w.logs.FilterMessageSnippet("another Caddy").Len(); n < 1 || n > 3 {
			t.Errorf("said %d times in two days", n)
		}
		if err := second.u.Apply(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "process") {
			t.Errorf("apply in the second: %v", err)
		}
		if first.u.Status().State != Rehearsing {
			t.Errorf("the first: %+v", first.u.Status())
		}
		first.end()
		w.pass(2 * time.Minute)
		if s := second.u.Status(); s.State != Rehearsing || s.Problem != "" {
			t.Errorf("the second did not take over: %+v", s)
		}
	})
}

// A week without the service is a line a day; then it goes on.
func TestServerGone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		port := 0
		w.edit = func(a *Actions) {
			ask := a.Ask
			a.Ask = func(ctx context.Context, c wire.Check) (wire.Answer, time.Duration, error) {
				answer, again, err := ask(ctx, c)
				if err != nil {
					port++
					err = fmt.Errorf("dial tcp 192.0.2.1:%d: %w", 40000+port, err)
				}
				return answer, again, err
			}
		}
		w.setAnswer(offer("v2.11.3", "v2.11.9", wire.SeverityCritical), errors.New("connection refused"))
		w.start()
		w.pass(7 * 24 * time.Hour)
		if n := w.warnings(); n < 6 || n > 8 {
			t.Errorf("%d lines in a week", n)
		}
		if n := len(w.checks()); n < 7*4 || n > 7*4+20 {
			t.Errorf("asked %d times in a week", n)
		}
		if s := w.now().u.Status(); !strings.Contains(s.CheckError, "connection refused") {
			t.Errorf("%+v", s)
		}
		w.setAnswer(offer("v2.11.3", "v2.11.9", wire.SeverityCritical), nil)
		w.reach(Healthy)
	})
}

// What the service says of when to ask again counts within bounds.
func TestInterval(t *testing.T) {
	for name, c := range map[string]struct {
		every    time.Duration
		again    time.Duration
		building bool
		want     time.Duration
	}{
		"nobody says":          {0, 0, false, DefaultEvery},
		"the operator says":    {time.Hour, 0, false, time.Hour},
		"the service says":     {0, 4 * time.Hour, false, 4 * time.Hour},
		"far too often":        {0, time.Millisecond, false, DefaultEvery / 4},
		"never again":          {0, 1000 * time.Hour, false, 4 * DefaultEvery},
		"each second":          {time.Second, 0, false, time.Second},
		"building":             {0, 30 * time.Second, true, 30 * time.Second},
		"building, no hint":    {0, 0, true, soonest},
		"building for days":    {0, 48 * time.Hour, true, latest},
		"building, for tests":  {time.Second, time.Hour, true, time.Second},
		"every second, slower": {time.Second, time.Hour, false, 4 * time.Second},
	} {
		for _, random := range []float64{0, 0.5, 0.999} {
			u := Updater{c: Config{Random: func() float64 { return random }}}
			got := u.interval(Policy{Every: c.every}, c.again, c.building)
			if lo, hi := c.want*9/10, c.want*11/10; got < lo || got > hi {
				t.Errorf("%s: %v is not within a tenth of %v", name, got, c.want)
			}
		}
	}
}

// The clock is a year ahead, and set right, and the other way round.
func TestClock(t *testing.T) {
	for name, off := range map[string]time.Duration{"ahead": 365 * 24 * time.Hour, "behind": -365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.policy.Notify = true
				w.offset = off
				w.start()
				w.pass(24 * time.Hour)
				asked, told := len(w.checks()), len(w.notices())
				if asked < 3 || told != 1 {
					t.Fatalf("asked %d times and told %d times", asked, told)
				}
				w.now().end()
				w.offset = 0
				w.start()
				w.pass(25 * time.Hour)
				if n := len(w.checks()) - asked; n < 3 || n > 8 {
					t.Errorf("asked %d times on the day after the clock was set", n)
				}
				if n := len(w.notices()) - told; n < 1 || n > 2 {
					t.Errorf("told %d times on the day after the clock was set", n)
				}
			})
		})
	}
}

// A disk that refuses, at each operation: nothing is done that is not written
// down, and all goes on when there is space again.
func TestDiskRefuses(t *testing.T) {
	for _, fault := range []error{syscall.ENOSPC, syscall.EROFS, syscall.EIO} {
		for _, op := range []string{"create", "write", "sync", "rename", "syncdir"} {
			t.Run(fmt.Sprint(fault, "/", op), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					var bad atomic.Bool
					var switched int
					w.fault = func(o string) error {
						if o == op && bad.Load() {
							return &os.PathError{Op: o, Path: "journal.json", Err: fault}
						}
						return nil
					}
					w.edit = func(a *Actions) {
						rehearse, sw := a.Rehearse, a.Switch
						a.Rehearse = func(ctx context.Context, c Candidate) (string, error) {
							bad.Store(true) // before the switch is written down
							return rehearse(ctx, c)
						}
						a.Switch = func(ctx context.Context, to Destination, commit func() error) error {
							switched++
							return sw(ctx, to, commit)
						}
					}
					w.start()
					w.pass(10 * time.Minute)
					if n := w.warnings(); n == 0 || n > 8 {
						t.Errorf("%d lines in ten minutes", n)
					}
					if s := w.now().u.Status(); switched > 0 || s.State != Failed || w.running() != "v2.11.3" {
						t.Fatalf("switched %d times: %+v", switched, s)
					}
					w.edit = nil
					w.now().end()
					bad.Store(false)
					w.start()
					w.reach(Healthy)
				})
			})
		}
	}
}

// While the disk refuses, what does harm is still gone from.
func TestDiskRefusesOnTheWayBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var bad atomic.Bool
		w.fault = func(string) error {
			if bad.Load() {
				return syscall.ENOSPC
			}
			return nil
		}
		w.edit = func(a *Actions) {
			a.Watch = func(context.Context, Candidate) (string, error) {
				bad.Store(true)
				return "harm", nil
			}
		}
		w.start()
		w.until("the old one runs again", func() bool { return bad.Load() && w.now().slot == "" })
	})
}

// A folder that can't be made: updates are told of, and one line says why nothing
// is installed.
func TestNoFolder(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		if err := os.WriteFile(w.dir, nil, 0o600); err != nil { // a file where the folder belongs
			t.Fatal(err)
		}
		w.start()
		w.pass(72 * time.Hour)
		s := w.now().u.Status()
		if s.State != Checked || s.Problem == "" || s.Notice == nil || s.Notice.Installs {
			t.Errorf("%+v", s)
		}
		if n := len(w.notices()); n < 2 || n > 4 {
			t.Errorf("told %d times in three days", n)
		}
		if n := w.warnings(); n < 1 || n > 4 {
			t.Errorf("%d lines in three days", n)
		}
	})
}

// A service that makes no sense is refused, and nothing is downloaded.
func TestAnswersRefused(t *testing.T) {
	for name, edit := range map[string]func(*wire.Answer){
		"an older Caddy":   func(a *wire.Answer) { a.Plan.Changes[0].To = "v2.11.2" },
		"no SHA-256":       func(a *wire.Answer) { a.Target.SHA256 = "../../etc" },
		"no size":          func(a *wire.Answer) { a.Target.Size = 0 },
		"a terabyte":       func(a *wire.Answer) { a.Target.Size = 1 << 40 },
		"no name":          func(a *wire.Answer) { a.Target.Name = "" },
		"a change of \"\"": func(a *wire.Answer) { a.Plan.Changes[0].Path = "" },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				a := offer("v2.11.3", "v2.11.9", wire.SeverityCritical)
				edit(&a)
				w.setAnswer(a, nil)
				w.start()
				w.pass(24 * time.Hour)
				if s := w.now().u.Status(); s.State != Idle || !strings.Contains(s.CheckError, "refused") {
					t.Errorf("%+v", s)
				}
				if n := w.warnings(); n < 1 || n > 2 {
					t.Errorf("%d lines in a day", n)
				}
			})
		})
	}
}
