package evergreen

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/updater/watch"
)

// watching is what judges an executable that was switched to: the counts of
// this process, beside what was usual before. It is one for a process and
// outlives configurations.
type watching struct {
	baseline *watch.Baseline
	tally    *watch.Tally
	dir      string
	on       atomic.Bool  // updates are installed: it is worth counting
	judged   atomic.Bool  // what this process did was, or is, on trial
	judging  atomic.Int32 // watches that are going on
}

// newWatching reads the baseline in the folder of updates. It writes nothing.
// The error says why there is none yet; watching works without.
func newWatching(dir string) (*watching, error) {
	b, err := watch.Open(filepath.Join(dir, "baseline.json"))
	w := &watching{dir: dir, baseline: b, tally: watch.NewTally(b.Seed())}
	// The first minute begins now: what a server that has just started is
	// updated to is judged, too.
	b.Observe(w.sample())
	return w, err
}

// count has the requests and handshakes that p sees counted from now on, or not.
// It may be called often. Without telemetry there is no p: see countAlone.
func (w *watching) count(p *process, on bool) {
	w.on.Store(on)
	if p != nil {
		p.tally.Store(w.counting())
	}
}

// counting is where to count, or nil.
func (w *watching) counting() *watch.Tally {
	if w.on.Load() {
		return w.tally
	}
	return nil
}

func (w *watching) sample() watch.Sample { return w.tally.Sample(time.Now(), watch.ReadMemory()) }

// Times of keeping the baseline.
const (
	observeEvery = time.Minute
	saveEvery    = time.Hour
)

// observe adds this process's minutes to the baseline until ctx is done, and
// keeps it each hour, and at the end as far as the process still lives then. What an executable does while it is being watched does not
// become what is usual.
func (w *watching) observe(ctx context.Context) {
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	saved := time.Now()
	for {
		err := guard("keep what is usual", func() error {
			if w.judging.Load() > 0 || !w.on.Load() {
				return nil // after the gap it begins anew
			}
			w.baseline.Observe(w.sample())
			if now := time.Now(); now.Sub(saved) >= saveEvery {
				saved = now
				return w.save()
			}
			return nil
		})
		if err != nil {
			liveLogger().Warn("an update will be judged by an older baseline; Caddy is not affected", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			if w.on.Load() && w.judging.Load() == 0 {
				_ = guard("keep what is usual", w.save) // the next start would only know less
			}
			return
		case <-tick.C:
		}
	}
}

// save keeps the baseline for the next process, with the minute that has begun,
// unless it may be one of harm. It is called before a switch.
func (w *watching) save() error {
	if w.on.Load() && !w.judged.Load() {
		w.baseline.Observe(w.sample())
	}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return err
	}
	return w.baseline.Save()
}

// watch judges this process for a time; 0 is watch.Length. harm is a sentence;
// "" is that there was none. The error is ctx's, or that of a panic.
func (w *watching) watch(ctx context.Context, length time.Duration) (harm string, err error) {
	if length <= 0 {
		length = watch.Length
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	check := &selfCheck{listeners: liveListeners}
	go check.run(ctx)
	w.judged.Store(true)
	w.judging.Add(1)
	defer w.judging.Add(-1)
	err = guard("watch", func() error {
		v, err := w.baseline.Watch(w.sample(), length).Run(ctx, w.sample, check.found)
		harm = v.Harm
		return err
	})
	return harm, err
}

// watchBegin counts the beginning of a request. What only redirects to HTTPS
// would water a site's answers down.
func (x *exchange) watchBegin() {
	if x.site.role == roleRedirect || x.site.app == nil || x.site.app.proc == nil {
		return
	}
	if x.tally = x.site.app.proc.tally.Load(); x.tally != nil {
		x.slot = x.tally.Slot(x.host)
		x.tally.Begin(x.slot)
	}
}

// watchAnswer counts the answer's beginning.
func (x *exchange) watchAnswer(after time.Duration) {
	if x.tally != nil && !x.tallied {
		x.tallied = true
		x.tally.Answer(x.slot, after, x.q.Status)
	}
}

// watchEnd counts what is left of a request that has ended: one without an answer
// was given up by the client, or its handler panicked.
func (x *exchange) watchEnd() {
	if x.tally == nil {
		return
	}
	if x.q.Panicked {
		x.tally.Panic(x.slot)
		if x.q.Status == 0 {
			x.q.Status = http.StatusInternalServerError
			defer func() { x.q.Status = 0 }()
		}
	}
	x.watchAnswer(x.q.Duration)
}
