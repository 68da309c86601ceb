package attacks

import (
	"crypto/rand"
	"encoding/binary"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Recorder is what a Watcher counts in.
type Recorder interface {
	Add(m wire.MetricID, d wire.Dims, n uint64)
	Observe(m wire.MetricID, d wire.Dims, v int64)
}

// Options are what New needs; the zero value works.
type Options struct {
	Recorder Recorder      // nil: nothing is counted
	Step     time.Duration // what time is cut into; a minute if zero
	Slow     time.Duration // a client that takes so long is slow; ten seconds if zero, shorter for short steps
	Now      time.Time     // when it begins; time.Now() if zero
	// Networks is asked when incidents are reported whether their source
	// networks go along; nil: never.
	Networks func() bool
}

// A Watcher watches a process's traffic. Its methods may be called from any
// number of goroutines.
type Watcher struct {
	step, slow time.Duration
	rec        Recorder
	networks   func() bool
	signals    [kinds]signal
	key        atomic.Uint64 // of the hashes that count what is distinct; changes daily

	mu       sync.Mutex // guards what follows
	from     time.Time  // start of the step
	day      int64      // of key
	all      distinct   // of a step: sources of every signal
	hellos   distinct
	usual    usual
	finished []*wire.Incident // ended and not yet reported
	numbers  uint64           // the last one given
}

// New makes a Watcher. It starts nothing: somebody calls Tick.
func New(o Options) *Watcher {
	if o.Step <= 0 {
		o.Step = time.Minute
	}
	if o.Slow <= 0 {
		o.Slow = min(10*time.Second, max(o.Step/6, 300*time.Millisecond))
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	w := &Watcher{step: o.Step, slow: o.Slow, rec: o.Recorder, networks: o.Networks, from: o.Now.Truncate(o.Step)}
	w.newKey(o.Now)
	for k := range w.signals {
		w.signals[k].reset(w.key.Load())
	}
	return w
}

// Slow is from when a client that takes long is slow.
func (w *Watcher) Slow() time.Duration { return w.slow }

// Step is how often Tick is to be called.
func (w *Watcher) Step() time.Duration { return w.step }

func (w *Watcher) newKey(now time.Time) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	w.key.Store(binary.LittleEndian.Uint64(b[:]) | 1)
	w.day = now.Unix() / 86400
}

// An Event is a request, or a connection, that ended.
type Event struct {
	Source Source
	Hello  uint64     // hash of the ClientHello, of which 48 bits count; 0 if there was none
	Known  wire.Value // wire.JA4 of the ClientHello
	Agent  uint64     // hash of the User-Agent; 0 if there was none
	Family wire.Value // wire.Family
	Began  time.Time

	Path          Path
	Post          bool // a method that sends something
	Authorization bool // the request had one
	Status        int  // 0 if none was sent
	Slow          bool // the client took long to send
	Aborted       bool // the client gave up
	Resets        int  // streams that the connection gave up lately, if they are many
}

// Values of wire.Behaviour.
var (
	behaviourScan      = wire.Behaviour.Value("scan")
	behaviourDenied    = wire.Behaviour.Value("denied")
	behaviourNotFound  = wire.Behaviour.Value("not_found")
	behaviourServer    = wire.Behaviour.Value("server_error")
	behaviourBad       = wire.Behaviour.Value("bad_request")
	behaviourSlow      = wire.Behaviour.Value("slow")
	behaviourAborted   = wire.Behaviour.Value("aborted")
	behaviourSilent    = wire.Behaviour.Value("silent")
	behaviourAbandoned = wire.Behaviour.Value("handshake_abandoned")
	behaviourResets    = wire.Behaviour.Value("reset_streams")
)

// Request watches a request that ended.
func (w *Watcher) Request(e *Event) {
	status := e.Status
	class := wire.Other
	if status >= 100 && status < 600 {
		class = wire.Value(status / 100)
	}
	if e.Path.Scan != wire.Other {
		w.add(wire.AttackScans, wire.Dims{e.Path.Scan, class})
	}
	scan := e.Path.Scan != wire.Other && (e.Path.Certain || status >= 400 && status < 500)
	denied := status == http.StatusUnauthorized || status == http.StatusForbidden
	guess := e.Path.Login && e.Post && (denied || status == http.StatusUnprocessableEntity || status == http.StatusTooManyRequests || status == http.StatusBadRequest) ||
		status == http.StatusUnauthorized && (e.Post || e.Authorization)
	bad := isBad(status)
	// Each request is one kind's; what is rarer in ordinary life comes first.
	of := kindPlain
	switch {
	case e.Resets > 0:
		of = kindReset
	case guess:
		of = kindCredentials
	case scan:
		of = kindScan
	case bad:
		of = kindProtocol
	case e.Slow:
		of = kindSlow
	}
	n := uint64(max(e.Resets, 1))
	w.signals[of].watch(w, e, n)
	if of == kindPlain {
		switch {
		case status == http.StatusNotFound || status == http.StatusGone:
			w.signals[kindNotFound].watch(w, e, 1)
		case status >= 500:
			w.signals[kindError].watch(w, e, 1)
		}
	}

	if scan {
		w.behaved(behaviourScan, e.Family)
	}
	if denied {
		w.behaved(behaviourDenied, e.Family)
	}
	if status == http.StatusNotFound || status == http.StatusGone {
		w.behaved(behaviourNotFound, e.Family)
	}
	if status >= 500 && status < 600 {
		w.behaved(behaviourServer, e.Family)
	}
	if bad {
		w.behaved(behaviourBad, e.Family)
	}
	if e.Slow {
		w.behaved(behaviourSlow, e.Family)
	}
	if e.Aborted {
		w.behaved(behaviourAborted, e.Family)
	}
}

// isBad is for what a server answers to what no client should send.
func isBad(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestTimeout, http.StatusRequestURITooLong,
		http.StatusRequestHeaderFieldsTooLarge, http.StatusHTTPVersionNotSupported:
		return true
	}
	return false
}

// ManyResets is from how many streams that a connection gave up within a
// minute a rapid reset is suspected.
const ManyResets = 100

// Reset counts a connection with many resets; the request that brought it
// there says how many in Event.Resets.
func (w *Watcher) Reset(e *Event) { w.behaved(behaviourResets, e.Family) }

// An Ending is how a connection without a request ended.
type Ending uint8

const (
	Silent    Ending = iota // nothing was asked, after a handshake or without TLS
	Abandoned               // before the TLS handshake was complete
	Malformed               // what was sent was no request
	Stalled                 // the request's header took long, and was not complete
)

// Connection watches a connection that ended without any request.
func (w *Watcher) Connection(e *Event, how Ending) {
	switch how {
	case Silent:
		w.signals[kindConnection].watch(w, e, 1)
		w.behaved(behaviourSilent, e.Family)
	case Abandoned:
		w.signals[kindHandshake].watch(w, e, 1)
		w.behaved(behaviourAbandoned, e.Family)
	case Malformed:
		w.signals[kindProtocol].watch(w, e, 1)
		w.behaved(behaviourBad, e.Family)
	case Stalled:
		w.signals[kindSlow].watch(w, e, 1)
		w.behaved(behaviourSlow, e.Family)
	}
}

func (w *Watcher) behaved(b, family wire.Value) { w.add(wire.AttackBehaviour, wire.Dims{b, family}) }

func (w *Watcher) add(m wire.MetricID, d wire.Dims) {
	if w.rec != nil {
		w.rec.Add(m, d, 1)
	}
}
