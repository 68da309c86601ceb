package watch

import (
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// A Tally counts requests and handshakes where they happen. Its methods may be
// called from any number of goroutines; they neither lock nor allocate. Those
// of a nil Tally do nothing.
type Tally struct {
	seed    uint64
	mask    uintptr // of the stripe's number
	stripes []stripe
}

// classes are the answers' times: class 0 is not above the first limit, class i is above
// Limits[i-1] and not above the next.
const classes = limits + 1

// counters are one slot's. With the padding they take two cache lines.
type counters struct {
	begun, errors, panics atomic.Uint64
	answers               [classes]atomic.Uint64
	_                     [16 - 3 - classes]uint64
}

// A stripe is one of several copies of the counters, which are added up when they
// are read: a goroutine chooses one, so that processors rarely write to the same
// cache line.
type stripe struct {
	sites                [Sites]counters
	handshakes, failures atomic.Uint64
	_                    [14]uint64
}

// maxStripes, a power of 2, bounds the memory: a stripe has 32 KB.
const maxStripes = 4

// NewTally makes a tally that hashes hosts with a seed, which is the
// [Baseline.Seed] of the baseline that it is compared with.
func NewTally(seed uint64) *Tally {
	n := maxStripes
	if runtime.GOMAXPROCS(0) == 1 {
		n = 1
	}
	return &Tally{seed: seed, mask: uintptr(n - 1), stripes: make([]stripe, n)}
}

// stripe chooses by the address of the goroutine's stack, as the recorder does.
func (t *Tally) stripe() *stripe {
	var here byte
	a := uint64(uintptr(unsafe.Pointer(&here))) >> 11
	return &t.stripes[uintptr(a*0x9e3779b97f4a7c15>>56)&t.mask]
}

// maxHost is more than a host name can have.
const maxHost = 255

// Slot is where requests for a host are counted: with or without a port, in
// capital letters or not.
func (t *Tally) Slot(host string) int {
	if t == nil {
		return 0
	}
	h := uint64(0xcbf29ce484222325) ^ t.seed
	bracket := len(host) > 0 && host[0] == '['
	for i := range min(len(host), maxHost) {
		c := host[i]
		if c == ':' && !bracket || c == ']' {
			break
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return int((h ^ h>>32) * 0x9e3779b97f4a7c15 >> 56)
}

// Begin counts a request that a handler is called for.
func (t *Tally) Begin(slot int) {
	if t != nil {
		t.stripe().sites[slot%Sites].begun.Add(1)
	}
}

// Answer counts the beginning of a request's answer after d, once for each Begin. Status is
// 0 where the client gave up before there was one.
func (t *Tally) Answer(slot int, d time.Duration, status int) {
	if t == nil {
		return
	}
	c := &t.stripe().sites[slot%Sites]
	c.answers[class(d)].Add(1)
	if status >= 500 {
		c.errors.Add(1) // after the answer, and read before it: never more errors than answers
	}
}

func class(d time.Duration) int {
	for i := range limits {
		if d <= Limits[i] {
			return i
		}
	}
	return limits
}

// Panic counts a request whose handler panicked.
func (t *Tally) Panic(slot int) {
	if t != nil {
		t.stripe().sites[slot%Sites].panics.Add(1)
	}
}

// Handshake counts a TLS handshake that was completed.
func (t *Tally) Handshake() {
	if t != nil {
		t.stripe().handshakes.Add(1)
	}
}

// HandshakeFailed counts one that failed for a reason that may be the server's.
func (t *Tally) HandshakeFailed() {
	if t != nil {
		t.stripe().failures.Add(1)
	}
}

// Sample reads everything.
func (t *Tally) Sample(now time.Time, m Memory) Sample {
	s := Sample{Time: now, Memory: m}
	if t == nil {
		return s
	}
	s.Sites = make([]Counts, Sites)
	for n := range t.stripes {
		st := &t.stripes[n]
		s.Handshakes += st.handshakes.Load()
		s.HandshakeFailures += st.failures.Load()
		for i := range st.sites {
			st.sites[i].addTo(&s.Sites[i])
		}
	}
	for i := range s.Sites {
		s.Total.add(&s.Sites[i])
	}
	return s
}

func (c *counters) addTo(to *Counts) {
	to.Errors += c.errors.Load()
	to.Panics += c.panics.Load()
	for i := range c.answers {
		n := c.answers[i].Load()
		to.Answered += n
		for j := range min(i, limits) {
			to.Slow[j] += n
		}
	}
	to.Begun += c.begun.Load() // after the answers: there are never more of those
}

func (c *Counts) add(o *Counts) {
	c.Begun += o.Begun
	c.Answered += o.Answered
	c.Errors += o.Errors
	c.Panics += o.Panics
	for i := range c.Slow {
		c.Slow[i] += o.Slow[i]
	}
}
