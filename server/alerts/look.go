package alerts

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"runtime/debug"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/watch"
)

// Run looks at what is watched and tells what departs, until ctx is done.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	loop := func(name string, every time.Duration, wake <-chan struct{}, do func(context.Context) error) {
		wg.Go(func() {
			t := time.NewTicker(every)
			defer t.Stop()
			for {
				if err := s.caught(ctx, do); err != nil && ctx.Err() == nil {
					s.cfg.Logger.Error(name+" failed; it is tried again", "in", every, "error", err)
				}
				select {
				case <-ctx.Done():
					return
				case <-t.C:
				case <-wake:
				}
			}
		})
	}
	loop("looking at what is watched", min(15*time.Second, s.cfg.Every), nil, s.look)
	loop("delivering alerts", 5*time.Second, s.wake, s.deliver)
	loop("dropping old alerts", time.Hour, nil, s.sweep)
	wg.Wait()
	return nil
}

// caught has a panic end one round and not the server.
func (s *Service) caught(ctx context.Context, do func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do(ctx)
}

const (
	lookers     = 2
	atOnce      = 64 // subscriptions of a round
	startedBack = watch.Lookback
)

// A looked is a watch as it is kept.
type looked struct {
	n        int
	watch    watch.Watch
	unit     string
	standing watch.Standing
	history  []watch.Reading
}

// look looks at all watches that are due.
func (s *Service) look(ctx context.Context) error {
	for ctx.Err() == nil {
		subs, err := s.due(ctx)
		if err != nil || len(subs) == 0 {
			return err
		}
		var wg sync.WaitGroup
		next := make(chan subscription)
		for range min(lookers, len(subs)) {
			wg.Go(func() {
				for sub := range next {
					err := s.caught(ctx, func(ctx context.Context) error {
						ctx, cancel := context.WithTimeout(ctx, lookTimeout)
						defer cancel()
						return s.lookAt(ctx, sub)
					})
					if err != nil && ctx.Err() == nil {
						s.m.failures.Inc()
						s.cfg.Logger.Warn("a watched number can't be read; it is tried again", "subscription", short(sub.id), "in", s.cfg.Every, "error", err)
					}
				}
			})
		}
		for _, sub := range subs {
			next <- sub
		}
		close(next)
		wg.Wait()
	}
	return nil
}

// short is what of an id, which whoever has it may read with, is in a log.
func short(id string) string { return id[:min(len(id), 8)] }

// due takes subscriptions whose watches are due, so that no other server does.
func (s *Service) due(ctx context.Context) ([]subscription, error) {
	now := s.cfg.Now()
	var subs []subscription
	err := s.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		subs = nil
		err := control.EachRow(ctx, tx, func(rows *sql.Rows) error {
			sub, err := scanSubscription(rows.Scan)
			subs = append(subs, sub)
			return err
		}, selectSubscription+`WHERE state <> $1 AND id IN
			(SELECT subscription FROM alert_watches WHERE due <= $2 ORDER BY due LIMIT $3)`, stateEnded, control.Micros(now), atOnce)
		if err != nil {
			return err
		}
		for _, sub := range subs {
			if _, err := tx.ExecContext(ctx, "UPDATE alert_watches SET due = $1 WHERE subscription = $2", control.Micros(s.next(sub.id, now)), sub.id); err != nil {
				return err
			}
		}
		// Ended ones are not looked at, and must not stay in front of the others.
		_, err = tx.ExecContext(ctx, `UPDATE alert_watches SET due = $1 WHERE due <= $2 AND subscription IN
			(SELECT id FROM alert_subscriptions WHERE state = $3)`, control.Micros(now.Add(24*time.Hour)), control.Micros(now), stateEnded)
		return err
	})
	return subs, err
}

// next is a subscription's next time, which is its own, so that not all are
// looked at at once.
func (s *Service) next(id string, now time.Time) time.Time {
	h := fnv.New64a()
	h.Write([]byte(id))
	phase := time.Duration(h.Sum64() % uint64(s.cfg.Every))
	at := now.Truncate(s.cfg.Every).Add(phase)
	for !at.After(now) {
		at = at.Add(s.cfg.Every)
	}
	return at
}

// lookAt reads and judges a subscription's watches. One that can't be read
// holds up no other.
func (s *Service) lookAt(ctx context.Context, sub subscription) error {
	var watches []looked
	err := s.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		watches = nil
		return control.EachRow(ctx, tx, func(rows *sql.Rows) error {
			var l looked
			var body, state string
			var since int64
			var history []byte
			err := rows.Scan(&l.n, &body, &l.unit, &state, &since, &l.standing.Side, &l.standing.Streak, &history)
			if err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(body), &l.watch); err != nil {
				return err
			}
			l.standing.State, l.standing.Since = watch.State(state), control.Time(since)
			l.history, err = watch.Unpack(history)
			watches = append(watches, l)
			return err
		}, "SELECT n, body, unit, state, since, side, streak, history FROM alert_watches WHERE subscription = $1 ORDER BY n", sub.id)
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range watches {
		errs = append(errs, s.lookAtOne(ctx, sub, l))
	}
	return errors.Join(errs...)
}

func (s *Service) lookAtOne(ctx context.Context, sub subscription, l looked) error {
	id, err := sub.instanceOf()
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	if err := s.learn(ctx, sub, &l, now); err != nil {
		return err
	}
	reading, err := s.cfg.Source.LatestReading(ctx, id, l.watch)
	if err != nil {
		return err
	}
	s.m.looks.Inc()
	j := watch.Judgement{Reading: watch.Reading{Time: now}}
	if reading != nil {
		j = watch.Judge(l.watch, *reading, l.history)
	}
	had := l.standing
	standing, turn := had.Next(j, now)
	latest := ""
	if reading != nil {
		b, err := json.Marshal(j)
		if err != nil {
			return err // no number: Judge would not know it
		}
		latest = string(b)
	}
	return s.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		// Another server's look came first if the state is not what was read.
		r, err := tx.ExecContext(ctx, `UPDATE alert_watches SET state = $1, since = $2, side = $3, streak = $4, latest = $5, history = $6
			WHERE subscription = $7 AND n = $8 AND state = $9 AND streak = $10`,
			string(standing.State), control.Micros(standing.Since), int(standing.Side), standing.Streak, latest, watch.Pack(l.history),
			sub.id, l.n, string(had.State), had.Streak)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 || turn == watch.None {
			return err
		}
		return s.tell(ctx, tx, sub, watch.Event{
			ID: newID(), Type: turn, Time: now, Watch: l.watch, Judgement: j, Unit: l.unit, Text: says(l, turn, j),
		})
	})
}

// learn adds the hours since the last one to what a watch compares with.
func (s *Service) learn(ctx context.Context, sub subscription, l *looked, now time.Time) error {
	if l.watch.Measure == watch.Silence {
		return nil
	}
	// Readings are named by the hour's end, which is the next one's begin.
	from := now.Add(-startedBack).Truncate(time.Hour)
	if n := len(l.history); n > 0 && l.history[n-1].Time.After(from) {
		from = l.history[n-1].Time
	}
	if now.Sub(from) < time.Hour {
		return nil
	}
	id, err := sub.instanceOf()
	if err != nil {
		return err
	}
	more, err := s.cfg.Source.HourlyReadings(ctx, id, l.watch, from)
	if err != nil {
		return err
	}
	for _, r := range more {
		if r.Time.After(from) {
			l.history = append(l.history, r)
		}
	}
	old := now.Add(-startedBack - time.Hour)
	for len(l.history) > 0 && l.history[0].Time.Before(old) {
		l.history = l.history[1:]
	}
	return nil
}

// says is an event in one sentence.
func says(l looked, turn watch.Turn, j watch.Judgement) string {
	name := l.watch.Name
	value := watch.Show(j.Value, l.unit)
	if l.watch.Measure == watch.Silence {
		if turn == watch.Returned {
			return name + ": the instance reports again."
		}
		return fmt.Sprintf("%s: the newest report is %s old.", name, value)
	}
	usual := fmt.Sprintf("usual at this time is %s (%s to %s)", watch.Show(j.Usual, l.unit), watch.Show(j.Lowest, l.unit), watch.Show(j.Most, l.unit))
	if turn == watch.Returned {
		return fmt.Sprintf("%s: back to %s; %s.", name, value, usual)
	}
	side := "high"
	if j.Side == watch.Under {
		side = "low"
	}
	return fmt.Sprintf("%s: unusually %s, %s; %s.", name, side, value, usual)
}

// sweep deletes what is out of date: old events, ended subscriptions, and feeds
// that nobody reads.
func (s *Service) sweep(ctx context.Context) error {
	now := s.cfg.Now()
	return s.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM alert_events WHERE time < $1", control.Micros(now.Add(-keepEvents))); err != nil {
			return err
		}
		err := removeWhere(ctx, tx, "state = $1 AND heard < $2", stateEnded, control.Micros(now.Add(-keepEnded)))
		if err != nil {
			return err
		}
		return removeWhere(ctx, tx, "url = '' AND id <> $1 AND heard < $2", PublicID, control.Micros(now.Add(-keepUnread)))
	})
}
