package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

func (n *Next) takeOver(ctx context.Context) error {
	err := yieldTo(ctx, n.conn, "1", n.given)
	if err != nil {
		n.log("the helper did not yield in order", "error", err)
		// One that does not answer still listens, and would be handed connections.
		// It is our child, not reaped yet, so the number is its own.
		if ctx.Err() == nil {
			_ = unix.Kill(n.Helper, unix.SIGKILL)
			reap(n.Helper)
		}
		n.conn.f.Close()
		err = &StepError{StepYield, err}
	}
	if derr := detach(n.given.Groups); derr != nil {
		err = errors.Join(err, &StepError{StepDetach, derr})
	}
	n.log("took over", "after", time.Since(n.Began).Round(time.Millisecond))
	go func() {
		defer func() { _ = recover() }()
		status := reap(n.Helper)
		n.conn.f.Close()
		n.log("the helper has left", "status", status, "after", time.Since(n.Began).Round(time.Millisecond))
	}()
	return err
}

// yieldTo makes the helper hand over to the sockets with the number, and
// returns when it listens no more.
func yieldTo(ctx context.Context, c *conn, number string, given inheritance) error {
	refused := c.ask("yield", number)
	if r := (refusal)(""); refused != nil && !errors.As(refused, &r) {
		return refused
	}
	// One that could not steer leaves all the same.
	// A server's Stop closes its listeners first; what was begun may take long.
	within := given.Settle + 2*time.Minute
	m, err := c.hear(ctx, within)
	switch {
	case err != nil:
		return fmt.Errorf("waiting for the helper to stop: %w", err)
	case m.verb != "stopped":
		return fmt.Errorf("waiting for the helper to stop: it says %q", m.verb)
	}
	return nil
}

// reap waits for a child to end.
func reap(pid int) unix.WaitStatus {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			return status
		}
	}
}
