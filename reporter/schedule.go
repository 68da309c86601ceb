package reporter

import (
	"encoding/binary"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 6 * time.Hour

// pacing are the waits of an instance. They follow how often it reports, so
// that a demonstration with short windows also recovers in short time.
type pacing struct {
	backoff, backoffMax time.Duration // between attempts that fail
	catchUp             time.Duration // between reports that had to wait
	minEvery, maxEvery  time.Duration // what the server may ask for
}

func pacingFor(t wire.Timing) pacing {
	p := pacing{
		backoff:    min(30*time.Second, t.ReportEvery/10),
		backoffMax: min(time.Hour, 12*t.ReportEvery),
		catchUp:    min(time.Second, t.ReportEvery/10),
		minEvery:   wire.MinReportEvery,
		maxEvery:   wire.MaxReportEvery,
	}
	if t.ReportEvery < wire.MinReportEvery {
		p.minEvery = time.Second
	}
	return p
}

// clamp keeps what a server asks for within bounds.
func (p pacing) clamp(seconds int64) time.Duration {
	seconds = min(max(seconds, int64(p.minEvery/time.Second)), int64(p.maxEvery/time.Second))
	return time.Duration(seconds) * time.Second
}

// retry is how long to wait after the given number of failures in a row:
// between the shortest wait and one that doubles with each failure, at random,
// so that those who failed together don't come back together.
func (p pacing) retry(failures int, random float64) time.Duration {
	longest := p.backoffMax
	if failures < 20 {
		longest = min(longest, p.backoff<<failures)
	}
	longest = max(longest, p.backoff)
	return p.backoff + time.Duration(random*float64(longest-p.backoff))
}

// slot is the next time after now at which an instance reports. Windows end at
// the same moment everywhere; slots spread the instances over the interval,
// each at a place of its own, with a little noise that never reaches the next
// interval: where the window's end lies in it, a report would have two windows
// or none.
func slot(now time.Time, every time.Duration, id wire.InstanceID, random float64) time.Time {
	noise := every / 100
	offset := time.Duration(binary.BigEndian.Uint64(id[:8]) % uint64(every-noise))
	t := now.Truncate(every).Add(offset)
	for !t.After(now) {
		t = t.Add(every)
	}
	return t.Add(time.Duration(random * float64(noise)))
}

// retryAfter reads the header field of that name, in seconds or as a date;
// false if there is none that can be understood.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0, false
	}
	var d time.Duration
	if n, err := strconv.ParseUint(v, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	} else {
		return 0, false
	}
	return min(max(d, 0), maxRetryAfter), true
}
