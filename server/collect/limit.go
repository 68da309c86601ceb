package collect

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// admission holds requests to the global rate and to each sender's.
//
// A sender is known by the first 64 bits of a hash of its address, keyed with
// random bytes that are made at start and are nowhere but in this process. So
// no address lies in memory between requests. (Whoever could read the whole
// process's memory could still try all IPv4 addresses with the key; that is
// why entries also go as soon as they limit nothing.)
//
// The rates are kept by the generic cell rate algorithm (ITU-T I.371): one
// time per sender, at which its bucket is full again. They are in two
// generations of a map: an entry that is used moves to the young one; when
// the young one is as old as it takes a bucket to fill up, or has its full
// number of entries, it becomes the old one and the old one is forgotten. So
// memory is bounded, nothing is ever swept, and an attacker with a /32 of IPv6
// only makes senders be forgotten early: the global rate still holds.
type admission struct {
	global *rate.Limiter
	key    [32]byte
	per    time.Duration // between requests of a sender, at its rate
	burst  time.Duration // how far a sender's time may be ahead
	max    int           // entries of a generation

	mu    sync.Mutex
	young map[uint64]int64 // Unix nanoseconds
	old   map[uint64]int64
	born  time.Time // of young
}

func newAdmission(l Limits) *admission {
	per := time.Duration(float64(time.Second) / l.Sender)
	a := &admission{
		global: rate.NewLimiter(rate.Limit(l.Global), l.GlobalBurst),
		per:    per,
		burst:  per * time.Duration(l.SenderBurst),
		max:    max(1, l.Senders/2),
		young:  map[uint64]int64{},
	}
	_, _ = rand.Read(a.key[:]) // never fails
	return a
}

func (a *admission) allow(sender netip.Addr, now time.Time) error {
	// The sender first: what it has too much shall not use up the others' share.
	if sender.IsValid() {
		if wait := a.sender(a.hash(sender), now); wait > 0 {
			return retryLater(kindSenderRate, wait, "report less often")
		}
	}
	if !a.global.AllowN(now, 1) {
		return retryLater(kindGlobalRate, 30*time.Second, "try again later")
	}
	return nil
}

// sender takes one request from a sender's bucket, or says how long there is none.
func (a *admission) sender(id uint64, now time.Time) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if age := now.Sub(a.born); age > a.burst+a.per || len(a.young) >= a.max {
		a.old, a.young, a.born = a.young, map[uint64]int64{}, now
		if age > 2*(a.burst+a.per) {
			a.old = nil // idle for so long that nothing in it limits anybody
		}
	}
	full, ok := a.young[id]
	if !ok {
		full = a.old[id]
	}
	t := now.UnixNano()
	next := max(full, t) + int64(a.per)
	if ahead := time.Duration(next - t); ahead > a.burst {
		return ahead - a.burst
	}
	a.young[id] = next
	return 0
}

// hash tells senders apart: IPv4 by address, IPv6 by /64, which is the least
// that a subscriber has.
func (a *admission) hash(sender netip.Addr) uint64 {
	bits := 32
	if sender.Is6() {
		bits = 64
	}
	p, err := sender.Prefix(bits)
	if err != nil { // of a valid address without zone: can't be
		return 0
	}
	b := p.Addr().As16()
	h := sha256.Sum256(append(a.key[:len(a.key):len(a.key)], b[:]...))
	return binary.BigEndian.Uint64(h[:])
}

// senders is how many senders' rates are in memory.
func (a *admission) senders() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.young) + len(a.old)
}
