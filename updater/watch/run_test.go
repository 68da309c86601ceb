package watch

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A watch without harm ends when its time is over; harm, the process's own check
// and the context end it before.
func TestRun(t *testing.T) {
	for name, c := range map[string]struct {
		errors  bool          // each answer is 500
		check   time.Duration // when the own check finds harm; 0: never
		cancel  time.Duration // 0: never
		test    string
		at      time.Duration
		wantErr error
	}{
		"fine":       {test: "", at: 10 * time.Minute},
		"harm":       {errors: true, test: "5xx", at: 6 * time.Second},
		"self-check": {check: 90 * time.Second, test: "self-check", at: 90 * time.Second},
		"ended":      {cancel: 30 * time.Second, at: 30 * time.Second, wantErr: context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				b, err := Open(filepath.Join(dir, "baseline.json"))
				if err != nil {
					t.Fatal(err)
				}
				tally := NewTally(b.Seed())
				status, started := 200, time.Now()
				if c.errors {
					status = 500
				}
				sample := func() Sample {
					tally.Begin(1)
					tally.Answer(1, time.Millisecond, status)
					return tally.Sample(time.Now(), Memory{Resident: 1 << 20})
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.cancel > 0 {
					time.AfterFunc(c.cancel, cancel)
				}
				v, err := b.Watch(sample(), 10*time.Minute).Run(ctx, sample, func() string {
					if c.check > 0 && time.Since(started) >= c.check {
						return "a listener is deaf"
					}
					return ""
				})
				took := time.Since(started)
				if v.Test != c.test || (v.Harm == "") != (c.test == "") || !errors.Is(err, c.wantErr) {
					t.Errorf("%+v, %v", v, err)
				}
				// The clock is the test's own: it stands still but for what waits.
				if took < c.at-time.Second || took > c.at+5*time.Second {
					t.Errorf("it took %v, want %v", took, c.at)
				}
			})
		})
	}
}
