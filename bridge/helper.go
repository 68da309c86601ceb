package bridge

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"
)

// A Helper is this process in the role of the one that serves meanwhile.
type Helper struct {
	// Log is told each step, as slog's methods are; nil: nobody.
	Log func(event string, args ...any)

	given inheritance
	conn  *conn
}

// AsHelper tells whether this process was started as a helper, says hello, and
// cleans the environment. It is to be called early, from an init: it costs one
// look at the environment when the answer is no.
func AsHelper() (*Helper, bool) {
	given, err, ok := inherited(roleHelper)
	if !ok || given.FD < 3 {
		return nil, false
	}
	c := newConn(takeFD(given.FD), given.Patience)
	if given.Protocol != Protocol {
		// The other side needs to know which version this is; it ends us.
		err = nil
	}
	_ = c.say("hello", strconv.Itoa(Protocol))
	if err != nil {
		_ = c.say("failed", err.Error())
	}
	return &Helper{given: given, conn: c}, true
}

func (h *Helper) log(event string, args ...any) {
	if h.Log != nil {
		h.Log(event, args...)
	}
}

// Run obeys the old process, then the next one, and returns when this process
// has nothing left to do and should exit. up delivers nil once the server
// serves, or why it can't. An error is why it left without having been told to;
// it stopped in order all the same.
func (h *Helper) Run(ctx context.Context, s Server, up <-chan error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the helper panicked: %v\n%s", p, debug.Stack())
		}
	}()
	defer h.conn.f.Close()
	if h.given.Protocol != Protocol {
		return fmt.Errorf("the old executable speaks version %d of the bridge, this one %d", h.given.Protocol, Protocol)
	}
	select {
	case err := <-up:
		if err != nil {
			_ = h.conn.say("failed", err.Error())
			return fmt.Errorf("the helper's server: %w", err)
		}
	case <-h.conn.dead:
		return h.abandoned(ctx, s)
	case <-ctx.Done():
		_ = h.conn.say("failed", context.Cause(ctx).Error())
		return context.Cause(ctx)
	}
	if err := h.conn.say("up", ""); err != nil {
		return h.abandoned(ctx, s)
	}
	for {
		select {
		case <-ctx.Done():
			return h.leave(ctx, s, context.Cause(ctx))
		case <-h.conn.dead:
			return h.abandoned(ctx, s)
		case m := <-h.conn.in:
			switch m.verb {
			case "ping":
				h.answer(nil)
			case "take", "take-quic", "pin":
				h.answer(h.steer(m.verb))
			case "leave":
				h.answer(nil)
				return h.leave(ctx, s, nil)
			case "yield":
				return h.yield(ctx, s, m.arg)
			default:
				h.answer(fmt.Errorf("a helper isn't told %q", m.verb))
			}
		}
	}
}

func (h *Helper) answer(err error) {
	verb, arg := "ok", ""
	if err != nil {
		verb, arg = "no", err.Error()
	}
	if err := h.conn.say(verb, arg); err != nil {
		h.log("the helper can't answer", "error", err)
	}
}

// yield hands over to the process whose sockets have the number. Whatever fails
// on the way, this process stops and leaves: two that serve with nobody
// steering would share connections by chance.
func (h *Helper) yield(ctx context.Context, s Server, number string) error {
	err := h.steerTo(number)
	h.answer(err)
	s.Retire(true)
	pause(ctx, h.given.Settle)
	if qerr := h.steerQUICTo(number); err == nil {
		err = qerr
	}
	return h.leave(ctx, s, err)
}

// leave stops, says so, waits for what was begun, and returns cause.
func (h *Helper) leave(ctx context.Context, s Server, cause error) error {
	w := waiter{groups: h.given.Groups, ports: h.given.Ports, grace: h.given.Grace, server: s}
	w.stopped = func() { _ = h.conn.say("stopped", "") }
	listening, connections, err := w.stop(ctx, nil)
	h.log("the helper is done", "listening", listening, "cut off", connections)
	if cause == nil {
		cause = err
	}
	return cause
}

// abandoned: the process that this one helps is gone. Whoever supervises it
// starts another one, which must not stay in the dark: so no more steering.
func (h *Helper) abandoned(ctx context.Context, s Server) error {
	h.log("the process that was helped is gone: the helper leaves")
	if err := detach(h.given.Groups); err != nil {
		h.log("can't end the steering of sockets", "error", err)
	}
	return h.leave(ctx, s, fmt.Errorf("the process that was helped: %w", h.conn.err))
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// takeFD makes a file of an inherited descriptor, which no process started
// from here shall inherit.
func takeFD(fd int) *os.File {
	closeOnExec(fd)
	return os.NewFile(uintptr(fd), "bridge")
}
