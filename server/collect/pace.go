package collect

import (
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// pace decides how often instances shall report: as configured, and half as
// often, a quarter as often … while more than four fifths of the rate that the
// server admits is used. Since every instance learns of a change with its next
// report, a decision is made once per interval that was asked for.
type pace struct {
	mu         sync.Mutex
	configured time.Duration
	now        time.Duration
	global     float64 // requests a second
	since      time.Time
	reports    int
}

func newPace(every time.Duration, global float64) *pace {
	return &pace{configured: every, now: every, global: global}
}

// reportEvery counts a report and answers the interval.
func (p *pace) reportEvery(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		p.since = now
	}
	p.reports++
	if elapsed := now.Sub(p.since); elapsed >= p.now {
		switch used := float64(p.reports) / elapsed.Seconds() / p.global; {
		case used > 0.8:
			p.now = max(p.now, min(2*p.now, wire.MaxReportEvery))
		case used < 0.3:
			p.now = max(p.configured, p.now/2)
		}
		p.since, p.reports = now, 0
	}
	return p.now
}

func (p *pace) current() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}
