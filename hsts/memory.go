package hsts

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	ways    = 8 // places where a pair may lie: one cache line
	setBits = 14
	places  = ways << setBits

	// Size is what a Memory holds once it was given a policy.
	Size = places * 8

	unit     = time.Minute // of the end of a policy; 2^23 of them are 15 years
	endBits  = 23
	endShift = 2
	maxEnd   = 1<<endBits - 1
	tagShift = endBits + endShift

	flagSub   = 1 // includeSubDomains
	flagPlain = 2 // the client came over plain HTTP since

	// maxHost is the longest name that DNS has, and maxParents how many of its
	// parents may have bound it.
	maxHost    = 253
	maxParents = 8
	maxAgent   = 512 // of a User-Agent, what counts
)

// A Memory holds which clients were given which hosts' policies.
//
// A place is one word: from the highest bit, 39 bits of the pair's hash, the end
// in minutes since epoch, and the flags. So it is read and written at once, and
// 0, whose end has passed, is free.
type Memory struct {
	seed  maphash.Seed
	key   uint64
	epoch time.Time

	once  sync.Once
	table atomic.Pointer[[places]atomic.Uint64]
}

// New makes an empty memory that is used from now on, with a key of its own.
func New(now time.Time) *Memory {
	m := &Memory{seed: maphash.MakeSeed(), epoch: now}
	m.key = maphash.String(m.seed, "client and host")
	return m
}

// Empty reports whether no policy was ever given, so that nobody can be bound.
func (m *Memory) Empty() bool { return m.table.Load() == nil }

// A Client stands for an address and a User-Agent, by a keyed hash.
type Client uint64

// Client is the client with an address, of IPv6 the /64 network that one
// household or machine has, and a User-Agent.
func (m *Memory) Client(a netip.Addr, userAgent string) Client {
	a = a.Unmap()
	var b [9]byte
	if a.Is4() {
		v4 := a.As4()
		copy(b[1:], v4[:])
		b[0] = 4
	} else if a.Is6() {
		v6 := a.As16()
		copy(b[1:], v6[:8])
		b[0] = 6
	}
	address := binary.LittleEndian.Uint64(b[1:]) + uint64(b[0])
	agent := maphash.String(m.seed, userAgent[:min(len(userAgent), maxAgent)])
	return Client(m.mix(maphashUint64(m.seed, address), agent))
}

func maphashUint64(seed maphash.Seed, v uint64) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return maphash.Bytes(seed, b[:])
}

// mix folds two hashes into one.
func (m *Memory) mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^m.key, bits.RotateLeft64(b, 32)^0x9e3779b97f4a7c15)
	hi, lo = bits.Mul64(hi^lo^b, a^0xd6e8feb86659fd93)
	return hi ^ lo ^ a
}

// A name is a host's in lower case, without its port and the dot at its end.
type name struct {
	b [maxHost]byte
	n int
}

// set takes over the host of a request; false is one that a policy can't bind:
// none, an address, or one that is too long.
func (h *name) set(host string) bool {
	if host == "" || host[0] == '[' {
		return false
	}
	for i := len(host) - 1; i >= 0; i-- {
		if host[i] == ':' {
			host = host[:i]
			break
		}
		if host[i] < '0' || host[i] > '9' {
			break
		}
	}
	if n := len(host); n > 0 && host[n-1] == '.' {
		host = host[:n-1]
	}
	if host == "" || len(host) > maxHost {
		return false
	}
	numeric := true
	for i := range len(host) {
		c := host[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c == ':':
			return false // an IPv6 address without brackets
		}
		numeric = numeric && (c == '.' || c >= '0' && c <= '9')
		h.b[i] = c
	}
	h.n = len(host)
	return !numeric
}

// A spot is where a pair may lie.
type spot struct {
	set    *[ways]atomic.Uint64
	tag    uint64 // shifted
	victim int
}

func (m *Memory) spot(t *[places]atomic.Uint64, c Client, host []byte) spot {
	h := m.mix(maphash.Bytes(m.seed, host), uint64(c))
	first := int(h&(1<<setBits-1)) * ways
	return spot{
		set:    (*[ways]atomic.Uint64)(t[first : first+ways]),
		victim: int(h >> setBits & (ways - 1)),
		tag:    h >> tagShift << tagShift,
	}
}

func end(word uint64) uint64 { return word >> endShift & maxEnd }

// live reports whether a policy binds at a time since epoch.
func live(word uint64, since time.Duration) bool {
	return time.Duration(end(word))*unit > since
}

// find is the place of the live policy, and what it holds; nil if there is none.
func (s *spot) find(since time.Duration) (*atomic.Uint64, uint64) {
	for i := range s.set {
		if w := s.set[i].Load(); w>>tagShift<<tagShift == s.tag && live(w, since) {
			return &s.set[i], w
		}
	}
	return nil, 0
}

// Given is what a policy changed.
type Given uint8

const (
	Ignored Given = iota // the host is none that a policy binds
	First                // the client was not bound to the host by a policy of its own
	Again                // it was
	Removed              // it was, and is not any more: max-age=0, or ends within the minute
)

// Give notes that a client was given a host's policy. It reports whether a
// client that is still bound had to be forgotten for it.
func (m *Memory) Give(c Client, host string, p Policy, now time.Time) (given Given, evicted bool) {
	var h name
	if !h.set(host) {
		return Ignored, false
	}
	t := m.table.Load()
	if t == nil {
		if p.MaxAge == 0 {
			return Ignored, false
		}
		m.once.Do(func() { m.table.Store(new([places]atomic.Uint64)) })
		t = m.table.Load()
	}
	since := max(now.Sub(m.epoch), 0)
	ends := min(uint64(since/time.Second)+min(p.MaxAge, maxEnd*uint64(unit/time.Second)), maxEnd*uint64(unit/time.Second)) / uint64(unit/time.Second)
	word := ends << endShift
	if p.IncludeSubDomains {
		word |= flagSub
	}
	if !live(word, since) {
		word = 0
	}
	s := m.spot(t, c, h.b[:h.n])
	// Whoever changes the same place meanwhile makes us look again. After a few
	// times this client is not remembered, which is a miss.
	for range 4 {
		if given, evicted, ok := s.give(word, since); ok {
			return given, evicted
		}
	}
	return Ignored, false
}

func (s *spot) give(word uint64, since time.Duration) (given Given, evicted, ok bool) {
	at, old := -1, uint64(0)
	free := -1
	for i := range s.set {
		w := s.set[i].Load()
		switch {
		case !live(w, since):
			if free < 0 {
				free = i
			}
		case w>>tagShift<<tagShift != s.tag:
		case at < 0:
			at, old = i, w
		default:
			s.set[i].CompareAndSwap(w, 0) // two goroutines gave it at once
		}
	}
	switch {
	case at >= 0 && word == 0:
		return Removed, false, s.set[at].CompareAndSwap(old, 0)
	case word == 0:
		return Ignored, false, true
	case at >= 0:
		word |= s.tag | old&flagPlain
		return Again, false, word == old || s.set[at].CompareAndSwap(old, word)
	case free >= 0:
		old = s.set[free].Load()
		return First, false, !live(old, since) && s.set[free].CompareAndSwap(old, s.tag|word)
	}
	old = s.set[s.victim].Load()
	return First, true, s.set[s.victim].CompareAndSwap(old, s.tag|word)
}

// Bound reports whether a client is bound to use TLS for a host: by the host's
// own policy, or by a parent's that includes its subdomains.
func (m *Memory) Bound(c Client, host string, now time.Time) bool {
	p, _ := m.bound(c, host, now)
	return p != nil
}

// Plain notes that a client came over plain HTTP. It reports whether it was
// bound not to, and whether this is the first time since it was given that
// policy and remembered.
func (m *Memory) Plain(c Client, host string, now time.Time) (bound, first bool) {
	p, w := m.bound(c, host, now)
	if p == nil {
		return false, false
	}
	return true, w&flagPlain == 0 && p.CompareAndSwap(w, w|flagPlain)
}

func (m *Memory) bound(c Client, host string, now time.Time) (*atomic.Uint64, uint64) {
	t := m.table.Load()
	if t == nil {
		return nil, 0
	}
	var h name
	if !h.set(host) {
		return nil, 0
	}
	since := max(now.Sub(m.epoch), 0)
	s := m.spot(t, c, h.b[:h.n])
	if p, w := s.find(since); p != nil {
		return p, w
	}
	parents := 0
	for i := 0; i < h.n && parents < maxParents; i++ {
		if h.b[i] != '.' {
			continue
		}
		parents++
		s := m.spot(t, c, h.b[i+1:h.n])
		if p, w := s.find(since); p != nil && w&flagSub != 0 {
			return p, w
		}
	}
	return nil, 0
}
