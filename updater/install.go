package updater

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/slots"
	"github.com/caddy-evergreen/evergreen/wire"
)

// ErrNextStart is Actions.Switch's where a process can't become another
// executable: the candidate then waits for the next start.
var ErrNextStart = errors.New("the next start brings the update")

// advance brings the known update as far as it may go, and returns when it may
// go on.
func (u *Updater) advance(ctx context.Context) (wait time.Duration) {
	for ctx.Err() == nil {
		a := u.j.Attempt
		if a == nil || u.unlock == nil || u.j.State == Healthy {
			return wakeUp
		}
		if why := u.installs(); why != "" {
			u.waiting = why
			u.hold()
			if u.paused != nil {
				return 10 * time.Second // the file may go without a word
			}
			return wakeUp
		}
		if wait := until(u.now(), u.j.retry(a.Slot).Next, daily+daily/4); wait > 0 {
			u.waiting = "it failed, and is tried again at " + u.j.retry(a.Slot).Next.Format(time.RFC3339)
			return wait
		}
		if u.j.State == Verified && !a.Person {
			if next := u.p.Window.Next(u.now()); !next.Equal(u.now()) && !u.p.Window.Open(u.now()) {
				if next.IsZero() {
					u.waiting = "its window, " + u.p.Window.String() + ", does not open within two weeks"
					return wakeUp
				}
				u.waiting = "its window, " + u.p.Window.String() + ", opens at " + next.Format(time.RFC3339)
				return min(next.Sub(u.now()), wakeUp)
			}
		}
		switch err := u.step(ctx); {
		case errors.Is(err, errUnwanted):
			u.hold()
			return 0
		case ctx.Err() != nil:
			return 0
		case err != nil && u.j.State.to(Failed) != nil: // nothing has begun
			u.warn("begin", "an update can't be begun; it is tried again", err)
			u.waiting = err.Error()
			return time.Minute
		case err != nil:
			u.fail(err)
		}
		switch u.j.State {
		case Switching, Watching, Failed:
			u.settle()
			return 0
		}
	}
	return 0
}

// hold goes back to where nothing is under way, and keeps what is there.
func (u *Updater) hold() {
	switch u.j.State {
	case Downloading, Rehearsing:
		next := Checked
		if u.j.State == Rehearsing {
			next = Verified
		}
		u.is(next, nil)
	}
}

// step takes one step of an update; an error ends the attempt.
func (u *Updater) step(ctx context.Context) error {
	switch u.j.State {
	case Idle, RolledBack, Failed:
		return u.to(Checked, func(j *journal) {
			c := j.Attempt.Candidate
			c.Since = time.Time{}
			j.Attempt = &attempt{Candidate: c, Person: j.Attempt.Person, Try: j.Attempt.Try}
		})
	case Checked:
		if err := u.to(Checked, func(j *journal) {
			j.Attempt.Try++
			j.Attempt.Began, j.Attempt.Seconds = u.now(), nil
		}); err != nil {
			return err
		}
		if err := u.prepare(ctx); err != nil {
			return err
		}
		return u.to(Downloading, nil)
	case Downloading:
		if err := u.download(ctx); err != nil {
			return err
		}
		return u.to(Verified, nil)
	case Verified:
		return u.to(Rehearsing, nil)
	case Rehearsing:
		return u.rehearse(ctx)
	}
	return fmt.Errorf("%w: nothing is to be done in %s", ErrTransition, u.j.State)
}

// stale is whether a step before the switch is to be given up.
func (u *Updater) stale() bool {
	u.readPaused()
	return u.policyChanged() || u.requested() != nil || u.paused != nil
}

// prepare checks what can be checked before a download.
func (u *Updater) prepare(ctx context.Context) error {
	a := u.j.Attempt
	self, err := u.c.Actions.Self()
	if err != nil {
		return Passing(CauseOther, fmt.Errorf("what this executable is: %w", err))
	}
	var custom wire.TargetCustom
	if err := u.during(ctx, u.stale, func(ctx context.Context) (err error) {
		custom, err = u.c.Actions.Vouched(ctx, a.Target)
		return err
	}); err != nil {
		return classed(CauseNetwork, fmt.Errorf("what is signed of the update: %w", err))
	}
	if err := acceptVouched(self, custom); err != nil {
		return err
	}
	if s, err := u.slots.Get(a.Slot); err == nil && s.Sealed {
		return nil
	}
	dir := filepath.Join(u.c.Dir, "slots")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Passing(storage(err), fmt.Errorf("making the folder of slots: %w", err))
	}
	return fits(dir, spaceFor(a.Target), u.free)
}

// download fills and seals the slot, unless it is sealed already.
func (u *Updater) download(ctx context.Context) error {
	a := u.j.Attempt
	if u.intact(a.Slot) {
		return nil
	}
	self, err := u.c.Actions.Self()
	if err != nil {
		return Passing(CauseOther, fmt.Errorf("what this executable is: %w", err))
	}
	installed, err := slots.Identify(u.c.Running.Installed)
	if err != nil {
		return Passing(CauseOther, fmt.Errorf("the installed executable: %w", err))
	}
	slot := slots.Slot{ID: a.Slot, Target: a.Target.Name, Caddy: a.Version, Build: a.Plan.Build, From: a.From, Installed: installed}
	file, err := u.slots.Make(slot)
	if err != nil {
		return Passing(storage(err), err)
	}
	u.c.Log.Info("an update is being downloaded", zap.String("to", a.Version), zap.String("severity", string(a.Severity)), zap.Int("try", a.Try))
	var got Fetched
	if err := u.during(ctx, u.stale, func(ctx context.Context) (err error) {
		got, err = u.c.Actions.Fetch(ctx, a.Target, file)
		return err
	}); err != nil {
		if c := storage(err); c == CauseSpace {
			return Passing(c, fmt.Errorf("downloading the update: %w", err))
		}
		return classed(CauseNetwork, fmt.Errorf("downloading the update: %w", err))
	}
	var build wire.BuildList
	if err := u.during(ctx, u.stale, func(context.Context) (err error) {
		build, err = u.c.Actions.Inspect(file)
		return err
	}); err != nil {
		return lasting(CauseMismatch, fmt.Errorf("what the update was built from: %w", err))
	}
	if err := acceptBuild(self.Build, build, &a.Plan.Build); err != nil {
		return err
	}
	// What the next start judges it by is what it is, not what was said of it.
	slot.Build, slot.Caddy = build, build.Version(wire.CaddyPath)
	if _, err := u.slots.Make(slot); err != nil {
		return Passing(storage(err), err)
	}
	if err := u.slots.Seal(a.Slot, got.Metadata); err != nil {
		if errors.Is(err, slots.ErrHash) {
			return Passing(CauseMismatch, err)
		}
		return Passing(storage(err), err)
	}
	u.note(func(j *journal) { j.Attempt.Bytes, j.Attempt.Method = j.Attempt.Bytes+got.Bytes, got.Method })
	return nil
}

// intact tells whether a slot is sealed, and still what was sealed.
func (u *Updater) intact(id string) bool {
	s, err := u.slots.Get(id)
	if err != nil || !s.Sealed || s.State == slots.Bad {
		return false
	}
	f, err := os.Open(u.slots.Executable(id))
	if err != nil {
		return false
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return false
	}
	return hex.EncodeToString(sum.Sum(nil)) == id
}

// rehearse runs the candidate beside the server, and goes on to the switch if it
// agrees, the window is still open, and the configuration is still the same.
func (u *Updater) rehearse(ctx context.Context) error {
	a := u.j.Attempt
	if !u.intact(a.Slot) {
		return u.to(Checked, nil) // get it again
	}
	config := u.config()
	var report string
	u.c.Log.Info("an update is being rehearsed beside the running server", zap.String("to", a.Version))
	if err := u.during(ctx, u.stale, func(ctx context.Context) (err error) {
		report, err = u.c.Actions.Rehearse(ctx, a.Candidate)
		return err
	}); err != nil {
		return classed(CauseRehearsal, fmt.Errorf("rehearsing the update: %w", err))
	}
	if u.config() != config {
		return u.to(Verified, nil) // and again, with the new one
	}
	if report != "" {
		return Lasting(CauseRehearsal, errors.New(clip(report)))
	}
	if !a.Person && !u.p.Window.Open(u.now()) || u.stale() {
		return u.to(Verified, nil)
	}
	return u.to(Switching, nil)
}

func (u *Updater) config() uint64 {
	if u.c.Actions.Config == nil {
		return 0
	}
	return u.c.Actions.Config()
}

// classed gives an error a class if it has none.
func classed(c Cause, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{Cause: e.Cause, Lasting: e.Lasting, Err: err}
	}
	return Passing(c, err)
}

func lasting(c Cause, err error) error {
	var e *Error
	if errors.As(err, &e) || errors.Is(err, errUnwanted) {
		return classed(c, err)
	}
	return Lasting(c, err)
}
