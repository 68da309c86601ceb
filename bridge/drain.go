package bridge

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// waiter stops a server and waits for its connections.
type waiter struct {
	groups  []group
	ports   []uint16
	grace   time.Duration // 0: no bound
	server  Server
	stopped func() // called once nothing listens any more; may be nil
}

// stop returns when nothing listens and no connection is left, or grace is
// over; with how many listen, and how many connections are then cut off. giveUp
// is asked in between; its error ends the wait, with Stop having returned.
func (w *waiter) stop(ctx context.Context, giveUp func() error) (listening, connections int, err error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("stopping panicked: %v\n%s", p, debug.Stack())
			}
		}()
		done <- w.server.Stop(inner)
	}()
	returned, over := false, false
	var end <-chan time.Time
	if w.grace > 0 {
		t := time.NewTimer(w.grace)
		defer t.Stop()
		end = t.C
	}
	var stopErr error
	for {
		var again time.Duration
		listening, connections, again, err = left(w.groups, w.ports)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			err = fmt.Errorf("looking at what is still open: %w", err)
			break
		}
		if errors.Is(err, errors.ErrUnsupported) {
			// Own sockets can't be seen here: what Stop says has to do.
			err, listening, connections = nil, 0, 0
			if !returned {
				connections = 1
			}
		}
		if listening == 0 && w.stopped != nil {
			w.stopped()
			w.stopped = nil
		}
		if returned && stopErr != nil && listening > 0 {
			err = fmt.Errorf("the server: %w", stopErr)
			break
		}
		if returned && listening == 0 && (connections == 0 || over) {
			break
		}
		if over && !returned && listening == 0 {
			cancel() // Stop waits for connections, and has waited long enough
		}
		if giveUp != nil {
			if err = giveUp(); err != nil {
				break
			}
		}
		t := time.NewTimer(again)
		select {
		case stopErr = <-done:
			returned = true
			done = nil
		case <-t.C:
		case <-end:
			over, end = true, nil
		case <-ctx.Done():
			t.Stop()
			err = context.Cause(ctx)
		}
		t.Stop()
		if err != nil {
			break
		}
		if over && listening > 0 && returned {
			err = fmt.Errorf("%d sockets still listen after the grace period of %v", listening, w.grace)
			break
		}
	}
	if !returned {
		cancel()
		select {
		case <-done:
		case <-time.After(leaveWithin):
			err = errors.Join(err, errors.New("the server's Stop does not return"))
		}
	}
	return listening, connections, err
}
