package evergreen

import (
	"math"
	"time"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

// outcome counts how an attempt ended, where telemetry is on. It is called by the
// process that serves afterwards.
func (u *updates) outcome(o updater.Outcome) {
	p := currentProcess()
	if p == nil || p.current().set.Off != "" {
		return
	}
	countOutcome(p.rec, o)
}

func countOutcome(rec *recorder.Recorder, o updater.Outcome) {
	result := wire.UpdateResult.Value(string(o.State))
	cause := string(o.Cause)
	if o.Cause == updater.CauseNone {
		cause = "none"
	}
	rec.Add(wire.UpdateAttempts, wire.Dims{result, wire.UpdateCause.Value(cause)}, 1)
	rec.Add(wire.UpdateEnded, wire.Dims{wire.UpdateStep.Value(string(o.Step)), result}, 1)
	for step, seconds := range o.Seconds {
		rec.Observe(wire.UpdateStepTime, wire.Dims{wire.UpdateStep.Value(string(step))}, microseconds(seconds))
	}
	if took := o.Ended.Sub(o.Began); !o.Began.IsZero() && took >= 0 {
		rec.Observe(wire.UpdateTime, wire.Dims{result}, took.Microseconds())
	}
	if o.Bytes > 0 {
		method := o.Method
		if method == "" {
			method = "whole"
		}
		rec.Observe(wire.UpdateBytes, wire.Dims{wire.UpdateMethod.Value(method)}, o.Bytes)
	}
}

// microseconds is a time in seconds; a clock that was set back gives none.
func microseconds(s float64) int64 {
	if math.IsNaN(s) || s < 0 {
		return 0
	}
	return int64(math.Min(s, float64(24*time.Hour/time.Second)*365) * 1e6)
}
