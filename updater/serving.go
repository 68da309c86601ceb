package updater

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/slots"
)

// tries is how many starts an active slot has to come up in.
const tries = 3

// resume makes of the journal of an earlier process, or of this one before it
// became another executable, what is so now.
func (u *Updater) resume() {
	a := u.j.Attempt
	mine := a != nil && a.Slot == u.c.Running.Slot
	sameBoot := u.boot == u.j.Boot
	switch {
	case (u.j.State == Downloading || u.j.State == Rehearsing) && sameBoot:
		u.fail(Passing(map[State]Cause{Downloading: CauseOther, Rehearsing: CauseRehearsal}[u.j.State], fmt.Errorf("Caddy ended without notice while the update was %s", u.j.State)))
	case u.j.State == Switching && a.Back != nil && !mine:
		u.end(RolledBack, a.Back.Cause, a.Back.Why, nil)
	case u.j.State == Switching && a.Back == nil && !mine:
		u.neverCame(sameBoot)
	case u.j.State == Watching && !mine:
		u.lost(sameBoot)
	case u.j.State == Healthy && !mine:
		u.gone()
	case u.j.State == Watching && !u.j.Clean && sameBoot:
		u.c.Log.Error("Caddy ended without notice while an update was being watched: it is undone", zap.String("version", a.Version))
		u.undo(CauseCrash, "Caddy ended without notice while the update was being watched")
	case u.j.State == Watching && u.j.Clean:
		u.note(func(j *journal) { j.Clean = false })
	case !mine:
		u.adopt()
	}
	u.settle()
}

// adopt watches a candidate that runs although the journal knows nothing of it,
// because it was lost.
func (u *Updater) adopt() {
	s, err := u.slots.Get(u.c.Running.Slot)
	if err != nil || s.State != slots.Candidate {
		return
	}
	u.c.Log.Warn("what runs was never watched to the end: that begins anew", zap.String("version", s.Caddy))
	u.drop()
	u.is(Switching, func(j *journal) {
		j.Attempt = &attempt{Candidate: Candidate{Slot: s.ID, Path: u.slots.Executable(s.ID), From: s.From, Version: s.Caddy, Before: u.version(s.From, s)}, Try: 1, Began: u.now()}
	})
}

// version is of Caddy in what a slot came from.
func (u *Updater) version(from string, s slots.Slot) string {
	if f, err := u.slots.Get(from); err == nil {
		return f.Caddy
	}
	return s.Installed.Caddy
}

// neverCame ends an attempt whose switch began and whose candidate isn't what runs.
func (u *Updater) neverCame(sameBoot bool) {
	a := u.j.Attempt
	switch {
	case a.NextStart && u.c.Running.Refused != nil:
		u.fail(Lasting(CauseStart, fmt.Errorf("this start did not bring the update: %w", u.c.Running.Refused)))
	case a.NextStart:
		u.fail(Passing(CauseStart, errors.New("this start did not bring the update")))
	case a.Committed && sameBoot:
		u.fail(Lasting(CauseStart, errors.New("the process became the update, and ended before it served")))
	default:
		u.fail(Passing(CauseSwitch, errors.New("Caddy ended in the middle of the switch")))
	}
}

// lost ends the watching of a candidate that is no longer what runs.
func (u *Updater) lost(sameBoot bool) {
	a := u.j.Attempt
	if active, err := u.slots.ActiveID(); err == nil && active != a.Slot && !sameBoot {
		u.fail(Passing(CauseStart, errors.New("the power was cut before the next start would bring the update")))
		return
	}
	s, err := u.slots.Get(a.Slot)
	if now, ierr := slots.Identify(u.c.Running.Installed); err == nil && ierr == nil && !now.Same(s.Installed) {
		u.end(Failed, CauseSuperseded, "something newer was installed while the update was being watched", nil)
		return
	}
	why := "Caddy was started again, and the update did not come up"
	if u.c.Running.Refused != nil {
		why += ": " + u.c.Running.Refused.Error()
	}
	u.quarantine(CauseCrash, why)
	u.end(RolledBack, CauseCrash, why, nil)
}

// gone is for an update that was good, and isn't what runs.
func (u *Updater) gone() {
	a := u.j.Attempt
	if s, err := u.slots.Get(a.Slot); err == nil && s.Tries == 0 && u.c.Running.Refused != nil {
		why := "it came up no more: " + u.c.Running.Refused.Error()
		u.quarantine(CauseCrash, why)
		u.end(RolledBack, CauseCrash, why, nil)
		return
	}
	u.drop() // a newer one was installed, or this one was
}

// drive goes on with what serves, or is about to.
func (u *Updater) drive(ctx context.Context) (wait time.Duration) {
	a := u.j.Attempt
	mine := a.Slot == u.c.Running.Slot
	switch {
	case a.Back != nil:
		return u.goBack(ctx)
	case u.j.State == Watching:
		return u.watch(ctx)
	case mine:
		return u.arrive(ctx)
	case a.NextStart:
		return u.await()
	default:
		return u.switchTo(ctx)
	}
}

// switchTo makes the process the candidate. It returns only if that failed.
func (u *Updater) switchTo(ctx context.Context) time.Duration {
	a := u.j.Attempt
	u.c.Log.Info("Caddy becomes the update", zap.String("from", a.Before), zap.String("to", a.Version))
	err := u.during(ctx, u.refusing("an update is being switched to: wait for it"), func(ctx context.Context) error {
		return u.c.Actions.Switch(ctx, Destination{Slot: a.Slot, Path: u.slots.Executable(a.Slot)}, u.commit(ctx))
	})
	if errors.Is(err, ErrNextStart) {
		return u.nextStart()
	}
	if ctx.Err() != nil {
		return 0 // the process ends: its next start sees that nothing came of it
	}
	if err == nil {
		err = errors.New("it ended without becoming the update")
	}
	u.fail(classed(CauseSwitch, err))
	u.settle()
	return 0
}

// commit is what Actions.Switch calls last: Run's goroutine writes the journal.
func (u *Updater) commit(ctx context.Context) func() error {
	return func() error {
		c := make(chan error, 1)
		select {
		case u.commits <- c:
			return <-c
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (u *Updater) committing() error {
	err := u.change(func(j *journal) { j.Attempt.Committed = true })
	if err != nil && u.j.Attempt.Back != nil {
		return nil // away from harm, also from a disk that is full
	}
	return err
}

// refusing answers requests that come at a wrong time, and never stops anything.
func (u *Updater) refusing(why string) func() bool {
	return func() bool {
		for r := u.request(); r != nil; r = u.request() {
			r.reply <- errors.New(why)
		}
		return false
	}
}

// nextStart leaves the switch to the next start.
func (u *Updater) nextStart() time.Duration {
	a := u.j.Attempt
	err := u.change(func(j *journal) { j.Attempt.NextStart = true })
	if err == nil {
		err = u.slots.Activate(a.Slot, tries)
	}
	if err != nil {
		u.fail(classed(CauseStorage, err))
		u.settle()
		return 0
	}
	u.c.Log.Info("the update is ready, and the next start of Caddy brings it: restart Caddy when it suits", zap.String("to", a.Version))
	return 0
}

// await is for a candidate that waits for the next start.
func (u *Updater) await() time.Duration {
	u.waiting = "it is ready, and the next start of Caddy brings it"
	u.readPaused()
	r := u.requested()
	if u.p.off() == "" && u.paused == nil && (r == nil || !r.rollback) {
		u.refusing("an update is ready: restart Caddy")()
		u.tell()
		return 10 * time.Second
	}
	if r != nil {
		u.request().reply <- nil
	}
	u.fail(Passing(CausePerson, errors.New("it was no longer wanted before the next start")))
	u.settle()
	return 0
}

// arrive is for a process that has become the candidate.
func (u *Updater) arrive(ctx context.Context) time.Duration {
	a := u.j.Attempt
	if u.c.Actions.Up != nil {
		err := u.during(ctx, u.refusing("an update is being switched to: wait for it"), u.c.Actions.Up)
		if ctx.Err() != nil {
			return 0
		}
		if err != nil {
			u.undo(CauseStart, "the update came up badly: "+clip(err.Error()))
			return 0
		}
	}
	// From here on the next start is the candidate's as well: as long as it has
	// tries, and nothing is known against it.
	u.is(Watching, func(j *journal) {
		j.Attempt.Since, j.Attempt.Committed, j.Attempt.NextStart, j.Clean = u.now(), false, false, false
	})
	u.activate(a.Slot)
	u.c.Log.Info("Caddy was updated, and the update is being watched", zap.String("from", a.Before), zap.String("to", a.Version))
	return 0
}

// activate makes a slot what the next start brings, unless it is.
func (u *Updater) activate(id string) {
	now, err := u.slots.ActiveID()
	if err == nil && now == id {
		return
	}
	if err := u.slots.Activate(id, tries); err != nil {
		u.warn("activate", "the next start of Caddy would not bring what runs now", err)
	}
}

// watch sees whether the candidate does harm.
func (u *Updater) watch(ctx context.Context) time.Duration {
	a := u.j.Attempt
	if active, err := u.slots.ActiveID(); err == nil && active != a.Slot {
		u.activate(a.Slot)
	}
	var harm string
	rollback := func() bool {
		if u.c.Actions.Ending != nil && !u.j.Clean && u.c.Actions.Ending() {
			u.note(func(j *journal) { j.Clean = true })
		}
		for r := u.requested(); r != nil; r = u.requested() {
			if r.rollback {
				return true
			}
			u.request().reply <- fmt.Errorf("%s is being watched since %s: wait for it, or roll it back first", a.Version, a.Since.Format(time.RFC3339))
		}
		return false
	}
	err := errUnwanted
	if !rollback() {
		err = u.during(ctx, rollback, func(ctx context.Context) (err error) {
			harm, err = u.c.Actions.Watch(ctx, a.Candidate)
			return err
		})
	}
	switch {
	case ctx.Err() != nil:
		return 0
	case harm != "":
		u.undo(CauseHarm, clip(harm))
	case errors.Is(err, errUnwanted):
		if r := u.request(); r != nil {
			r.reply <- nil
		}
		u.undo(CausePerson, "a person rolled it back")
	case err != nil && u.watches < 3:
		u.watches++
		u.warn("watch", "the update can't be watched; it is tried again", err)
		return firstWait
	case err != nil:
		u.warn("watch", "the update could not be watched, and stays: look for yourself, and roll it back if it does harm", err)
		fallthrough
	default:
		u.end(Healthy, CauseNone, "", nil)
		u.settle()
	}
	return 0
}

// undo begins the way back.
func (u *Updater) undo(c Cause, why string) {
	b := &back{Step: u.j.State, Cause: c, Why: why}
	u.is(Switching, func(j *journal) { j.Attempt.Back = b })
	u.c.Log.Error("the update is undone", zap.String("version", u.j.Attempt.Version), zap.String("cause", string(c)), zap.String("why", why))
}

// goBack makes the process what it was before. It returns only if that failed,
// and is then called again: the way back needs no journal that can be written.
func (u *Updater) goBack(ctx context.Context) time.Duration {
	if wait := until(u.now(), u.j.Attempt.Back.Next, backEvery); wait > 0 {
		u.refusing("an update is being undone: restart Caddy to have it at once")()
		u.waiting = "going back is tried again; a restart of Caddy does it as well"
		return wait
	}
	// Written before each try: one that leads here again must not do so in a loop.
	u.note(func(j *journal) {
		b := j.Attempt.Back
		if b.Tries++; b.Tries >= smoothBack {
			b.Next = u.now().Add(backEvery)
		}
	})
	a := u.j.Attempt
	b := a.Back
	u.quarantine(b.Cause, b.Why)
	to := Destination{Slot: u.before(), Back: true, Rough: b.Tries > 1, Why: b.Why}
	if to.Path = u.c.Running.Installed; to.Slot != "" {
		to.Path = u.slots.Executable(to.Slot)
	}
	// A crash on the way must not bring the candidate again.
	if err := u.slots.Activate(to.Slot, tries); err != nil {
		u.warn("activate", "the next start of Caddy would bring the update that is undone; remove the link that is called active", err)
	}
	err := u.during(ctx, u.refusing("an update is being undone: wait for it"), func(ctx context.Context) error {
		return u.c.Actions.Switch(ctx, to, u.commit(ctx))
	})
	if ctx.Err() != nil {
		return 0
	}
	if errors.Is(err, ErrNextStart) || b.Tries >= smoothBack {
		if u.say.news("back", "") {
			u.c.Log.Error("this Caddy runs an update that does harm, and can't go back by itself: restart it, and the version before runs", zap.String("why", b.Why), zap.Error(err))
		}
		return 0
	}
	u.c.Log.Warn("going back failed, and is tried again", zap.Error(err))
	t := time.NewTimer(time.Duration(b.Tries) * time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return 0
}

const (
	smoothBack = 5               // tries to go back that follow each other
	backEvery  = 5 * time.Minute // then
)

// before is the slot to go back to: what ran before, if it still can be used;
// "" is the installed executable.
func (u *Updater) before() string {
	a := u.j.Attempt
	if a.From == "" {
		return ""
	}
	if u.intact(a.From) {
		return a.From
	}
	all, err := u.slots.List()
	if err != nil {
		return ""
	}
	best := slots.Slot{}
	for _, s := range all {
		if s.State == slots.Good && s.ID != a.Slot && s.Changed.After(best.Changed) && u.intact(s.ID) {
			best = s
		}
	}
	return best.ID
}

// rollBack is a person's wish to go back from what runs, when nothing is under way.
func (u *Updater) rollBack() error {
	id := u.c.Running.Slot
	if u.unlock == nil {
		return fmt.Errorf("updates can't be undone by this process: %s", u.problem)
	}
	if id == "" {
		return errors.New("the installed executable runs: there is nothing to go back to")
	}
	if u.c.Actions.Switch == nil {
		return errors.New("this Caddy can't switch")
	}
	s, err := u.slots.Get(id)
	if err != nil {
		return err
	}
	u.drop()
	now := u.now()
	return u.to(Switching, func(j *journal) {
		j.Attempt = &attempt{
			Candidate: Candidate{Slot: id, Path: u.slots.Executable(id), From: s.From, Version: s.Caddy, Before: u.version(s.From, s)},
			Began:     now, Person: true, Back: &back{Step: Healthy, Cause: CausePerson, Why: "a person rolled it back"},
		}
	})
}
