package reporter

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

func TestRetryStaysWithinItsBounds(t *testing.T) {
	for _, test := range []struct {
		every    time.Duration
		failures int
		min, max time.Duration
	}{
		{5 * time.Minute, 1, 30 * time.Second, time.Minute},
		{5 * time.Minute, 2, 30 * time.Second, 2 * time.Minute},
		{5 * time.Minute, 7, 30 * time.Second, time.Hour},
		{5 * time.Minute, 1000, 30 * time.Second, time.Hour},
		{6 * time.Hour, 1, 30 * time.Second, time.Minute},
		{time.Second, 1, 100 * time.Millisecond, 200 * time.Millisecond},
		{time.Second, 1000, 100 * time.Millisecond, 12 * time.Second},
	} {
		p := pacingFor(wire.Timing{Window: test.every, ReportEvery: test.every})
		if got := p.retry(test.failures, 0); got != test.min {
			t.Errorf("every %s, %d failures: at least %s, want %s", test.every, test.failures, got, test.min)
		}
		if got := p.retry(test.failures, 1); got != test.max {
			t.Errorf("every %s, %d failures: at most %s, want %s", test.every, test.failures, got, test.max)
		}
	}
}

func TestServersIntervalIsKeptWithinBounds(t *testing.T) {
	normal, short := pacingFor(wire.DefaultTiming), pacingFor(wire.Timing{ReportEvery: 2 * time.Second})
	for _, test := range []struct {
		p       pacing
		seconds int64
		want    time.Duration
	}{
		{normal, 1, 5 * time.Minute},
		{normal, -1 << 62, 5 * time.Minute},
		{normal, 600, 10 * time.Minute},
		{normal, 1 << 62, 6 * time.Hour},
		{short, 1, time.Second},
		{short, 0, time.Second},
		{short, 7 * 3600, 6 * time.Hour},
	} {
		if got := test.p.clamp(test.seconds); got != test.want {
			t.Errorf("clamp(%d) = %s, want %s", test.seconds, got, test.want)
		}
	}
}

func TestSlotsSpreadInstancesAndComeOnceInAnInterval(t *testing.T) {
	const every = 5 * time.Minute
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	var parts [10]int
	for range 10_000 {
		var id wire.InstanceID
		for i := range id {
			id[i] = byte(random.Uint32())
		}
		at := slot(start, every, id, random.Float64())
		parts[int(at.Sub(start)%every*10/every)]++
		first := at
		for range 5 {
			next := slot(at, every, id, random.Float64())
			if d := next.Sub(at); d < every-every/20 || d > every+every/20 {
				t.Fatalf("%s after %s", d, at)
			}
			at = next
		}
		if d := at.Sub(first) - 5*every; d < -every/20 || d > every/20 {
			t.Fatalf("drifted by %s", d)
		}
	}
	for i, n := range parts {
		if n < 800 || n > 1200 {
			t.Errorf("%d of 10,000 instances are in part %d of 10", n, i)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	type result struct {
		D  time.Duration
		OK bool
	}
	for value, want := range map[string]result{
		"":                              {0, false},
		"0":                             {0, true},
		" 120 ":                         {2 * time.Minute, true},
		"-1":                            {0, false},
		"1.5":                           {0, false},
		"soon":                          {0, false},
		"99999":                         {6 * time.Hour, true},
		"4294967295":                    {6 * time.Hour, true},
		"99999999999999999999":          {0, false},
		"Sat, 21 Nov 2026 10:01:30 GMT": {90 * time.Second, true},
		"Sat, 21 Nov 2026 09:00:00 GMT": {0, true},
		"Sun, 21 Nov 2027 10:00:00 GMT": {6 * time.Hour, true},
	} {
		d, ok := retryAfter(http.Header{"Retry-After": {value}}, now)
		if diff := cmp.Diff(want, result{d, ok}); diff != "" {
			t.Errorf("%q: -want +got\n%s", value, diff)
		}
	}
}
