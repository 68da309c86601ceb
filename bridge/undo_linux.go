package bridge

import (
	"context"
	"errors"
	"time"
)

// undo makes the server serve as before, from whatever stage. It goes on when
// ctx has ended: a switch that was called off is to be undone too.
func (s *old) undo(ctx context.Context, why error) {
	ctx = context.WithoutCancel(ctx)
	switch {
	case errors.Is(why, ErrExit):
		s.exit(ctx)
		return
	case s.stage == untouched:
		return
	case s.stage == taken:
		s.takeBack(ctx)
	case s.stage == stopped:
		s.serveAgain(ctx)
	}
	if s.stage != untouched {
		if s.helper != nil {
			s.dismiss(ctx)
		}
		s.detach()
	}
}

func (s *old) detach() {
	if err := detach(s.given.Groups); err != nil {
		s.log("can't end the steering of sockets; it ends with the next restart, and does no harm as long as this process alone listens", "error", err)
	}
}

// dismiss ends a helper that has no connections.
func (s *old) dismiss(ctx context.Context) {
	if s.helper.isUp && !s.helper.gone() && s.helper.ask("leave", "") == nil && s.helper.ended(ctx, leaveWithin) {
		s.helper.f.Close()
		return
	}
	s.helper.kill()
}

// takeBack: we still listen, as number 0, and the helper has had connections.
func (s *old) takeBack(ctx context.Context) {
	if _, err := steerAll(s.given.Groups, to(0), nil); err != nil {
		s.log("can't steer back", "error", err)
	}
	s.Server.Retire(false)
	s.retireHelper(ctx, "0")
}

// serveAgain: the helper, if it lives, is alone in its groups, as number 0. We
// listen again in the dark, and it yields as it would to the next image.
func (s *old) serveAgain(ctx context.Context) {
	// What listens again (by now, perhaps: a reload does) after all had closed is
	// number 1. A socket that never closed is number 0; if not all are one or the
	// other, nothing is steered, and the hash chooses while the helper stops.
	remain, _, _, err := left(s.given.Groups, s.given.Ports)
	exact := s.silent || err == nil && remain == 0
	holds := !s.helper.gone()
	if holds && exact {
		holds = s.helper.ask("pin", "") == nil
	}
	if !holds {
		s.helper.kill() // one that hangs keeps what it was handed
	}
	s.Server.Retire(false)
	if !s.resume(ctx) {
		s.exit(ctx)
		return
	}
	switch {
	case holds && exact:
		s.retireHelper(ctx, "1")
	case holds:
		s.detach()
		if err := s.helper.ask("leave", ""); err != nil {
			s.helper.kill()
		}
		s.stage = untouched
	}
}

// retireHelper makes the helper yield to us, and leaves it to finish what it
// has begun: it is reaped when it ends.
func (s *old) retireHelper(ctx context.Context, number string) {
	given := s.given
	if err := yieldTo(ctx, s.helper.conn, number, given); err != nil {
		s.log("the helper did not yield in order, and is ended", "error", err)
		s.helper.kill()
	}
	s.detach()
	s.stage = untouched
}

// exit: this process is to end, and so is the helper, both in order.
func (s *old) exit(ctx context.Context) {
	within := s.Grace
	if within == 0 {
		within = 24 * time.Hour // whoever told us to exit ends this if it is too long
	}
	if s.helper != nil {
		if s.helper.gone() || s.helper.ask("leave", "") != nil || !s.helper.ended(ctx, within+leaveWithin) {
			s.helper.kill()
		}
	}
	for end := s.began.Add(within); s.stage == stopped && time.Now().Before(end); {
		_, connections, again, err := left(nil, s.given.Ports)
		if err != nil || connections == 0 {
			break
		}
		pause(ctx, again)
	}
	s.detach()
}
