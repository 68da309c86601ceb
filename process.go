package evergreen

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-evergreen/evergreen/hsts"
	"github.com/caddy-evergreen/evergreen/inventory"
	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/reporter"
	"github.com/caddy-evergreen/evergreen/updater/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// processes holds the one process, counted by the configurations that use it,
// so that it survives reloads and ends with the last of them.
var processes = caddy.NewUsagePool()

type processKey struct{}

// A process is what outlives configurations: the counters, the reporter and
// its goroutine.
type process struct {
	rec     *recorder.Recorder
	windows *windows // rec, with what is observed once a window
	attacks *attackWatch
	timing  wire.Timing
	facts   *inventory.Collector
	started time.Time
	hsts    *hsts.Memory
	hellos  *helloQueue
	admin   adminErrors
	tally   atomic.Pointer[watch.Tally] // nil: nothing is watched, see watching

	certificates certificates
	rehearsal    rehearsalMark

	newest   atomic.Pointer[App] // whose settings hold; nil if none has started
	counting atomic.Pointer[App] // the newest that is not off

	quicHellos sync.Map // net.Addr → *quicHello, open QUIC connections

	mu        sync.Mutex
	apps      []*App // started ones; the newest, whose settings hold, is last
	rep       *reporter.Reporter
	cancel    context.CancelFunc
	done      chan struct{}
	fallbacks map[string]string // by step, what is missing
}

func newProcess(s settings) (*process, error) {
	rec, err := recorder.New(recorder.Options{Timing: s.Timing})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	p := &process{
		rec: rec, windows: newWindows(rec, s.Timing, now), attacks: newAttackWatch(rec, s.Timing, now),
		timing: s.Timing, started: now, hsts: hsts.New(now),
		facts: inventory.New("/", os.Getenv).WithPlugins(builtFrom(BuildSpec).plugins()), fallbacks: map[string]string{},
	}
	p.hellos = &helloQueue{rec: rec}
	rec.BeforeReading(p.hellos.flush)
	p.onWindow(p.observeCertificates)
	gauges := newGauges(rec, now)
	p.onWindow(func(now time.Time) {
		gauges.observe(now)
		p.admin.observe(rec)
	})
	return p, nil
}

func currentProcess() *process {
	var p *process
	processes.Range(func(_, v any) bool { p, _ = v.(*process); return p == nil })
	return p
}

// fellBack notes what is missing and reports whether that is news.
func (p *process) fellBack(step, missing string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, said := p.fallbacks[step]; said {
		return false
	}
	p.fallbacks[step] = missing
	return true
}

// enter makes a's settings hold. The first to enter starts the reporter.
func (p *process) enter(a *App) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps = append(p.apps, a)
	if p.rep != nil || a.set.Off != "" {
		return p.apply()
	}
	rep, err := reporter.New(reporter.Config{
		Endpoint: a.set.Endpoint,
		Dir:      filepath.Join(caddy.AppDataDir(), "evergreen"),
		Facts:    p.collectFacts,
		Windows:  incidentWindows{p.windows, p.attacks},
		Timing:   p.timing,
		Log:      liveLogger(),
	})
	if err != nil {
		return err
	}
	p.rep = rep
	p.counting.Store(a) // before its goroutine asks for the facts
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	go p.attacks.run(ctx)
	go func(done chan struct{}) {
		defer close(done)
		if err := guard("report", func() error { return rep.Run(ctx) }); err != nil && ctx.Err() == nil {
			liveLogger().Warn("reporting has ended; Caddy is not affected", zap.Error(err))
		}
	}(p.done)
	return p.apply()
}

// leave takes back a's settings, which happens when its configuration is
// replaced, and also when it failed to start and the former one goes on.
func (p *process) leave(a *App) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.apps, a)
	if i < 0 {
		return
	}
	p.apps = slices.Delete(p.apps, i, i+1)
	if len(p.apps) > 0 {
		_ = p.apply()
	}
}

func (p *process) apply() error {
	a := p.apps[len(p.apps)-1]
	s := &a.set
	p.newest.Store(a)
	if s.Off == "" {
		p.counting.Store(a)
	}
	if p.rep == nil {
		return nil
	}
	if s.Off != "" {
		// Until the last configuration that counts is gone, nothing more is sent.
		p.rep.SetEndpoint("")
		return nil
	}
	p.rep.SetEndpoint(s.Endpoint)
	p.attacks.setOff(s.MetricsOff)
	return p.rec.SetOff(s.MetricsOff)
}

// Destruct ends the reporter, which spools what is counted and may try one
// last send.
func (p *process) Destruct() error {
	counted.rec.CompareAndSwap(p.rec, nil)
	p.mu.Lock()
	cancel, done := p.cancel, p.done
	p.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel()
	select {
	case <-done:
		return nil
	case <-time.After(5 * time.Second): // the reporter bounds itself to less
		return fmt.Errorf("the reporter did not end within 5s")
	}
}

// collectFacts is called by the reporter, which may hold its own locks: it takes
// none of ours, under which we call the reporter.
func (p *process) collectFacts() *wire.Facts {
	in := inventory.Input{Started: p.started, Now: time.Now()}
	a := p.counting.Load()
	if a == nil {
		return p.facts.Facts(in)
	}
	in.ConfigJSON, in.Label = a.raw, a.set.Label
	facts := p.facts.Facts(in)
	facts.Omit(a.set.MetricsOff)
	return facts
}

func (p *process) reporter() *reporter.Reporter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rep
}

// liveLogger logs to whatever Caddy's default log is at the time: a logger of
// one configuration writes to closed files after a reload.
func liveLogger() *zap.Logger { return zap.New(liveCore{}).Named("evergreen") }

type liveCore struct{ fields []zapcore.Field }

func (liveCore) core() zapcore.Core { return caddy.Log().Core() }

func (c liveCore) Enabled(l zapcore.Level) bool { return c.core().Enabled(l) }

func (c liveCore) With(f []zapcore.Field) zapcore.Core {
	return liveCore{append(slices.Clip(c.fields), f...)}
}

func (c liveCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c liveCore) Write(e zapcore.Entry, f []zapcore.Field) error {
	return c.core().Write(e, append(slices.Clip(c.fields), f...))
}

func (c liveCore) Sync() error { return c.core().Sync() }
