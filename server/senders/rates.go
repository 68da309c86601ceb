// Package senders tells who sends requests apart, and holds each to a rate.
//
// A request arrives; out goes the address it came from, and whether that sender
// has asked too much. No address is kept.
package senders

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

// Rates hold each sender to a rate.
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
// only makes senders be forgotten early: whoever uses Rates has a bound for all
// senders together as well.
type Rates struct {
	key   [32]byte
	per   time.Duration // between requests of a sender, at its rate
	burst time.Duration // how far a sender's time may be ahead
	max   int           // entries of a generation

	mu    sync.Mutex
	young map[uint64]int64 // Unix nanoseconds
	old   map[uint64]int64
	born  time.Time // of young
}

// NewRates lets a sender make perSecond requests, and burst at once. It
// remembers at most that many senders.
func NewRates(perSecond float64, burst, senders int) *Rates {
	per := time.Duration(float64(time.Second) / perSecond)
	r := &Rates{per: per, burst: per * time.Duration(burst), max: max(1, senders/2), young: map[uint64]int64{}}
	_, _ = rand.Read(r.key[:]) // never fails
	return r
}

// Wait takes one request from a sender's bucket, or says how long there is
// none. An invalid address, as of a unix socket, is never limited.
func (r *Rates) Wait(sender netip.Addr, now time.Time) time.Duration {
	_, wait := r.Take(sender, 1, now)
	return wait
}

// Take takes n requests from a sender's bucket and says how many are left in
// it; or takes none, and says how long there are too few. A sender who is not
// limited has a full bucket.
func (r *Rates) Take(sender netip.Addr, n int, now time.Time) (left int, wait time.Duration) {
	if !sender.IsValid() {
		return int(r.burst / r.per), 0
	}
	id := r.ID(sender)
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.born); age > r.burst+r.per || len(r.young) >= r.max {
		r.old, r.young, r.born = r.young, map[uint64]int64{}, now
		if age > 2*(r.burst+r.per) {
			r.old = nil // idle for so long that nothing in it limits anybody
		}
	}
	full, ok := r.young[id]
	if !ok {
		full = r.old[id]
	}
	t := now.UnixNano()
	next := max(full, t) + int64(n)*int64(r.per)
	ahead := time.Duration(next - t)
	if ahead > r.burst {
		return max(0, int((r.burst-time.Duration(max(full, t)-t))/r.per)), ahead - r.burst
	}
	r.young[id] = next
	return int((r.burst - ahead) / r.per), 0
}

// ID tells senders apart: IPv4 by address, IPv6 by /64, which is the least
// that a subscriber has. It means nothing outside of this process.
func (r *Rates) ID(sender netip.Addr) uint64 {
	bits := 32
	if sender.Is6() {
		bits = 64
	}
	p, err := sender.Prefix(bits)
	if err != nil { // of a valid address without zone: can't be
		return 0
	}
	b := p.Addr().As16()
	h := sha256.Sum256(append(r.key[:len(r.key):len(r.key)], b[:]...))
	return binary.BigEndian.Uint64(h[:])
}

// Len is how many senders' rates are in memory.
func (r *Rates) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.young) + len(r.old)
}
