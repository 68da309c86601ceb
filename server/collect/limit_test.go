package collect

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

func TestRates(t *testing.T) {
	at := now
	c := newCollector(t, &memory{}, func(cfg *Config) {
		cfg.Now = func() time.Time { return at }
		cfg.Limits = Limits{Sender: 0.1, SenderBurst: 2, Global: 1, GlobalBurst: 6}
	})
	key := newKey(t)
	body := compress(t, encode(t, report()))
	send := func(addr string) *http.Response {
		r := postReport(key, body)
		r.RemoteAddr = addr
		return serve(c, r)
	}
	for i, step := range []struct {
		wait   time.Duration
		addr   string
		status int
		retry  string
	}{
		{0, "192.0.2.1:1", 200, ""},
		{0, "192.0.2.1:2", 200, ""},
		{0, "192.0.2.1:3", 429, "10"},
		{0, "[::ffff:192.0.2.1]:3", 429, "10"}, // the same sender
		{0, "[2001:db8::1]:1", 200, ""},
		{0, "[2001:db8::2]:1", 200, ""},
		{0, "[2001:db8::3]:1", 429, "10"}, // the same /64
		{0, "[2001:db8:0:1::1]:1", 200, ""},
		{0, "192.0.2.2:1", 200, ""},
		{0, "192.0.2.3:1", 429, "30"}, // the global rate; what was refused above didn't count
		{4 * time.Second, "192.0.2.1:1", 429, "6"},
		{6 * time.Second, "192.0.2.1:1", 200, ""},
		{0, "192.0.2.1:1", 429, "10"},
		{time.Hour, "192.0.2.1:1", 200, ""},
	} {
		at = at.Add(step.wait)
		res := send(step.addr)
		if res.StatusCode != step.status || res.Header.Get("Retry-After") != step.retry {
			t.Errorf("step %d: %s, Retry-After %q; want %d, %q", i, res.Status, res.Header.Get("Retry-After"), step.status, step.retry)
		}
	}
}

func TestForwardedSenderIsLocated(t *testing.T) {
	log := &memory{}
	c := newCollector(t, log, func(cfg *Config) { cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	r := postReport(newKey(t), compress(t, encode(t, report())))
	r.RemoteAddr = "10.0.0.1:1"
	r.Header.Set("X-Forwarded-For", senderV6)
	if res := serve(c, r); res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	if rec := log.last(t); rec.Country != "NO" || rec.Network != 64497 {
		t.Errorf("located in %q, %d", rec.Country, rec.Network)
	}
}

func TestPace(t *testing.T) {
	p := newPace(5*time.Minute, 10)
	at := now
	// Each step is 300 s × n of reports at a rate, in whole intervals.
	run := func(rate float64) time.Duration {
		every := p.current()
		n := int(rate * every.Seconds())
		for i := range n {
			p.reportEvery(at.Add(time.Duration(float64(i) / rate * float64(time.Second))))
		}
		at = at.Add(every)
		return p.reportEvery(at)
	}
	var got []time.Duration
	for _, rate := range []float64{1, 9, 9, 9, 5, 5, 1, 1, 1, 1, 1} {
		got = append(got, run(rate))
	}
	m := time.Minute
	if d := cmp.Diff([]time.Duration{5 * m, 10 * m, 20 * m, 40 * m, 40 * m, 40 * m, 20 * m, 10 * m, 5 * m, 5 * m, 5 * m}, got); d != "" {
		t.Error(d)
	}
	for range 20 {
		run(9.9)
	}
	if p.current() != wire.MaxReportEvery {
		t.Errorf("raised to %s", p.current())
	}
}

func TestBusy(t *testing.T) {
	c := newCollector(t, &memory{}, func(cfg *Config) { cfg.Limits.InFlight = 1 })
	c.inFlight <- struct{}{}
	body := compress(t, encode(t, report()))
	res := serve(c, postReport(newKey(t), body))
	problem(t, res, 503, "at once")
	if res.Header.Get("Retry-After") != "5" {
		t.Error(res.Header)
	}
	<-c.inFlight
	if res := serve(c, postReport(newKey(t), body)); res.StatusCode != 200 {
		t.Error(res.Status)
	}
}

func ExampleLimits() {
	var l Limits
	l.setDefaults()
	fmt.Println(l == DefaultLimits)
	// Output: true
}
