// Package collect takes reports from instances.
//
// In come signed HTTP requests as package wire describes them, from anybody on
// the Internet. Out go records of package ingestlog, one per report: verified,
// decoded once to see that they can be, with the sender's country and network.
//
// Guaranteed:
//
//   - A report is acknowledged only after the log said that it is durable.
//   - Work and memory are bounded before they are spent: method, declared type
//     and length, the sender's rate and the global one are checked before a byte
//     of the body is read; the body is bounded in size and time; the signature
//     is checked before anything is decompressed or decoded; what is
//     decompressed is bounded in size; no more reports than there are
//     processors are decoded at a time.
//   - What is refused is answered with a wire.Problem, whose text tells the
//     sender what to change and nothing of the server's inside.
//   - The sender's address is used while its request lasts, to look up country
//     and network and to limit its rate. It is in no record, no log and no
//     error. The table of rates knows senders by a keyed hash whose key is made
//     at start and never leaves memory, and forgets them within minutes.
//   - The prefixes of source networks in incidents are used in memory to look
//     up autonomous system and country, and dropped: a report with incidents
//     is not stored as it was signed, but encoded anew without them.
package collect

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/wire"
)

// An Appender stores records. Append returns nil when r is on disk for good;
// with ingestlog.ErrFull, or any other error, it is not acknowledged and its
// sender tries again. A record's body is not changed after the call.
type Appender interface {
	Append(ctx context.Context, r ingestlog.Record) error
}

// A Locator knows where an address is. It answers "" and 0 for what it doesn't know.
type Locator interface {
	Lookup(netip.Addr) (country string, network uint32)
}

// Config is what New needs. Log is required, the rest has defaults.
type Config struct {
	Log Appender
	Geo Locator // nil leaves country and network unknown
	Now func() time.Time

	// Timing is used for its ReportEvery where ReportEvery is 0.
	Timing wire.Timing
	// ReportEvery is how often instances are told to report. When reports come
	// near to Limits.Global, it is raised by itself, at most to
	// wire.MaxReportEvery.
	ReportEvery time.Duration

	// TrustedProxies are the addresses whose X-Forwarded-For is believed. If
	// there are any, so is that of a peer on a unix socket.
	TrustedProxies []netip.Prefix
	Limits         Limits

	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil registers nothing

	// Forget deletes an instance's reports and page; nil refuses such requests.
	Forget func(ctx context.Context, id wire.InstanceID) error
	// Gone says that an instance shall report no more until it is started
	// again; nil means none. Retired says so to all.
	Gone    func(id wire.InstanceID) bool
	Retired bool
}

// Limits bound what senders can use. Zero fields are DefaultLimits's.
type Limits struct {
	Global      float64       // requests a second, of all senders together
	GlobalBurst int           // how many at once
	Sender      float64       // requests a second of one IPv4 address or one IPv6 /64
	SenderBurst int           // how many at once: a company's many instances may share an address
	Senders     int           // how many senders' rates are remembered
	InFlight    int           // requests that are being read, checked or stored at once
	BodyTimeout time.Duration // for a body to arrive
}

// DefaultLimits suit a server of two to sixteen processors.
var DefaultLimits = Limits{
	Global: 20_000, GlobalBurst: 20_000,
	Sender: 50, SenderBurst: 500, Senders: 1 << 17,
	InFlight: 1024, BodyTimeout: 10 * time.Second,
}

func (l *Limits) setDefaults() {
	d := DefaultLimits
	if l.Global <= 0 {
		l.Global = d.Global
	}
	if l.GlobalBurst <= 0 {
		l.GlobalBurst = max(d.GlobalBurst, int(l.Global))
	}
	if l.Sender <= 0 {
		l.Sender = d.Sender
	}
	if l.SenderBurst <= 0 {
		l.SenderBurst = d.SenderBurst
	}
	if l.Senders <= 0 {
		l.Senders = d.Senders
	}
	if l.InFlight <= 0 {
		l.InFlight = d.InFlight
	}
	if l.BodyTimeout <= 0 {
		l.BodyTimeout = d.BodyTimeout
	}
}

// A Collector serves wire.PathReports and wire.PathForget.
type Collector struct {
	cfg      Config
	mux      *http.ServeMux
	admit    *admission
	pace     *pace
	inFlight chan struct{} // a slot per request from its body on
	decoding chan struct{} // a slot per report that is verified and decoded
	zstd     *zstd.Encoder // for bodies that came uncompressed
	health   health
	m        *metrics
}

// New makes a collector. It starts nothing.
func New(cfg Config) (*Collector, error) {
	if cfg.Log == nil {
		return nil, errors.New("collect: a log to append to is needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.ReportEvery <= 0 {
		cfg.ReportEvery = cfg.Timing.ReportEvery
	}
	if cfg.ReportEvery <= 0 {
		cfg.ReportEvery = wire.DefaultTiming.ReportEvery
	}
	cfg.Limits.setDefaults()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
	if err != nil {
		return nil, err
	}
	c := &Collector{
		cfg:      cfg,
		mux:      http.NewServeMux(),
		admit:    newAdmission(cfg.Limits),
		pace:     newPace(cfg.ReportEvery, cfg.Limits.Global),
		inFlight: make(chan struct{}, cfg.Limits.InFlight),
		decoding: make(chan struct{}, runtime.GOMAXPROCS(0)),
		zstd:     enc,
		m:        newMetrics(),
	}
	if cfg.Registerer != nil {
		if err := c.m.register(cfg.Registerer, c); err != nil {
			return nil, err
		}
	}
	c.Register(c.mux)
	return c, nil
}

// Register adds the collector's two paths to a mux of the caller's.
func (c *Collector) Register(mux *http.ServeMux) {
	mux.Handle(wire.PathReports, c.handler("report", c.report))
	mux.Handle(wire.PathForget, c.handler("forget", c.forget))
}

// ServeHTTP serves the two paths and nothing else.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }
