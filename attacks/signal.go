package attacks

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// The kinds of incident, the most telling first: what is suspected of one
// becomes no incident of those after it.
const (
	kindReset = iota
	kindCredentials
	kindScan
	kindProtocol
	kindSlow
	kindHandshake
	kindPlain // request_flood
	kindConnection
	kindError
	kindNotFound
	kinds
)

// A manner is how a kind's events become an incident.
type manner struct {
	kind   wire.Value
	least  float64 // events in a step, fewer are never hot
	factor float64 // times what is expected
	ratio  float64 // of the step's requests; fewer are never hot, and without experience it takes factor times as many
	steps  int     // that must be hot in a row, unless one is very hot
	// crowd: visitors do that too, if they are many at once or the site is at
	// fault; so it takes concentration to be an incident.
	crowd bool
}

var manners = [kinds]manner{
	kindReset:       {wire.IncidentKind.Value("rapid_reset"), 5 * ManyResets, 3, 0.05, 1, false},
	kindCredentials: {wire.IncidentKind.Value("credential_stuffing"), 30, 4, 0.02, 1, false},
	kindScan:        {wire.IncidentKind.Value("scan"), 20, 4, 0.001, 1, false},
	kindProtocol:    {wire.IncidentKind.Value("protocol_violation"), 30, 4, 0.02, 1, false},
	kindSlow:        {wire.IncidentKind.Value("slow_requests"), 20, 4, 0.02, 1, false},
	kindHandshake:   {wire.IncidentKind.Value("handshake_flood"), 120, 4, 0.1, 1, false},
	kindPlain:       {wire.IncidentKind.Value("request_flood"), 1200, 4, 0, 2, true},
	kindConnection:  {wire.IncidentKind.Value("connection_flood"), 300, 4, 0.5, 1, false},
	kindError:       {wire.IncidentKind.Value("error_burst"), 60, 4, 0.02, 2, true},
	kindNotFound:    {wire.IncidentKind.Value("not_found_burst"), 120, 4, 0.2, 2, true},
}

// A signal is the events of one kind: those of the running step, the baseline,
// and those of the incident, if there is one.
type signal struct {
	count  atomic.Uint64 // events of the step
	failed atomic.Uint64 // of them answered with an error, or not at all
	since  atomic.Int64  // when the earliest of them began, in Unix ns; 0: none

	mu sync.Mutex // the step's sketch
	sketch

	base     baseline
	hot      int       // steps in a row
	hotFrom  time.Time // start of the first of them
	pending  total     // of the hot steps, until they are an incident
	incident *incident // nil: none
	whole    total     // of the incident
}

// A sketch is what is known of a step's events. Two events at the very same
// time need not both be in it: it tells shares, not numbers.
type sketch struct {
	sources   distinct
	sourceTop top
	sourceMix spread
	helloTop  top // of hashes, with Event.Known as the last 16 bits
	helloMix  spread
	hellos    distinct
	agentMix  spread
	agents    uint64
	scans     [32]uint32
}

// A total is what sketches of several steps add up to.
type total struct {
	count, peak uint64
	sources     distinct
	sourceTop   top
	helloTop    top
	scans       [32]uint32
}

func (s *signal) reset(key uint64) {
	s.sketch.reset(key)
	s.pending.reset(key)
	s.whole.reset(key)
}

func (s *sketch) reset(key uint64) {
	*s = sketch{}
	s.sourceTop.reset(key)
	s.helloTop.reset(key)
}

func (t *total) reset(key uint64) {
	*t = total{}
	t.sourceTop.reset(key)
	t.helloTop.reset(key)
}

// watch counts n events like e.
func (s *signal) watch(w *Watcher, e *Event, n uint64) {
	s.count.Add(n)
	if e.Status == 0 || e.Status >= 400 {
		s.failed.Add(n)
	}
	if !e.Began.IsZero() {
		if began := e.Began.UnixNano(); s.since.Load() == 0 || began < s.since.Load() {
			s.since.Store(began) // two at once: either is good enough
		}
	}
	if !s.mu.TryLock() {
		return // somebody's event is being added, which is as good as this one
	}
	defer s.mu.Unlock()
	key := w.key.Load()
	h := mix(key, uint64(e.Source))
	s.sources.add(h)
	s.sourceMix.add(h)
	s.sourceTop.add(uint64(e.Source), n)
	if e.Hello != 0 {
		// What is known of it stays with it, whatever else comes.
		hello := e.Hello<<16 | uint64(e.Known)
		h := mix(key, hello)
		s.hellos.add(h)
		s.helloMix.add(h)
		s.helloTop.add(hello, n)
	}
	if e.Agent != 0 {
		s.agents++
		s.agentMix.add(mix(key, e.Agent))
	}
	if e.Path.Scan != wire.Other {
		s.scans[e.Path.Scan&31]++
	}
}

func (t *total) add(count uint64, s *sketch) {
	t.count += count
	t.peak = max(t.peak, count)
	t.sources.merge(&s.sources)
	t.sourceTop.merge(&s.sourceTop)
	t.helloTop.merge(&s.helloTop)
	for i, n := range s.scans {
		t.scans[i] += n
	}
}

func (t *total) merge(from *total) {
	t.count += from.count
	t.peak = max(t.peak, from.peak)
	t.sources.merge(&from.sources)
	t.sourceTop.merge(&from.sourceTop)
	t.helloTop.merge(&from.helloTop)
	for i, n := range from.scans {
		t.scans[i] += n
	}
}
