package bridge

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// old is the switch as the old process does it.
type old struct {
	Options
	given  inheritance // what the helper and the next image are given
	helper *child
	began  time.Time
	stage  stage
	silent bool // none of our sockets listened any more, at some time
}

// stage is what has to be undone.
type stage int

const (
	untouched stage = iota
	pinned          // programs are attached, to ourselves
	started         // a helper runs, in the dark
	taken           // it has the new connections
	stopped         // we listen no more
)

// Switch replaces this process's executable by o.Next, a helper serving in
// between. It returns only if that failed, with the step (StepError), once
// this server serves again as before; or, with ErrExit, when the helper has left.
func Switch(ctx context.Context, o Options) error {
	s := &old{Options: o, began: time.Now()}
	err := s.run(ctx)
	s.log("the switch is given up", "error", err, "after", time.Since(s.began).Round(time.Millisecond))
	s.undo(ctx, err)
	return err
}

func (s *old) run(ctx context.Context) (err error) {
	at := StepSurvey
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a panic: %v\n%s", p, debug.Stack())
		}
		if s.helper != nil {
			err = s.helper.obituary(err)
		}
		err = &StepError{at, err}
	}()
	for _, step := range []struct {
		is Step
		do func(context.Context) error
	}{
		{StepSurvey, s.survey},
		{StepPin, s.pin},
		{StepStart, s.start},
		{StepUp, s.up},
		{StepCheck, s.check},
		{StepTake, s.take},
		{StepSettle, s.settle},
		{StepStop, s.takeQUIC},
		{StepDrain, s.drain},
		{StepCheck, s.recheck},
		{StepHold, s.hold},
		{StepBefore, s.before},
		{StepExec, s.become},
	} {
		at = step.is
		if err := s.trouble(ctx); err != nil {
			return err
		}
		if err := step.do(ctx); err != nil {
			return err
		}
		s.log(string(at), "done after", time.Since(s.began).Round(time.Millisecond))
	}
	panic("unreachable: execve returned without an error")
}

// trouble is what ends a switch at any time.
func (s *old) trouble(ctx context.Context) error {
	if err := s.Server.Abort(); err != nil {
		return err
	}
	if s.helper != nil && s.helper.gone() {
		return fmt.Errorf("the helper (process %d): %w", s.helper.pid, s.helper.err)
	}
	return context.Cause(ctx)
}

// wait waits for d, or until there is trouble.
func (s *old) wait(ctx context.Context, d time.Duration) error {
	for end := time.Now().Add(d); ; {
		if err := s.trouble(ctx); err != nil {
			return err
		}
		rest := time.Until(end)
		if rest <= 0 {
			return nil
		}
		pause(ctx, min(rest, 20*time.Millisecond))
	}
}

func (s *old) survey(context.Context) error {
	if len(s.Next.Stdin) > 0 || len(s.Back.Stdin) > 0 {
		return errors.New("a process that becomes another executable keeps its standard input: Stdin is the helper's alone")
	}
	if err := Supported(); err != nil {
		return err
	}
	groups, ports, local, err := bridged(s.Skip)
	if err != nil {
		return err
	}
	if s.Settle == 0 {
		s.Settle = settleRemote
		if local {
			s.Settle = settleLocal
		}
	}
	if s.Patience == 0 {
		s.Patience = defaultPatience
	}
	s.given = inheritance{
		Protocol: Protocol, Groups: groups, Ports: ports,
		Settle: s.Settle, Grace: s.Grace, Patience: s.Patience, Began: s.began.UnixMilli(),
	}
	return nil
}

func (s *old) pin(context.Context) error {
	s.stage = pinned
	_, err := steerAll(s.given.Groups, to(0), to(0))
	return err
}

func (s *old) start(context.Context) (err error) {
	given := s.given
	given.Role = roleHelper
	s.helper, err = start(s.Helper, given)
	if err == nil {
		s.stage = started
	}
	return err
}

func (s *old) up(ctx context.Context) error {
	ctx, cancel := s.watched(ctx)
	defer cancel()
	m, err := s.helper.hear(ctx, max(s.Patience/3, time.Second))
	switch {
	case err != nil:
		return fmt.Errorf("it does not say hello: %w", err)
	case m.verb != "hello":
		return fmt.Errorf("it says %q instead of hello", m.verb)
	case m.arg != fmt.Sprint(Protocol):
		return fmt.Errorf("it speaks version %s of the bridge, this executable %d", m.arg, Protocol)
	}
	m, err = s.helper.hear(ctx, s.Patience)
	switch {
	case err != nil:
		return fmt.Errorf("it does not come up: %w", err)
	case m.verb == "failed":
		return fmt.Errorf("it does not come up: %s", m.arg)
	case m.verb != "up":
		return fmt.Errorf("it says %q instead of up", m.verb)
	}
	s.helper.isUp = true
	return s.listens(2)
}

// watched is a context that ends when the server wants the switch to end.
func (s *old) watched(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		defer func() { _ = recover() }()
		for ctx.Err() == nil {
			if err := s.Server.Abort(); err != nil {
				cancel(err)
			}
			pause(ctx, 20*time.Millisecond)
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}

// listens checks that so many sockets are in each group: the numbers that
// programs speak of mean what they should only then.
func (s *old) listens(want int) error {
	counts, err := census()
	if err != nil {
		return err
	}
	var bad []error
	for _, g := range s.given.Groups {
		switch n := counts[g]; {
		case n == want:
		case n < want:
			bad = append(bad, fmt.Errorf("the helper does not listen on %v", g))
		default:
			bad = append(bad, fmt.Errorf("%d sockets listen on %v, %d should: another process has joined", n, g, want))
		}
	}
	return errors.Join(bad...)
}

func (s *old) check(ctx context.Context) error {
	if s.Healthy != nil {
		ctx, cancel := s.watched(ctx)
		defer cancel()
		ctx, end := context.WithTimeoutCause(ctx, s.Patience, fmt.Errorf("no result of the check within %v", s.Patience))
		defer end()
		if err := s.Healthy(ctx, s.helper.pid); err != nil {
			return err
		}
	}
	return s.helper.ask("ping", "")
}

func (s *old) take(context.Context) error {
	s.stage = taken
	if err := s.helper.ask("take", ""); err != nil {
		return err
	}
	s.Server.Retire(true)
	return nil
}

func (s *old) settle(ctx context.Context) error { return s.wait(ctx, s.Settle) }

func (s *old) takeQUIC(context.Context) error {
	if err := s.helper.ask("ping", ""); err != nil {
		return err
	}
	if !slices.ContainsFunc(s.given.Groups, func(g group) bool { return g.UDP }) {
		return nil
	}
	return s.helper.ask("take-quic", "")
}

// drain stops the server. The helper is asked for signs of life meanwhile: one
// that hangs has everybody waiting.
func (s *old) drain(ctx context.Context) error {
	s.stage = stopped
	w := waiter{groups: s.given.Groups, ports: s.given.Ports, grace: s.Grace, server: s.Server}
	w.stopped = func() { s.silent = true }
	asked := time.Now()
	listening, connections, err := w.stop(ctx, func() error {
		if err := s.trouble(ctx); err != nil {
			return err
		}
		if time.Since(asked) < 2*time.Second {
			return nil
		}
		asked = time.Now()
		return s.helper.ask("ping", "")
	})
	if err != nil {
		return err
	}
	if listening > 0 {
		return fmt.Errorf("%d sockets still listen", listening)
	}
	if connections > 0 {
		s.log("the grace period is over: connections are cut off", "connections", connections, "grace", s.Grace)
	}
	return nil
}

func (s *old) recheck(ctx context.Context) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	return s.listens(1)
}

func (s *old) hold(context.Context) error { return s.helper.ask("pin", "") }

func (s *old) before(context.Context) error {
	if s.Before == nil {
		return nil
	}
	return s.Before()
}

func (s *old) become(ctx context.Context) error {
	next := s.given
	next.Role, next.Helper = roleNext, s.helper.pid
	next.Back = s.wayBack()
	var err error
	herr := s.helper.held(func(fd int) {
		next.FD = fd
		var v string
		if v, err = next.env(); err == nil {
			err = s.trouble(ctx)
		}
		if err == nil && hungUp(fd) {
			err = fmt.Errorf("the helper (process %d) is gone", s.helper.pid)
		}
		if err == nil {
			err = become(Command{Path: s.Next.Path, Args: s.Next.Args, Env: append(slices.Clip(s.Next.Env), v)}, fd)
		}
	})
	return errors.Join(herr, err)
}
