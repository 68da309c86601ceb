package updater

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/slots"
)

const (
	attemptsFile = "attempts.json"
	maxAttempts  = 50
	maxFile      = 4 << 20 // bytes of it
)

// end ends an attempt, and changes the journal by f, which may be nil, as well.
func (u *Updater) end(s State, c Cause, why string, f func(*journal)) {
	u.is(s, func(j *journal) {
		a, step := j.Attempt, u.j.State
		if a.Back != nil {
			step = a.Back.Step
		}
		now := u.now()
		j.Last, j.Reported = &Outcome{
			State: s, Step: step, Cause: c, Why: why, From: a.Before, To: a.Version, Slot: a.Slot, Severity: a.Severity, Try: a.Try,
			Began: a.Began, Ended: now, Seconds: a.Seconds, Bytes: a.Bytes, Method: a.Method, Person: a.Person,
		}, false
		j.Clean = false
		if s == Healthy {
			j.forgive(a.Slot)
			j.Notice, j.ToldKey = nil, ""
		}
		if s == RolledBack {
			a.Person = false // from now on it is in quarantine for all
		}
		if f != nil {
			f(j)
		}
	})
}

// bounded tells whether what fails for a cause may be the executable's own fault,
// so that it is tried a few times only. All else is tried as long as it is wanted,
// at most daily in the end.
func (c Cause) bounded() bool {
	switch c {
	case CauseMismatch, CauseOlder, CauseModules, CauseRehearsal, CauseSwitch, CauseStart, CauseOther:
		return true
	}
	return false
}

// fail ends an attempt that does not serve, and decides whether and when it is
// tried again.
func (u *Updater) fail(err error) {
	e := &Error{Cause: CauseOther, Err: err}
	errors.As(err, &e)
	a := u.j.Attempt
	r := u.j.retry(a.Slot)
	if r.Fails++; e.Cause.bounded() {
		r.Count++
	}
	why := clip(err.Error())
	if r.Count >= maxTries && !e.Lasting {
		e.Lasting = true
		why = fmt.Sprintf("it failed %d times, the last time: %s", r.Count, why)
	}
	r.Next = u.now().Add(u.retryAfter(u.p, r.Fails))
	fields := []zap.Field{zap.String("from", a.Before), zap.String("to", a.Version), zap.String("step", string(u.j.State)), zap.String("cause", string(e.Cause)), zap.String("why", why)}
	// Said before it can be seen elsewhere, so that who sees it finds it in the log.
	switch {
	case e.Lasting:
		u.c.Log.Error("an update failed and is not tried again; Caddy runs on as it was. If you know why, try it again: caddy evergreen apply", fields...)
	case u.say.news("fail", why):
		u.c.Log.Warn("an update failed and is tried again; Caddy runs on as it was", append(fields, zap.Time("next", r.Next))...)
	}
	u.end(Failed, e.Cause, why, func(j *journal) {
		if !e.Lasting {
			j.setRetry(r)
			return
		}
		j.Attempt.Person = false
		j.quarantine(Quarantined{Slot: a.Slot, Version: a.Version, Cause: e.Cause, Why: why, Time: u.now()})
	})
}

// quarantine keeps an executable from being tried again by itself.
func (u *Updater) quarantine(c Cause, why string) {
	a := u.j.Attempt
	if q := u.j.quarantined(a.Slot); q == nil || q.Why != why {
		u.note(func(j *journal) {
			j.quarantine(Quarantined{Slot: a.Slot, Version: a.Version, Cause: c, Why: why, Time: u.now()})
		})
	}
	u.mark(slots.Bad, why)
}

// mark sets the state of the candidate's slot, if there is one.
func (u *Updater) mark(to slots.State, why string) {
	s, err := u.slots.Get(u.j.Attempt.Slot)
	if errors.Is(err, slots.ErrNoSlot) || err == nil && s.State == to {
		return
	}
	if err == nil {
		err = u.slots.Mark(s.ID, to, why)
	}
	if err != nil {
		u.warn("mark", "what is known of an executable can't be written down", err)
	}
}

// settle does what belongs to the end of an attempt and may be missing since a
// crash; all of it can be done twice.
func (u *Updater) settle() {
	if u.unlock == nil {
		return
	}
	a := u.j.Attempt
	if !u.settled && a != nil && u.j.State.Ended() {
		switch u.j.State {
		case Healthy:
			u.mark(slots.Good, "it was watched, and did no harm")
		case RolledBack, Failed:
			if u.j.quarantined(a.Slot) != nil {
				u.mark(slots.Bad, u.j.Last.Why)
			}
			if id, err := u.slots.ActiveID(); err == nil && id == a.Slot {
				u.activate(u.before())
			}
		}
		u.clean()
		u.settled = !u.dirty
	}
	if u.j.Last != nil && !u.j.Reported {
		if err := u.list(*u.j.Last); err != nil {
			u.warn("attempts", "the list of updates can't be written", err)
		}
		if u.c.Actions.Outcome != nil {
			u.c.Actions.Outcome(*u.j.Last)
		}
		u.note(func(j *journal) { j.Reported = true })
		if u.j.Last.State == Healthy {
			u.c.Log.Info("the update is good", zap.String("from", u.j.Last.From), zap.String("to", u.j.Last.To))
		}
	}
}

// Attempts are the last outcomes of a folder, the oldest first; none if there
// were none.
func Attempts(dir string) ([]Outcome, error) {
	f, err := os.Open(filepath.Join(dir, attemptsFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the list of updates: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil || len(b) > maxFile {
		return nil, fmt.Errorf("reading the list of updates: %d bytes: %w", len(b), errors.Join(err, errJournal))
	}
	var all []Outcome
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("the list of updates is %w: %w", errJournal, err)
	}
	return all, nil
}

// list adds an outcome to the list, unless it is there.
func (u *Updater) list(o Outcome) error {
	all, err := Attempts(u.c.Dir)
	if err != nil && !errors.Is(err, errJournal) {
		return err
	}
	for _, x := range all {
		if x.Slot == o.Slot && x.Ended.Equal(o.Ended) {
			return nil
		}
	}
	if all = append(all, o); len(all) > maxAttempts {
		all = all[len(all)-maxAttempts:]
	}
	b, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	return replace(u.disk, filepath.Join(u.c.Dir, attemptsFile), append(b, '\n'))
}
