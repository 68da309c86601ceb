package dashboard

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-evergreen/evergreen/server/senders"
)

// Limits bound what one sender may read. The zero value is no limit.
type Limits struct {
	// PerSecond is how many answers a second a sender may have on average.
	PerSecond float64
	// Burst is how many at once.
	Burst int
}

const (
	maxSenders = 100_000 // that are told apart
	// costPage is how many answers a page counts for: it is made of many.
	costPage = 5
)

func newLimits(l Limits) *senders.Rates {
	if l.PerSecond <= 0 {
		return nil
	}
	return senders.NewRates(l.PerSecond, max(l.Burst, costPage), maxSenders)
}

// admit takes what an answer costs from its sender's bucket, and says in the
// answer what is left, as draft-ietf-httpapi-ratelimit-headers-10 has it. The
// machine's own addresses are not limited: whoever is there is the operator, or
// a proxy that does not say for whom it asks.
func (d *Dashboard) admit(w http.ResponseWriter, r *http.Request, cost int) error {
	if d.rates == nil || d.cfg.Sender == nil || cost == 0 {
		return nil
	}
	a := d.cfg.Sender(r)
	if !a.IsValid() || a.IsLoopback() {
		return nil
	}
	left, wait := d.rates.Take(a, cost, d.cfg.Now())
	l := d.cfg.Limits
	full := seconds(time.Duration(float64(max(l.Burst, costPage)-left) / l.PerSecond * float64(time.Second)))
	h := w.Header()
	h.Set("RateLimit-Policy", fmt.Sprintf(`"reading";q=%d;w=%d`, max(l.Burst, costPage), seconds(time.Duration(float64(max(l.Burst, costPage))/l.PerSecond*float64(time.Second)))))
	h.Set("RateLimit", fmt.Sprintf(`"reading";r=%d;t=%d`, left, full))
	if wait > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds(wait)))
		return &fault{http.StatusTooManyRequests, "too many requests",
			fmt.Sprintf("Ask again in %d s. The data set, at /dataset/manifest.json, is the better place for all of the numbers.", seconds(wait))}
	}
	return nil
}

// seconds rounds up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// senderOf tells senders apart whose connections are bounded; "" is nobody
// whom to tell apart. No address is kept.
func (d *Dashboard) senderOf(r *http.Request) string {
	if d.cfg.Sender == nil {
		return ""
	}
	a := d.cfg.Sender(r)
	if !a.IsValid() || a.IsLoopback() {
		return ""
	}
	return string(binary.BigEndian.AppendUint64(nil, d.connections.ID(a)))
}
