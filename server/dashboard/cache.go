package dashboard

import (
	"context"
	"sync"
	"time"
)

// A cache gives an answer again for a short time, and has what several ask
// for at once computed once. It holds at most max answers.
type cache[T any] struct {
	ttl time.Duration
	max int
	now func() time.Time

	mu      sync.Mutex
	entries map[string]*entry[T]
}

type entry[T any] struct {
	done  chan struct{}
	until time.Time // when done
	value T
	err   error
}

// get answers from the cache or has compute answer. The computation outlives
// the one who asked first, since others may wait for it, but not timeout.
func (c *cache[T]) get(ctx context.Context, key string, timeout time.Duration, compute func(context.Context) (T, error)) (T, error) {
	c.mu.Lock()
	now := c.now()
	e := c.entries[key]
	if e != nil && e.finished() && (e.err != nil || now.After(e.until)) {
		delete(c.entries, key)
		e = nil
	}
	if e == nil {
		if c.entries == nil {
			c.entries = map[string]*entry[T]{}
		}
		c.evict(now)
		e = &entry[T]{done: make(chan struct{})}
		c.entries[key] = e
		go func() {
			cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
			defer cancel()
			e.value, e.err = compute(cctx)
			e.until = c.now().Add(c.ttl)
			close(e.done)
		}()
	}
	c.mu.Unlock()
	select {
	case <-e.done:
		return e.value, e.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (e *entry[T]) finished() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// evict makes room for one more: what has expired goes, then what comes first.
func (c *cache[T]) evict(now time.Time) {
	for k, e := range c.entries {
		if e.finished() && (e.err != nil || now.After(e.until)) {
			delete(c.entries, k)
		}
	}
	for k := range c.entries {
		if len(c.entries) < c.max {
			return
		}
		delete(c.entries, k) // those who wait for it keep their entry
	}
}
