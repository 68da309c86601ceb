package reporter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Windows is what the reporter asks of the recorder.
type Windows interface {
	// Close answers the windows that have ended by now, and never again.
	Close(now time.Time) []*wire.Window
	// ClosePartial answers what the open window holds so far, and never again.
	ClosePartial(now time.Time) *wire.Window
	// Peek answers what the open window holds so far.
	Peek(now time.Time) *wire.Window
	// Add counts n events.
	Add(m wire.MetricID, d wire.Dims, n uint64)
}

// Config is what a Reporter needs. Windows and Facts are required.
type Config struct {
	Endpoint  string             // URL of the service; empty: nothing is sent and nothing written
	Dir       string             // folder of identity and spool; made if it is missing
	Facts     func() *wire.Facts // called once for each window
	Windows   Windows            // where closed windows come from
	Timing    wire.Timing        // zero: wire.DefaultTiming
	Log       *zap.Logger        // nil: no log
	Transport http.RoundTripper  // nil: the default one, with proxies from the environment
	Now       func() time.Time   // nil: time.Now
	Rand      func() float64     // jitter, in [0, 1); nil: math/rand
}

// A Reporter closes windows as they end, spools them and sends them. Its
// methods may be called at once. There is at most one for a folder in a process.
type Reporter struct {
	c      Config
	pace   pacing
	client *http.Client
	wake   chan struct{} // the schedule has changed
	// sending is held while something signed is under way, so that an identity
	// does not change between a request and its answer.
	sending chan struct{}
	folder  disk // its root and what tests add to it

	openMu sync.Mutex // one opening of the spool at a time
	saveMu sync.Mutex // one saving of windows at a time

	// right is the right to send, if this process has it; only Run uses it.
	right func()

	mu             sync.Mutex
	endpoint       string
	spool          *spool // nil until it is needed
	memoryOnly     bool
	pending        []*wire.Window // closed, but not yet in the spool
	noticed        time.Time      // when the notice was given; zero: not yet
	every          time.Duration
	nextSend       time.Time // zero: to be planned
	failures       int       // in a row
	waiting        bool      // the server named the time of the next attempt
	stopped        bool      // by the server, until the next start
	busy           bool      // a report is being sent
	elsewhere      bool      // another process sends
	failing        time.Time // since when the spool can't be written; zero: it can
	lastError      string
	history        []Send
	droppedReports uint64
	droppedWindows uint64
	logs           daily
	told           bool // that reports can't be delivered
}

// New makes a Reporter. It starts nothing and touches no file.
func New(c Config) (*Reporter, error) {
	if c.Windows == nil || c.Facts == nil {
		return nil, errors.New("a reporter needs windows and facts")
	}
	if err := CheckEndpoint(c.Endpoint); err != nil {
		return nil, err
	}
	if c.Timing == (wire.Timing{}) {
		c.Timing = wire.DefaultTiming
	}
	if c.Timing.Window <= 0 || c.Timing.ReportEvery <= 0 || c.Timing.Notice < 0 {
		return nil, fmt.Errorf("a reporter can't work with the timing %+v", c.Timing)
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	return &Reporter{
		c:        c,
		pace:     pacingFor(c.Timing),
		client:   newClient(c.Transport),
		wake:     make(chan struct{}, 1),
		sending:  make(chan struct{}, 1),
		endpoint: c.Endpoint,
		every:    c.Timing.ReportEvery,
		logs:     daily{},
		folder:   disk{root: c.Dir},
	}, nil
}

// Run works until ctx is done. Then it closes the open window, spools it and,
// if sending is allowed and goes well at the time, sends what is spooled, for
// at most three seconds. It always answers nil.
func (r *Reporter) Run(ctx context.Context) error {
	var closing sync.WaitGroup
	// Apart from the sending: a window must be closed when it ends, also while
	// a server takes half a minute to answer.
	closing.Go(func() { r.closeWindows(ctx) })
	r.sendReports(ctx)
	closing.Wait()
	r.finish(ctx)
	return nil
}

// SetEndpoint changes where reports go, as a reload of the configuration may.
// With an empty one, nothing is sent or written from now on, at the end of Run
// neither. A server that is new also lifts the stop that the former one asked for.
func (r *Reporter) SetEndpoint(endpoint string) {
	if err := CheckEndpoint(endpoint); err != nil {
		r.c.Log.Error("telemetry is not sent", zap.Error(err))
		endpoint = ""
	}
	r.mu.Lock()
	if r.endpoint != endpoint {
		r.endpoint = endpoint
		r.stopped, r.waiting, r.failures, r.nextSend = false, false, 0, time.Time{}
		r.lastError = ""
		if endpoint == "" {
			r.pending = nil
		}
	}
	r.mu.Unlock()
	r.replan()
}

func (r *Reporter) replan() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// checkClock is how long a wait goes on without looking at the clock, which may
// have been set.
const checkClock = time.Minute

// sleep waits, and answers false when ctx is done.
func (r *Reporter) sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(min(max(d, 0), checkClock))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-wake:
	}
	return ctx.Err() == nil
}

// closeWindows closes each window at its end.
func (r *Reporter) closeWindows(ctx context.Context) {
	window := r.c.Timing.WindowStart(r.c.Now())
	for {
		now := r.c.Now()
		if w := r.c.Timing.WindowStart(now); !w.Equal(window) {
			window = w
			r.save(r.c.Windows.Close(now))
		}
		if !r.sleep(ctx, window.Add(r.c.Timing.Window).Sub(r.c.Now()), nil) {
			return
		}
	}
}

// diskPatience is how long a folder may fail before memory takes its place.
const diskPatience = time.Hour

// save puts windows into the spool, together with those that could not be
// before.
func (r *Reporter) save(windows []*wire.Window) {
	r.saveMu.Lock()
	defer r.saveMu.Unlock()
	r.mu.Lock()
	if r.endpoint == "" {
		r.pending = nil
		r.mu.Unlock()
		return
	}
	r.pending = append(r.pending, windows...)
	pending := r.pending
	r.mu.Unlock()
	if len(pending) == 0 {
		return
	}
	done, err := r.append(pending)
	if err != nil && r.diskFailed(err) {
		var n int
		n, err = r.append(pending[done:])
		done += n
	}
	if err == nil {
		r.diskWorks()
	}
	r.mu.Lock()
	if r.pending != nil {
		r.pending = pending[done:]
	}
	r.mu.Unlock()
	r.boundPending()
}

func (r *Reporter) append(windows []*wire.Window) (int, error) {
	s, err := r.open()
	if err != nil {
		return 0, err
	}
	return s.append(windows, r.facts())
}

func (r *Reporter) facts() *wire.Facts {
	if f := r.c.Facts(); f != nil {
		return f
	}
	return &wire.Facts{}
}

// boundPending keeps windows that can't be spooled within what a spool in
// memory may take.
func (r *Reporter) boundPending() {
	r.mu.Lock()
	size, first := 0, len(r.pending)
	for first > 0 && size+proto.Size(r.pending[first-1]) <= maxMemoryBytes {
		first--
		size += proto.Size(r.pending[first])
	}
	r.pending = r.pending[first:]
	if len(r.pending) == 0 {
		r.pending = nil
	}
	r.mu.Unlock()
	if first > 0 {
		r.dropped(wire.DropReason.Value("size"), 0, first)
	}
}

// open opens the spool when it is first needed. It answers an error only if
// another process keeps it busy.
func (r *Reporter) open() (*spool, error) {
	r.openMu.Lock()
	defer r.openMu.Unlock()
	r.mu.Lock()
	s := r.spool
	r.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s = r.newSpool(&r.folder, maxDiskBytes)
	first := false
	noticed, err := s.notice(func() { first = true })
	if errors.Is(err, errBusy) {
		return nil, err
	}
	if err != nil {
		return r.toMemory(err), nil
	}
	if first {
		r.giveNotice(noticed)
	} else {
		r.c.Log.Info("telemetry is on", zap.String("endpoint", r.currentEndpoint()), zap.String("see", "caddy evergreen report"))
	}
	r.mu.Lock()
	r.spool, r.noticed = s, noticed
	r.mu.Unlock()
	return s, nil
}

func (r *Reporter) newSpool(dir folder, maxBytes int64) *spool {
	return &spool{dir: dir, maxBytes: maxBytes, now: r.c.Now, log: r.c.Log, dropped: r.dropped}
}

// toMemory gives up on the folder for this run of the process.
func (r *Reporter) toMemory(cause error) *spool {
	r.c.Log.Warn("telemetry works in memory only, because its folder can't be used; reports that are not sent before Caddy stops are lost, and each start is a new instance",
		zap.String("folder", r.c.Dir), zap.Error(cause))
	s := r.newSpool(memory{}, maxMemoryBytes)
	r.mu.Lock()
	r.spool, r.memoryOnly, r.failing, r.elsewhere = s, true, time.Time{}, false
	first := r.noticed.IsZero()
	if first {
		r.noticed = r.c.Now()
	}
	noticed := r.noticed
	r.mu.Unlock()
	if first {
		r.giveNotice(noticed)
	}
	return s
}

// giveNotice tells the operator what will be sent before anything is.
func (r *Reporter) giveNotice(at time.Time) {
	r.c.Log.Info("telemetry: from now on this Caddy counts what it sees of the Internet and reports the sums, to measure the health of the Internet's servers and clients",
		zap.String("sent", "counts by fixed categories (HTTP and TLS versions, status codes, sizes, latencies, kinds of client), versions and modules of this Caddy, its platform and the features in use"),
		zap.String("never_sent", "client addresses, host names, paths, headers, User-Agents, configuration values"),
		zap.String("endpoint", r.currentEndpoint()),
		zap.Time("first_send_after", at.Add(r.c.Timing.Notice)),
		zap.String("see", "`caddy evergreen report` prints the next report"),
		zap.String("turn_off", "set `telemetry off` in the global option `evergreen`, or EVERGREEN_TELEMETRY=off or DO_NOT_TRACK=1 in Caddy's environment"))
}

func (r *Reporter) currentEndpoint() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.endpoint
}

// diskFailed notes that the folder can't be written. It answers true if from
// now on memory takes its place.
func (r *Reporter) diskFailed(cause error) (replaced bool) {
	now := r.c.Now()
	r.mu.Lock()
	if r.memoryOnly {
		r.mu.Unlock()
		return false
	}
	if r.failing.IsZero() {
		r.failing = now
	}
	r.lastError = cause.Error()
	giveUp := now.Sub(r.failing) >= diskPatience
	log := !giveUp && r.logs.allow("folder", now)
	r.mu.Unlock()
	if log {
		r.c.Log.Warn("telemetry can't use its folder for now and holds its counts in memory",
			zap.String("folder", r.c.Dir), zap.Error(cause))
	}
	if giveUp {
		r.toMemory(cause)
	}
	return giveUp
}

func (r *Reporter) diskWorks() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = time.Time{}
}

// dropped counts what is lost, for the next window and for Status.
func (r *Reporter) dropped(reason wire.Value, reports, windows int) {
	if reports > 0 {
		r.c.Windows.Add(wire.TelemetryDroppedReports, wire.Dims{reason}, uint64(reports))
	}
	if windows > 0 {
		r.c.Windows.Add(wire.TelemetryDroppedWindows, wire.Dims{reason}, uint64(windows))
	}
	now := r.c.Now()
	r.mu.Lock()
	r.droppedReports += uint64(reports)
	r.droppedWindows += uint64(windows)
	log := r.logs.allow("dropped", now)
	r.mu.Unlock()
	if log {
		r.c.Log.Warn("telemetry that could not be delivered was dropped",
			zap.String("reason", wire.DropReason.ValueName(reason)), zap.Int("reports", reports), zap.Int("windows", windows))
	}
}

// daily lets each kind of line into the log once a day.
type daily map[string]time.Time

func (d daily) allow(kind string, now time.Time) bool {
	if last, ok := d[kind]; ok && now.Sub(last) < 24*time.Hour && !now.Before(last) {
		return false
	}
	d[kind] = now
	return true
}
