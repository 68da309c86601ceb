package updater

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/wire"
)

// checkIfDue asks the service if it is time, and returns when it is again.
func (u *Updater) checkIfDue(ctx context.Context) time.Duration {
	now, most := u.now(), 5*u.p.every()
	if u.j.LastCheck.IsZero() && u.j.NextCheck.IsZero() && u.j.CheckFails == 0 && u.asked.IsZero() {
		// Many servers start at once when the power is back.
		u.note(func(j *journal) { j.NextCheck = now.Add(u.spread(min(firstCheck, u.p.every())/2, 1)) })
		u.asked = now
	}
	if wait := until(now, u.j.NextCheck, most); wait > 0 {
		u.tell()
		return wait
	}
	u.asked = now
	u.check(ctx, u.p.Scope)
	u.tell()
	return until(u.now(), u.j.NextCheck, most)
}

// check asks, and makes of the answer what is known. Without one that can be
// used, the journal's CheckError says why, unless it was no longer wanted.
func (u *Updater) check(ctx context.Context, scope wire.Scope) (answered bool) {
	if w := u.j.Wish; w != nil {
		if passed(u.now(), w.Time, daily) {
			u.note(func(j *journal) { j.Wish = nil })
		} else if w.Version != "" {
			scope = wire.ScopeAll
		}
	} else if a := u.j.Attempt; a != nil && a.Person && !u.j.State.Ended() {
		scope = wire.ScopeAll
	}
	self, err := u.c.Actions.Self()
	var answer wire.Answer
	var again time.Duration
	if err == nil {
		self.Scope, self.Channel, self.Pins = scope, u.p.Channel, u.p.Pins
		err = u.during(ctx, u.policyChanged, func(ctx context.Context) (err error) {
			answer, again, err = u.c.Actions.Ask(ctx, self)
			return err
		})
		if errors.Is(err, errUnwanted) || ctx.Err() != nil {
			return false
		}
	}
	if err == nil {
		if err = acceptAnswer(self, answer); err != nil {
			err = fmt.Errorf("the service's answer is refused: %w", err)
		}
	}
	if err != nil {
		n := u.j.CheckFails + 1
		u.note(func(j *journal) {
			j.CheckFails, j.CheckError = n, clip(err.Error())
			j.NextCheck = u.now().Add(u.failedCheck(u.p, again, n))
		})
		if u.say.news("check", err.Error()) {
			u.c.Log.Warn("whether there is an update is not known; it is asked again later, and Caddy runs on", zap.String("service", u.p.Service), zap.Time("next", u.j.NextCheck), zap.Error(err))
		}
		return false
	}
	if u.say.over("check") {
		u.c.Log.Info("the update service answers again", zap.String("service", u.p.Service))
	}
	if answer.RetryAfter > 0 {
		again = time.Duration(min(answer.RetryAfter, 1<<31)) * time.Second
	}
	building := answer.NeedsUpdate && answer.Target == nil && answer.Build != nil && answer.Build.State != "failed"
	next := u.interval(u.p, again, building)
	u.learn(self, answer, func(j *journal) {
		now := u.now()
		j.LastCheck, j.NextCheck, j.CheckFails, j.CheckError = now, now.Add(next), 0, ""
		j.AskedAs = u.askedAs()
	})
	return true
}

// learn makes an accepted answer what is known.
func (u *Updater) learn(self wire.Check, a wire.Answer, f func(*journal)) {
	if a.NeedsUpdate && a.Target != nil && (a.Target.SHA256 == self.SHA256 || a.Target.SHA256 == u.c.Running.Slot) {
		a = wire.Answer{} // it is what runs
	}
	if !a.NeedsUpdate {
		u.why = a.Held
		if u.j.State != Healthy { // which is still so
			u.drop()
		}
		u.note(func(j *journal) {
			f(j)
			j.Notice, j.Told, j.ToldKey = nil, time.Time{}, ""
		})
		return
	}
	have := self.Build.Version(wire.CaddyPath)
	notice := noticeOf(*a.Plan, have)
	if had := u.j.Notice; had != nil {
		notice.Installs, notice.Why = had.Installs, had.Why // until tell looks again
	}
	u.why = reasonFor(self, a)
	if had := u.j.Attempt; a.Target != nil && had != nil && had.Slot == a.Target.SHA256 && had.From == u.c.Running.Slot {
		// The ways to it and the reasons may have changed.
		u.note(func(j *journal) {
			f(j)
			j.Notice = &notice
			j.Attempt.Target, j.Attempt.Plan, j.Attempt.Severity = *a.Target, *a.Plan, a.Plan.Severity
			j.Attempt.Version, j.Attempt.Before = versionOf(a.Plan, have), have
		})
		u.grant()
		return
	}
	u.drop()
	u.is(Checked, func(j *journal) {
		f(j)
		j.Notice = &notice
		if a.Target == nil {
			return
		}
		j.Attempt = &attempt{Candidate: Candidate{
			Slot: a.Target.SHA256, Path: u.slots.Executable(a.Target.SHA256), Target: *a.Target, Plan: *a.Plan, Severity: a.Plan.Severity,
			From: u.c.Running.Slot, Version: versionOf(a.Plan, have), Before: have,
		}}
	})
	u.grant()
}

// noticeOf is what a plan means to a person.
func noticeOf(p wire.Plan, have string) Notice {
	n := Notice{From: have, To: versionOf(&p, have), Severity: p.Severity, Changes: p.Changes, Unfixed: p.Unfixed}
	for _, c := range p.Changes {
		for _, r := range c.Reasons {
			text := r.ID
			if r.Summary != "" {
				text += ": " + clip(r.Summary)
			}
			if !slices.Contains(n.Reasons, text) {
				n.Reasons = append(n.Reasons, text)
			}
			if r.Kind == "advisory" && !slices.Contains(n.Advisories, r.ID) {
				n.Advisories = append(n.Advisories, r.ID)
			}
			if n.Link == "" {
				n.Link = r.Link
			}
		}
	}
	return n
}

const maxText = 2000 // bytes of a text that came from elsewhere

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// brief is as much of a text as fits in a sentence.
func brief(s string) string {
	line, _, more := strings.Cut(s, "\n")
	if len(line) > 200 {
		line, more = strings.ToValidUTF8(line[:200], ""), true
	}
	if more {
		line += "…"
	}
	return line
}

// reasonFor is why an answer has nothing to install; "" if it has.
func reasonFor(self wire.Check, a wire.Answer) string {
	switch {
	case a.Target != nil:
		return ""
	case a.Held != "":
		return a.Held
	case self.Incomplete:
		return "this Caddy has modules that are not public, so that the service can't build it: build it yourself"
	case a.Build == nil:
		return "the service does not build: get the new version as you got this one"
	case a.Build.State == "failed":
		return "the service could not build it: " + clip(a.Build.Error)
	default:
		return "the service is building it (" + a.Build.State + ")"
	}
}

// notifies is why nothing is installed without a person; "" if it is.
func (u *Updater) notifies() string {
	switch {
	case u.p.off() != "":
		return u.p.off()
	case u.p.Notify && u.p.NotifyWhy != "":
		return u.p.NotifyWhy
	case u.p.Notify:
		return "notify is set"
	}
	return u.cannot()
}

// cannot is why not even a person can have anything installed.
func (u *Updater) cannot() string {
	a := u.c.Actions
	switch {
	case runtime.GOOS == "windows":
		return "on Windows a Caddy that runs can't replace itself: install the new version, and restart"
	case a.Vouched == nil || a.Fetch == nil:
		return "this Caddy has no root of trust to verify updates with: set one, or get a build of the update service"
	case a.Inspect == nil || a.Rehearse == nil || a.Switch == nil || a.Watch == nil:
		return "this Caddy can't install updates"
	}
	return u.problem
}

// installs tells whether the known update is to be installed, and if not, why.
func (u *Updater) installs() (why string) {
	a := u.j.Attempt
	if a == nil {
		return u.why
	}
	if why := u.cannot(); why != "" {
		return why
	}
	if why := u.notifies(); why != "" && !a.Person {
		return why
	}
	if q := u.j.quarantined(a.Slot); q != nil {
		return fmt.Sprintf("it failed here on %s (%s); to try it again: caddy evergreen apply", q.Time.Format(time.DateOnly), brief(q.Why))
	}
	if u.paused != nil {
		return fmt.Sprintf("%s paused updates on %s; to go on: caddy evergreen resume", u.paused.Who, u.paused.Time.Format(time.DateOnly))
	}
	return ""
}

// tell tells of an update that is news, or was a day ago.
func (u *Updater) tell() {
	n := u.j.Notice
	if n == nil || u.c.Actions.Tell == nil {
		return
	}
	why := u.installs()
	key := noticeKey(*n, why == "")
	if key == u.j.ToldKey && !passed(u.now(), u.j.Told, daily) && n.Why == why {
		return
	}
	due := key != u.j.ToldKey || passed(u.now(), u.j.Told, daily)
	u.note(func(j *journal) {
		n := *j.Notice
		n.Installs, n.Why = why == "", why
		j.Notice = &n
		if due {
			j.Told, j.ToldKey = u.now(), key
		}
	})
	if due {
		u.c.Actions.Tell(*u.j.Notice)
	}
}

// noticeKey is equal for notices that say the same.
func noticeKey(n Notice, installs bool) string {
	changes := make([]string, len(n.Changes))
	for i, c := range n.Changes {
		changes[i] = c.Path + "@" + c.To
	}
	b, err := json.Marshal([]any{n.From, n.To, n.Severity, changes, n.Advisories, installs})
	if err != nil {
		return ""
	}
	return string(b)
}

// serve answers a person's wish to install something.
func (u *Updater) serve(ctx context.Context, r *request) {
	if why := u.cannot(); why != "" || u.unlock == nil {
		r.reply <- fmt.Errorf("updates can't be installed by this process: %s", why)
		return
	}
	if u.paused != nil {
		r.reply <- fmt.Errorf("%s paused updates: caddy evergreen resume comes first", u.paused.Who)
		return
	}
	scope := u.p.Scope
	if r.version != "" {
		scope = wire.ScopeAll
	}
	u.note(func(j *journal) { j.Wish = &wish{Version: r.version, Time: u.now()} })
	answered := u.check(ctx, scope)
	refuse := func(err error) {
		u.note(func(j *journal) { j.Wish = nil })
		r.reply <- err
	}
	switch n := u.j.Notice; {
	case !answered && u.j.CheckError != "":
		refuse(errors.New(u.j.CheckError))
	case !answered:
		refuse(errors.New("the configuration changed meanwhile: try it again"))
	case n == nil && u.why != "":
		refuse(fmt.Errorf("nothing is offered: %s", u.why))
	case n == nil && scope != wire.ScopeAll:
		refuse(fmt.Errorf("there is no update in the scope %s; with --version, what is beyond is installed too", scope))
	case n == nil:
		refuse(errors.New("there is no update for this Caddy"))
	case r.version != "" && n.To != r.version:
		refuse(fmt.Errorf("the service offers %s for this Caddy, not %s", n.To, r.version))
	case u.j.Attempt == nil && u.j.NextCheck.Sub(u.now()) > 2*latest:
		refuse(errors.New(u.why))
	default:
		r.reply <- nil
	}
}

// grant makes the known target one that a person asked for, if it is that.
func (u *Updater) grant() {
	w, a := u.j.Wish, u.j.Attempt
	if w == nil || a == nil || w.Version != "" && w.Version != a.Version {
		return
	}
	u.note(func(j *journal) {
		j.Wish = nil
		j.forgive(a.Slot)
		j.Attempt.Person = true
	})
}
