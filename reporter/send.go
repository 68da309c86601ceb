package reporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/wire"
)

// sendReports sends a report at each of the instance's slots.
func (r *Reporter) sendReports(ctx context.Context) {
	for {
		d, due := r.untilNext()
		if due {
			r.sendDue(ctx)
			if ctx.Err() != nil {
				return
			}
			continue
		}
		if !r.sleep(ctx, d, r.wake) {
			return
		}
	}
}

// untilNext is how long to wait before looking again, and whether a report is due.
func (r *Reporter) untilNext() (time.Duration, bool) {
	r.mu.Lock()
	idle := r.endpoint == "" || r.stopped
	r.mu.Unlock()
	if idle {
		return checkClock, false
	}
	s, err := r.open()
	if err != nil {
		r.diskFailed(err)
		return r.pace.catchUp, false
	}
	st := s.stats()
	now := r.c.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	// Farther than any plan of ours: the clock was set back.
	if r.nextSend.Sub(now) > r.c.Timing.Notice+2*r.every+2*maxRetryAfter {
		r.noticed, r.nextSend = minTime(r.noticed, now), time.Time{}
	}
	if r.nextSend.IsZero() {
		r.nextSend = slot(maxTime(now, r.noticed.Add(r.c.Timing.Notice)), r.every, st.instance, r.c.Rand())
	}
	d := r.nextSend.Sub(now)
	return d, d <= 0
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// An outcome is how an attempt to send ended.
type outcome struct {
	endpoint string // that was asked; empty if none was
	verdict  verdict
	empty    bool          // there was nothing to send
	more     bool          // there is more to send
	wait     time.Duration // the server asked to wait so long; 0: it did not
	every    int64         // the server asks to report so often, in seconds; 0: it does not
	err      error         // why the report was not accepted
}

// sendDue sends the report that is due, if there is one and it is this
// process's to send, and plans the next attempt.
func (r *Reporter) sendDue(ctx context.Context) {
	var o outcome
	mine, err := r.maySend()
	switch {
	case err != nil:
		o = outcome{verdict: later, err: err}
	case !mine:
		o = outcome{empty: true}
	default:
		o = r.sendNext(ctx)
	}
	if ctx.Err() != nil && o.err != nil {
		return // being stopped is no failure of the server
	}
	r.plan(o)
}

// maySend takes the right to send, which then is kept until Run ends.
func (r *Reporter) maySend() (bool, error) {
	s, err := r.open()
	if err != nil {
		return false, err
	}
	if r.right == nil {
		if r.right, err = s.dir.sender(); err != nil {
			return false, fmt.Errorf("taking the right to send: %w", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.elsewhere = r.right == nil
	return r.right != nil, nil
}

// sendNext sends the spool's first report.
func (r *Reporter) sendNext(ctx context.Context) outcome {
	select {
	case r.sending <- struct{}{}:
		defer func() { <-r.sending }()
	case <-ctx.Done():
		return outcome{verdict: later, err: ctx.Err()}
	}
	r.save(nil) // what could not be spooled before
	s, err := r.open()
	if err != nil {
		return outcome{verdict: later, err: err}
	}
	out, err := s.head()
	if err != nil {
		r.diskFailed(err)
		return outcome{verdict: later, err: err}
	}
	if out == nil {
		return outcome{empty: true}
	}
	r.mu.Lock()
	endpoint := r.endpoint
	r.busy = endpoint != ""
	r.mu.Unlock()
	if endpoint == "" {
		return outcome{empty: true}
	}
	sent := Send{Time: r.c.Now(), Number: out.report.Number, Bytes: len(out.body)}
	answer, err := r.post(ctx, endpoint, message{
		path:      wire.PathReports,
		mediaType: wire.TypeProtobuf,
		encoding:  "zstd",
		purpose:   wire.PurposeReport,
		key:       out.key,
		body:      out.body,
		version:   out.report.GetFacts().GetEvergreenVersion(),
	})
	o := outcome{verdict: later, err: err}
	if err == nil {
		sent.Status = answer.status
		o = r.settle(s, out, answer, &sent)
	}
	o.endpoint = endpoint
	if o.err != nil {
		sent.Error = o.err.Error()
	}
	r.mu.Lock()
	r.busy = false
	r.history = append(r.history, sent)
	r.history = r.history[max(0, len(r.history)-maxHistory):]
	r.mu.Unlock()
	return o
}

// settle does to the spool what the answer says.
func (r *Reporter) settle(s *spool, out *outgoing, a *answer, sent *Send) outcome {
	v, ack, err := a.judge()
	o := outcome{verdict: v, err: err, every: ack.ReportEvery}
	if d, ok := retryAfter(a.header, r.c.Now()); ok && v == later {
		o.wait = max(d, time.Nanosecond)
	}
	var failed error
	switch v {
	case accepted:
		sent.StoredThrough = ack.StoredThrough
		// A server can't have what was not sent: only what was sent may go.
		through := min(ack.StoredThrough, out.report.Number)
		o.more, failed = s.stored(out.instance, through)
		if failed == nil && through < out.report.Number {
			o.verdict = later
			o.err = fmt.Errorf("the server has stored reports through %d, but was sent %d", ack.StoredThrough, out.report.Number)
		}
	case rejected:
		o.more, failed = s.reject(out.instance, out.report.Number)
	}
	if failed != nil {
		r.diskFailed(failed)
		o.verdict, o.err = later, errors.Join(o.err, failed)
	}
	return o
}

// plan decides when the next attempt is, from how this one ended, and logs what
// an operator should know: a failure at most once a day, and its end.
func (r *Reporter) plan(o outcome) {
	instance := wire.InstanceID{}
	if s, err := r.open(); err == nil {
		instance = s.stats().instance
	}
	now := r.c.Now()
	r.mu.Lock()
	if o.endpoint != "" && o.endpoint != r.endpoint {
		// The configuration has changed meanwhile; what a former server says about
		// when to come again is nothing to the new one.
		r.mu.Unlock()
		return
	}
	recovered := false
	if o.every > 0 {
		r.every = r.pace.clamp(o.every)
	}
	r.waiting = false
	switch {
	case o.empty:
	case o.err != nil:
		r.lastError = o.err.Error()
	default:
		r.lastError = ""
		recovered = r.told
		r.told = false
	}
	switch {
	case o.verdict == gone:
		r.stopped = true
	case o.verdict == later && o.wait > 0:
		r.failures++
		r.waiting = true
		r.nextSend = now.Add(max(o.wait, r.pace.backoff) + time.Duration(r.c.Rand()*float64(r.pace.backoff)))
	case o.verdict == later:
		r.failures++
		r.nextSend = now.Add(r.pace.retry(r.failures, r.c.Rand()))
	default:
		r.failures = 0
		r.nextSend = slot(now, r.every, instance, r.c.Rand())
		if soon := now.Add(r.pace.catchUp); o.more && soon.Before(r.nextSend) {
			r.nextSend = soon
		}
	}
	tell := o.err != nil && o.verdict != gone && r.logs.allow("send", now)
	if tell {
		r.told = true
	}
	endpoint, next := r.endpoint, r.nextSend
	r.mu.Unlock()

	log := r.c.Log.With(zap.String("endpoint", endpoint))
	switch {
	case o.verdict == gone:
		log.Warn("the telemetry service asked to send nothing more: nothing is sent until Caddy is started again", zap.Error(o.err))
	case tell && o.verdict == rejected:
		log.Warn("the telemetry service refused a report, which is dropped; this is logged once a day", zap.Error(o.err))
	case tell:
		log.Warn("a telemetry report could not be delivered; it is kept and tried again; this is logged once a day",
			zap.Error(o.err), zap.Time("next_try", next))
	case recovered:
		log.Info("telemetry reports are being delivered again")
	}
}

// finalSend is how long the end of the process waits for the server.
const finalSend = 3 * time.Second

// finish spools what was counted so far and sends it if that is quickly done.
func (r *Reporter) finish(ctx context.Context) {
	defer func() {
		if r.right != nil {
			r.right()
			r.right = nil
		}
	}()
	if r.currentEndpoint() == "" {
		return
	}
	now := r.c.Now()
	windows := r.c.Windows.Close(now)
	if w := r.c.Windows.ClosePartial(now); w != nil {
		windows = append(windows, w)
	}
	r.save(windows)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalSend)
	defer cancel()
	for r.mayFinish() {
		if mine, err := r.maySend(); err != nil || !mine {
			return
		}
		o := r.sendNext(ctx)
		r.plan(o)
		if o.err != nil || !o.more {
			return
		}
	}
}

// mayFinish reports whether the end of the process is a time to send: not
// before the notice's wait is over, and not to a server that is failing, for
// that would delay the end and the reports are safe.
func (r *Reporter) mayFinish() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spool != nil && !r.stopped && !r.waiting && r.failures == 0 &&
		!r.c.Now().Before(r.noticed.Add(r.c.Timing.Notice))
}
