package updater

import (
	"strings"
	"time"
)

const (
	daily      = 24 * time.Hour
	minEvery   = time.Minute      // that a service may ask for, if the operator has no shorter one
	soonest    = 5 * time.Second  // while the service builds
	latest     = 10 * time.Minute // while the service builds
	firstCheck = 2 * time.Minute  // after a start, at the latest
	// wakeUp bounds each sleep, so that a clock that was set is noticed.
	wakeUp = 15 * time.Minute
	// maxTries is how often the same executable is tried, by causes that may lie
	// in it, before it is put in quarantine.
	maxTries  = 6
	firstWait = time.Minute // before the second try; then four times as long each
)

func (p Policy) every() time.Duration {
	if p.Every > 0 {
		return p.Every
	}
	return DefaultEvery
}

// interval is when to ask again: what the service says, within a factor of four
// of what the operator says, spread by a tenth either way.
func (u *Updater) interval(p Policy, again time.Duration, building bool) time.Duration {
	every := p.every()
	d := again
	switch {
	case building:
		d = min(max(d, min(soonest, every)), min(latest, every))
	case again <= 0:
		d = every
	default:
		d = min(max(d, every/4, min(minEvery, every)), 4*every)
	}
	return u.spread(d, 0.1)
}

// failedCheck is when to ask again after n checks without an answer.
func (u *Updater) failedCheck(p Policy, again time.Duration, n int) time.Duration {
	d := min(firstWait<<min(n-1, 20), p.every())
	if again > 0 {
		d = min(max(d, again), 4*p.every())
	}
	return u.spread(d, 0.2)
}

// retryAfter is when to try an executable again after n failures.
func (u *Updater) retryAfter(p Policy, n int) time.Duration {
	d := min(firstWait, p.every())
	for range min(n-1, 8) {
		d *= 4
	}
	return u.spread(min(d, daily), 0.2)
}

func (u *Updater) spread(d time.Duration, by float64) time.Duration {
	return time.Duration(float64(d) * (1 - by + 2*by*u.c.Random()))
}

// until is how long it is to a time that was written down, at most most. A time
// beyond that was written by a clock that was set since: it is now.
func until(now, t time.Time, most time.Duration) time.Duration {
	d := t.Sub(now)
	if d <= 0 || d > most {
		return 0
	}
	return d
}

// since tells whether d has gone by since t; a t that is to come is from a clock
// that was set.
func passed(now, t time.Time, d time.Duration) bool {
	return now.Sub(t) >= d || t.Sub(now) > time.Minute
}

// A sayer keeps what is to be said from being said too often.
type sayer struct {
	now  func() time.Time
	last map[string]said
}

type said struct {
	text string
	at   time.Time
}

// news tells whether text, of a kind, is to be said: it is another one than last
// time, or a day went by. Numbers in it, such as ports and counts, don't matter.
func (s *sayer) news(kind, text string) bool {
	text = strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
	if l, ok := s.last[kind]; ok && l.text == text && !passed(s.now(), l.at, daily) {
		return false
	}
	if s.last == nil {
		s.last = map[string]said{}
	}
	s.last[kind] = said{text, s.now()}
	return true
}

// over makes the next one of a kind news.
func (s *sayer) over(kind string) (was bool) {
	_, was = s.last[kind]
	delete(s.last, kind)
	return was
}
