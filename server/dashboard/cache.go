package dashboard

import (
	"context"
	"sync"
	"time"
)

// A cache gives an answer again for a short time, and has what several ask
// for at once computed once. For stale after that, it gives the old answer at
// once and has the new one computed behind it. It holds at most max answers.
type cache[T any] struct {
	ttl, stale time.Duration
	max        int
	now        func() time.Time

	// generation, if any, is that of the data: see newerThan.
	generation func() uint64

	mu      sync.Mutex
	entries map[string]*entry[T]
}

// newerThan is the key of a context's value: the generation of data that an
// answer has to know of, however new it is.
type newerThan struct{}

type entry[T any] struct {
	done  chan struct{}
	until time.Time // when done
	value T
	err   error
	renew bool   // its successor is being computed
	of    uint64 // the generation of the data when it was begun
}

// get answers from the cache or has compute answer. The computation outlives
// the one who asked first, since others may wait for it, but not timeout.
func (c *cache[T]) get(ctx context.Context, key string, timeout time.Duration, compute func(context.Context) (T, error)) (T, error) {
	c.mu.Lock()
	now := c.now()
	e := c.entries[key]
	least, _ := ctx.Value(newerThan{}).(uint64)
	switch {
	case e == nil || e.of < least || e.expired(now.Add(-c.stale)):
		c.evict(now)
		e = c.start(ctx, timeout, compute, nil)
		if c.entries == nil {
			c.entries = map[string]*entry[T]{}
		}
		c.entries[key] = e
	case e.expired(now) && !e.renew:
		e.renew = true
		c.start(ctx, timeout, compute, func(fresh *entry[T]) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.entries[key] == e {
				c.entries[key] = fresh
			}
		})
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

// start has an answer computed. done, if any, is called with it.
func (c *cache[T]) start(ctx context.Context, timeout time.Duration, compute func(context.Context) (T, error), done func(*entry[T])) *entry[T] {
	e := &entry[T]{done: make(chan struct{})}
	if c.generation != nil {
		e.of = c.generation()
	}
	go func() {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		e.value, e.err = compute(cctx)
		e.until = c.now().Add(c.ttl)
		close(e.done)
		if done != nil {
			done(e)
		}
	}()
	return e
}

// expired reports whether e is done and not to be given at a time. An error
// is given to those who waited for it only.
func (e *entry[T]) expired(at time.Time) bool {
	select {
	case <-e.done:
		return e.err != nil || at.After(e.until)
	default:
		return false
	}
}

// evict makes room for one more: what has expired goes, then what comes first.
func (c *cache[T]) evict(now time.Time) {
	for k, e := range c.entries {
		if e.expired(now.Add(-c.stale)) {
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
