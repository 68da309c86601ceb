package bridge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

// Next is this process in the role of the one that was become.
type Next struct {
	// Failed is why this image runs although another one was meant to: that one
	// did not come up. "": this is the one that was meant.
	Failed string
	// Began is when the switch began, and Helper the process that serves
	// meanwhile; 0: none (InPlace).
	Began  time.Time
	Helper int
	// Log is told each step, as slog's methods are; nil: nobody. To be set
	// before Finish.
	Log func(event string, args ...any)

	given inheritance
	env   []string // as it was at the start, for the way back
	conn  *conn    // nil: no helper
	mu    sync.Mutex
	is    nextState
	timer *time.Timer
}

type nextState int

const (
	nextComing nextState = iota // up is awaited
	nextUp
	nextBack // becoming what was before
)

// AsNext tells whether this process became this image by a switch, and cleans
// the environment. It is to be called early, from an init: from then on the
// image has Patience to come up, whatever it hangs in.
func AsNext() (*Next, bool) {
	given, err, ok := inherited(roleNext)
	if !ok {
		return nil, false
	}
	if given.Patience == 0 {
		given.Patience = defaultPatience
	}
	n := &Next{Failed: given.Failed, Helper: given.Helper, Began: time.UnixMilli(given.Began), given: given, env: os.Environ()}
	if given.FD >= 3 {
		n.conn = newConn(takeFD(given.FD), given.Patience)
	}
	if err != nil {
		// The helper was the same executable and spoke the same version, so this
		// is damage. Start as if nothing had been: the helper leaves by itself
		// when its connection closes.
		if n.conn != nil {
			n.conn.f.Close()
		}
		return nil, false
	}
	n.timer = time.AfterFunc(given.Patience, func() {
		defer func() { _ = recover() }()
		_ = n.back(fmt.Errorf("not up after %v", given.Patience))
	})
	return n, true
}

func (n *Next) log(event string, args ...any) {
	if n.Log != nil {
		n.Log(event, args...)
	}
}

// GoBack becomes Options.Back at once: for a server that knows it will not come
// up, before it exits. It returns only if that failed or if it is too late.
func (n *Next) GoBack(why error) error { return n.back(why) }

// back becomes what was before, once, unless this image has come up.
func (n *Next) back(why error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.is == nextUp:
		return errors.New("this image has come up: only another switch goes back")
	case n.is == nextBack:
		return errors.New("going back failed before")
	case n.given.Back == nil:
		return fmt.Errorf("%w; there is nothing to go back to, so the helper (process %d) serves on: restart the server", why, n.Helper)
	}
	n.is = nextBack
	next := n.given
	next.Back, next.Failed = nil, why.Error()
	v, err := next.env()
	if err != nil {
		return err
	}
	err = become(Command{Path: n.given.Back.Path, Args: n.given.Back.Args, Env: append(n.given.Back.apply(n.env), v)}, next.FD)
	return fmt.Errorf("%w; and going back failed (%w), so the helper (process %d) serves on: restart the server", why, err, n.Helper)
}

// Finish waits for up (nil: the server serves), takes over from the helper and
// returns when no program is left on the sockets; the helper may then still
// be finishing what it began, and is reaped when it has. An error before up
// means that this image did not come up and could not go back either; one after
// it says what was left undone, while the server serves.
func (n *Next) Finish(ctx context.Context, s Server, up <-chan error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("taking over panicked: %v\n%s", p, debug.Stack())
		}
	}()
	select {
	case err := <-up:
		if err != nil {
			return &StepError{StepNextUp, n.back(err)}
		}
	case <-ctx.Done():
		return &StepError{StepNextUp, context.Cause(ctx)}
	}
	n.mu.Lock()
	if n.is != nextComing {
		n.mu.Unlock()
		return &StepError{StepNextUp, errors.New("it came up only when its time was over")}
	}
	n.is = nextUp
	n.mu.Unlock()
	n.timer.Stop()
	n.log("up", "after", time.Since(n.Began).Round(time.Millisecond))
	if n.conn == nil {
		return nil
	}
	return n.takeOver(ctx)
}
