package collect

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/caddy-evergreen/evergreen/server/senders"
)

// admission holds requests to the global rate and to each sender's.
type admission struct {
	global *rate.Limiter
	each   *senders.Rates
}

func newAdmission(l Limits) *admission {
	return &admission{
		global: rate.NewLimiter(rate.Limit(l.Global), l.GlobalBurst),
		each:   senders.NewRates(l.Sender, l.SenderBurst, l.Senders),
	}
}

func (a *admission) allow(sender netip.Addr, now time.Time) error {
	// The sender first: what it has too much shall not use up the others' share.
	if wait := a.each.Wait(sender, now); wait > 0 {
		return retryLater(kindSenderRate, wait, "report less often")
	}
	if !a.global.AllowN(now, 1) {
		return retryLater(kindGlobalRate, 30*time.Second, "try again later")
	}
	return nil
}
