package bridge

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// InPlace replaces this process's executable without a helper, where
// connections can't be steered: between the last listener's end and the next
// image's first (some 50 ms and what it takes to load the configuration) new
// connections are refused. o.Helper and o.Healthy are not used. It returns only
// if it failed, as Switch does; on Windows at once, since no process there can
// become another executable.
func InPlace(ctx context.Context, o Options) (err error) {
	began := time.Now()
	at, isStopped := StepSurvey, false
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a panic: %v\n%s", p, debug.Stack())
		}
		err = &StepError{at, err}
		o.log("the switch is given up", "error", err)
		o.Server.Retire(false)
		if isStopped {
			o.resume(context.WithoutCancel(ctx))
		}
	}()
	if err := canExec(); err != nil {
		return err
	}
	if o.Settle == 0 {
		o.Settle = settleRemote
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	given := inheritance{
		Protocol: Protocol, Role: roleNext, FD: -1, Settle: o.Settle, Grace: o.Grace, Patience: o.Patience, Began: began.UnixMilli(),
	}
	given.Groups, given.Ports = ownAddresses(o.Skip)
	given.Back = o.wayBack()
	v, err := given.env()
	if err != nil {
		return err
	}
	if err := o.Server.Abort(); err != nil {
		return err
	}
	at = StepSettle
	o.Server.Retire(true)
	pause(ctx, o.Settle)
	if err := o.Server.Abort(); err != nil {
		return err
	}
	at, isStopped = StepDrain, true
	w := waiter{groups: given.Groups, ports: given.Ports, grace: o.Grace, server: o.Server}
	if _, _, err := w.stop(ctx, o.Server.Abort); err != nil {
		return err
	}
	at = StepBefore
	if o.Before != nil {
		if err := o.Before(); err != nil {
			return err
		}
	}
	if err := o.Server.Abort(); err != nil {
		return err
	}
	at = StepExec
	return become(Command{Path: o.Next.Path, Args: o.Next.Args, Env: append(o.Next.Env[:len(o.Next.Env):len(o.Next.Env)], v)}, -1)
}
