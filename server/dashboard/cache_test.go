package dashboard

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cache[int]{ttl: 5 * time.Second, stale: 15 * time.Second, max: 3, now: time.Now}
		n := 0
		var fail error
		ask := func(key string) (int, error) {
			return c.get(t.Context(), key, time.Minute, func(context.Context) (int, error) {
				n++
				time.Sleep(time.Second)
				return n, fail
			})
		}
		want := func(what string, value int) {
			t.Helper()
			if v, err := ask("a"); v != value || err != nil {
				t.Errorf("%s: %d, %v", what, v, err)
			}
		}
		// Two who ask at once have it computed once.
		got := make(chan int)
		for range 2 {
			go func() {
				v, _ := ask("a")
				got <- v
			}()
		}
		if a, b := <-got, <-got; a != 1 || b != 1 {
			t.Errorf("asked at once: %d and %d", a, b)
		}
		time.Sleep(4 * time.Second)
		want("fresh", 1)
		time.Sleep(4 * time.Second)
		start := time.Now()
		want("stale", 1)
		want("stale again", 1)
		if d := time.Since(start); d > 0 {
			t.Errorf("a stale answer took %s", d)
		}
		time.Sleep(2 * time.Second)
		want("renewed behind it", 2)
		time.Sleep(time.Minute)
		want("too old", 3)

		time.Sleep(time.Minute)
		fail = errors.New("no store")
		if _, err := ask("a"); err != fail {
			t.Errorf("%v", err)
		}
		fail = nil
		want("an error is not kept", 5)

		for i := range 10 {
			ask(fmt.Sprint(i))
		}
		if len(c.entries) > c.max {
			t.Errorf("%d entries are more than %d", len(c.entries), c.max)
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.get(ctx, "z", time.Minute, func(ctx context.Context) (int, error) { time.Sleep(time.Second); return 7, ctx.Err() }); err != context.Canceled {
			t.Errorf("who gave up waits: %v", err)
		}
		if v, err := c.get(t.Context(), "z", time.Minute, nil); v != 7 || err != nil {
			t.Errorf("who gave up took the answer from others: %d, %v", v, err)
		}
	})
}
