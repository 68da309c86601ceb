package recorder

import (
	"hash/maphash"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/caddy-evergreen/evergreen/clients"
	"github.com/caddy-evergreen/evergreen/wire"
)

// maxStripes, a power of 2, bounds the memory: a stripe is about 500 KB. At 200,000 requests a
// second a word is written 50,000 times a second in each of four, which leaves
// its cache line idle for over 99 % of the time.
const maxStripes = 4

// Options are what New needs; the zero value works.
type Options struct {
	Timing wire.Timing      // wire.DefaultTiming if its window is zero
	Off    []string         // metrics that are not recorded, by name or prefix
	Now    func() time.Time // time.Now if nil
}

// A Recorder holds the counters of a process. Its methods may be called from
// any number of goroutines; those that record neither lock nor allocate.
type Recorder struct {
	timing    wire.Timing
	layout    *layout
	clients   *clients.Cache
	collector *collector

	stripes [][]atomic.Uint64
	mask    uintptr                 // of the stripe's number
	off     [offBanks]atomic.Uint64 // bits of the metrics that are off

	// Copies out of the layout, so that the hot path need not look for them.
	requests, method, transport, handlerErrors, panics, aborted, upgrades metric
	requestBytes, responseBytes, firstByte, duration                      metric
	clientRequests, browsers, platforms, bots, tools                      metric
	connections, tlsConnections, tlsGroups, tlsALPN, tlsSNI               metric
	byID                                                                  []*metric // by number; nil for what is not counted here

	connFeatures, requestFeatures metric
	unknown                       sightings    // JA4 fingerprints that are not in the list
	window                        atomic.Int64 // counts the windows closed

	inFlight, open gauge

	late func() // counts what is late, see BeforeReading

	mu     sync.Mutex // guards what follows and serialises readers of windows
	start  time.Time  // of the open window
	closed []uint64   // the words as they were when the last window was closed
	buffer []uint64   // of read: the words of one metric
}

// BeforeReading has f called before the counters are read, for a window or for
// Prometheus: what f counts is in what is read. It is to be called once, before
// anything is recorded or read; f must not read.
func (r *Recorder) BeforeReading(f func()) { r.late = f }

// New makes a recorder whose first window is the one that is open now. It
// starts nothing.
func New(o Options) (*Recorder, error) {
	if o.Timing.Window <= 0 {
		o.Timing = wire.DefaultTiming
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l, err := newLayout()
	if err != nil {
		return nil, err
	}
	r := &Recorder{
		timing:  o.Timing,
		layout:  l,
		clients: clients.NewCache(),
		start:   o.Timing.WindowStart(o.Now()),
		closed:  make([]uint64, l.words),
		buffer:  make([]uint64, l.widest),
		late:    func() {},
	}
	n := maxStripes
	if runtime.GOMAXPROCS(0) == 1 {
		n = 1
	}
	r.mask = uintptr(n - 1)
	for range n {
		r.stripes = append(r.stripes, make([]atomic.Uint64, l.words))
	}
	for i := range l.metrics {
		m := &l.metrics[i]
		for len(r.byID) <= int(m.def.ID) {
			r.byID = append(r.byID, nil)
		}
		r.byID[m.def.ID] = m
	}
	for id, m := range map[wire.MetricID]*metric{
		wire.HTTPRequests: &r.requests, wire.HTTPRequestsMethod: &r.method, wire.HTTPRequestsTransport: &r.transport,
		wire.HTTPHandlerErrors: &r.handlerErrors, wire.HTTPPanics: &r.panics, wire.HTTPAborted: &r.aborted, wire.HTTPUpgrades: &r.upgrades,
		wire.HTTPRequestBytes: &r.requestBytes, wire.HTTPResponseBytes: &r.responseBytes, wire.HTTPFirstByte: &r.firstByte, wire.HTTPDuration: &r.duration,
		wire.ClientRequests: &r.clientRequests, wire.ClientBrowsers: &r.browsers, wire.ClientPlatforms: &r.platforms, wire.ClientBots: &r.bots, wire.ClientTools: &r.tools,
		wire.Connections: &r.connections, wire.TLSConnections: &r.tlsConnections, wire.TLSGroups: &r.tlsGroups, wire.TLSALPN: &r.tlsALPN, wire.TLSSNI: &r.tlsSNI,
	} {
		*m = *r.byID[id]
	}
	r.connFeatures, r.requestFeatures = *r.byID[wire.ConnectionFeatures], *r.byID[wire.RequestFeatures]
	r.unknown.seed = maphash.MakeSeed()
	r.collector = newCollector(r)
	if err := r.SetOff(o.Off); err != nil {
		return nil, err
	}
	return r, nil
}

// stripe chooses a stripe by the address of the goroutine's stack: goroutines
// have stacks of their own, and mostly stay on one processor. It is a hint: any
// stripe counts right. Stacks are at least 2 KB apart; the multiplication
// spreads what is left over the high bits.
func (r *Recorder) stripe() []atomic.Uint64 {
	var here byte
	a := uint64(uintptr(unsafe.Pointer(&here))) >> 11
	return r.stripes[uintptr(a*0x9e3779b97f4a7c15>>56)&r.mask]
}

// A gauge counts what is going on at once, and the most of it since its last reset.
type gauge struct {
	_    [64]byte // cur is written by every processor: no neighbours
	cur  atomic.Int64
	_    [56]byte
	peak atomic.Int64
	_    [56]byte
}

func (g *gauge) inc() { g.raise(g.cur.Add(1)) }
func (g *gauge) dec() { g.cur.Add(-1) }

func (g *gauge) raise(n int64) {
	for {
		p := g.peak.Load()
		if n <= p || g.peak.CompareAndSwap(p, n) {
			return
		}
	}
}

// reset begins a new window and returns the peak of the old one. Whatever began
// before the swap is in the old window's peak, and in the new one's by the
// second look at the gauge if it still goes on.
func (g *gauge) reset() uint64 {
	p := g.peak.Swap(g.cur.Load())
	g.raise(g.cur.Load())
	return uint64(max(p, 0))
}

// Begin notes that a request has started. Each Begin has its Request.
func (r *Recorder) Begin() { r.inFlight.inc() }

// ConnOpened notes that a connection was accepted. Each has its ConnClosed.
func (r *Recorder) ConnOpened() { r.open.inc() }

// ConnClosed counts a connection that has ended, by the protocol of its first request.
func (r *Recorder) ConnClosed(protocol, family, transport, role wire.Value) {
	r.open.dec()
	if m := &r.connections; r.off[0].Load()&m.bit == 0 {
		r.stripe()[m.cell4(protocol, family, transport, role)].Add(1)
	}
}

// Request counts a request that has ended.
func (r *Recorder) Request(q *Request) {
	r.inFlight.dec()
	off := r.off[0].Load()
	s := r.stripe()
	status := StatusOf(q.Status)
	class := StatusClassOf(q.Status)

	if m := &r.requests; off&m.bit == 0 {
		s[m.cell3(q.Protocol, status, q.Role)].Add(1)
	}
	if m := &r.method; off&m.bit == 0 {
		s[m.cell3(MethodOf(q.Method), class, q.Role)].Add(1)
	}
	if m := &r.transport; off&m.bit == 0 {
		s[m.cell4(q.Transport, q.Family, q.Protocol, q.Role)].Add(1)
	}

	if m := &r.requestBytes; off&m.bit == 0 {
		observe(s, m.cell2(q.Protocol, class), q.RequestBytes)
	}
	if m := &r.responseBytes; off&m.bit == 0 {
		observe(s, m.cell2(q.Protocol, class), q.ResponseBytes)
	}
	if m := &r.duration; off&m.bit == 0 {
		observe(s, m.cell2(q.Protocol, class), q.Duration.Microseconds())
	}
	if m := &r.firstByte; q.FirstByte > 0 && off&m.bit == 0 {
		observe(s, m.cell2(q.Protocol, class), q.FirstByte.Microseconds())
	}

	if m := &r.handlerErrors; q.HandlerError != 0 && off&m.bit == 0 {
		s[m.cell2(StatusOf(q.HandlerError), q.Role)].Add(1)
	}
	if m := &r.panics; q.Panicked && off&m.bit == 0 {
		s[m.cell1(q.Protocol)].Add(1)
	}
	if m := &r.aborted; q.Aborted && off&m.bit == 0 {
		s[m.cell2(q.Protocol, phase(q))].Add(1)
	}
	if m := &r.upgrades; q.Upgraded && off&m.bit == 0 {
		s[m.cell2(q.Upgrade, q.Protocol)].Add(1)
	}

	if all := r.clientRequests.bit | r.platforms.bit | r.browsers.bit | r.bots.bit | r.tools.bit; off&all == all && r.isOff(&r.requestFeatures) {
		return
	}
	c := r.clients.Classify(q.UserAgent)
	r.countFeatures(&r.requestFeatures, q.Features, c.Family())
	if m := &r.clientRequests; off&m.bit == 0 {
		s[m.cell2(c.Kind, q.Protocol)].Add(1)
	}
	if m := &r.platforms; off&m.bit == 0 {
		s[m.cell2(c.OS, c.Kind)].Add(1)
	}
	switch c.Kind {
	case clients.Browser:
		if m := &r.browsers; off&m.bit == 0 {
			s[m.cell2(c.Browser, c.Version)].Add(1)
		}
	case clients.Bot:
		if m := &r.bots; off&m.bit == 0 {
			s[m.cell2(c.BotClass, c.Bot)].Add(1)
		}
	case clients.Tool:
		if m := &r.tools; off&m.bit == 0 {
			s[m.cell1(c.Tool)].Add(1)
		}
	}
}

// observe adds one observation to the histogram cell at word i. The bucket comes
// before the sum, so that a reader who sees the sum sees the bucket too.
func observe(s []atomic.Uint64, i uint32, v int64) {
	u := uint64(max(v, 0))
	s[i+uint32(wire.Bucket(u))].Add(1)
	if u != 0 {
		s[i+sumWord].Add(u)
	}
}

// A Handshake is what is known of a completed TLS handshake.
type Handshake struct {
	Version, Suite, Group uint16 // code points; Group 0 if there was none
	ALPN                  string
	Resumed               bool
	SNI                   bool
}

// Handshake counts a completed TLS handshake.
func (r *Recorder) Handshake(h *Handshake) {
	off := r.off[0].Load()
	s := r.stripe()
	version := TLSVersionOf(h.Version)
	if m := &r.tlsConnections; off&m.bit == 0 {
		s[m.cell3(version, wire.CipherSuiteValue(h.Suite), resumption(h.Resumed))].Add(1)
	}
	if m := &r.tlsGroups; off&m.bit == 0 {
		s[m.cell2(wire.GroupValue(h.Group), version)].Add(1)
	}
	if m := &r.tlsALPN; off&m.bit == 0 {
		s[m.cell1(ALPNOf(h.ALPN))].Add(1)
	}
	if m := &r.tlsSNI; off&m.bit == 0 {
		s[m.cell1(presence(h.SNI))].Add(1)
	}
}

// metric finds what is counted here, or nil.
func (r *Recorder) metric(id wire.MetricID) *metric {
	if int(id) >= len(r.byID) {
		return nil
	}
	return r.byID[id]
}

// Add adds n to a counter. It does nothing if m is no counter that an instance
// may send. Values that a vocabulary lacks count as other.
func (r *Recorder) Add(m wire.MetricID, d wire.Dims, n uint64) {
	if m := r.metric(m); m != nil && m.def.Kind == wire.KindCounter && !r.isOff(m) {
		r.stripe()[m.word(&d)].Add(n)
	}
}

// Observe adds one observation to a histogram, in the metric's unit. It does
// nothing if m is no histogram that an instance may send.
func (r *Recorder) Observe(m wire.MetricID, d wire.Dims, v int64) {
	if m := r.metric(m); m != nil && m.def.Kind == wire.KindHistogram && !r.isOff(m) {
		observe(r.stripe(), m.word(&d), v)
	}
}
