package evergreen

import (
	"context"
	"hash/maphash"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/attacks"
	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

// An attackWatch is the process's watcher of attacks, and what it is told.
type attackWatch struct {
	*attacks.Watcher
	seed         maphash.Seed // of User-Agents' hashes
	fingerprints *fingerprints
	off          attackOff
}

// attackOff is what the newest settings switch off.
type attackOff struct{ all, incidents, networks atomic.Bool }

// stepsPerWindow cuts a window of five minutes into minutes.
const stepsPerWindow = 5

func newAttackWatch(rec *recorder.Recorder, timing wire.Timing, now time.Time) *attackWatch {
	a := &attackWatch{seed: maphash.MakeSeed(), fingerprints: newFingerprints()}
	a.Watcher = attacks.New(attacks.Options{
		Recorder: rec,
		Step:     max(timing.Window/stepsPerWindow, time.Second),
		Now:      now,
		Networks: func() bool { return !a.off.networks.Load() && !a.off.incidents.Load() },
	})
	return a
}

// setOff obeys the names of metrics that are not recorded.
func (a *attackWatch) setOff(names []string) {
	off := func(id wire.MetricID) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return slices.ContainsFunc(wire.MetricsUnder(name), func(m *wire.Metric) bool { return m.ID == id })
		})
	}
	a.off.all.Store(off(wire.AttackIncidents) && off(wire.AttackBehaviour) && off(wire.AttackScans))
	a.off.incidents.Store(off(wire.AttackIncidents))
	a.off.networks.Store(off(wire.AttackNetworks))
}

// run ends the watcher's steps until ctx is done.
func (a *attackWatch) run(ctx context.Context) {
	for {
		now := time.Now()
		t := time.NewTimer(now.Truncate(a.Step()).Add(a.Step()).Sub(now))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if err := guard("watch for attacks", func() error { a.Tick(time.Now()); return nil }); err != nil {
			liveLogger().Warn("attacks are no longer watched for; Caddy is not affected", zap.Error(err))
			return
		}
	}
}

// incidentWindows puts incidents into the windows that the reporter gets.
type incidentWindows struct {
	*windows
	watch *attackWatch
}

func (w incidentWindows) Close(now time.Time) []*wire.Window {
	w.tick(now)
	ws := w.windows.Close(now)
	if n := len(ws); n > 0 {
		w.fill(ws[n-1], now, w.watch.Report)
	}
	return ws
}

func (w incidentWindows) ClosePartial(now time.Time) *wire.Window {
	w.tick(now)
	_ = guard("end incidents", func() error { w.watch.Finish(); return nil })
	win := w.windows.ClosePartial(now)
	w.fill(win, now, w.watch.Report)
	return win
}

func (w incidentWindows) Peek(now time.Time) *wire.Window {
	win := w.windows.Peek(now)
	w.fill(win, now, w.watch.Peek)
	return win
}

func (w incidentWindows) tick(now time.Time) {
	_ = guard("watch for attacks", func() error { w.watch.Tick(now); return nil })
}

// fill puts in what take answers for the window's end, or for now if it has not
// ended.
func (w incidentWindows) fill(win *wire.Window, now time.Time, take func(time.Time) []*wire.Incident) {
	if win == nil {
		return
	}
	_ = guard("report incidents", func() error {
		if end := time.Unix(win.Start+int64(win.Seconds), 0); end.Before(now) {
			now = end
		}
		if ins := take(now); !w.watch.off.incidents.Load() {
			win.Incidents = ins
		}
		return nil
	})
}

// connWatch is what a connection keeps for the watcher.
type connWatch struct {
	opened time.Time
	source atomic.Uint64 // attacks.Source; 0: not known yet
	hello  atomic.Uint64 // hash of the ClientHello's JA4; 0: none
	known  atomic.Uint32 // its value in wire.JA4
	active atomic.Bool   // something came that might have become a request
	minute atomic.Int64  // of resets
	resets atomic.Int64  // streams that were given up in the minute
}

// active notes that bytes of a request came: what net/http refuses, or waits for
// in vain, is a request that no handler sees.
func (s *site) active(nc net.Conn) {
	if v, ok := s.conns.Load(nc); ok {
		if w := &v.(*conn).watch; !w.active.Load() {
			w.active.Store(true)
		}
	}
}

// greeted notes the connection's ClientHello.
func (w *connWatch) greeted(f fingerprint) {
	w.known.Store(uint32(f.known))
	w.hello.Store(f.hash)
}

func (w *connWatch) fingerprint() (uint64, wire.Value) {
	return w.hello.Load(), wire.Value(w.known.Load())
}

// sourceOf is where a connection comes from.
func (c *conn) sourceOf(remote string) attacks.Source {
	if c == nil {
		return attacks.SourceOfRemote(remote)
	}
	if s := c.watch.source.Load(); s != 0 {
		return attacks.Source(s)
	}
	s := attacks.SourceOfRemote(remote)
	c.watch.source.Store(uint64(s))
	return s
}

// reset counts a stream that the client gave up, and answers how many of them
// make one event: none before they are suspiciously many within a minute.
func (w *connWatch) reset(now time.Time) int {
	minute := now.Unix() / 60
	if old := w.minute.Load(); old != minute && w.minute.CompareAndSwap(old, minute) {
		w.resets.Store(0)
	}
	switch n := w.resets.Add(1); {
	case n < attacks.ManyResets:
		return 0
	case n == attacks.ManyResets:
		return attacks.ManyResets
	}
	return 1
}

// asked is what a request asked for, before any handler changes it.
func asked(r *http.Request) attacks.Path {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	return attacks.Classify(path, query)
}

// bodyPace is the rate, in bytes a second, below which a client that is slow to
// send a body of known length is suspected of being so on purpose.
const bodyPace = 512

// watched tells the watcher of a request that ended. gone is set if its client
// went before the end.
func (x *exchange) watched(gone bool) {
	a := x.site.app.proc.attacks
	if a.off.all.Load() {
		return
	}
	e := attacks.Event{
		Source: x.conn.sourceOf(x.r.RemoteAddr), Family: x.q.Family, Began: x.start,
		Path: x.path, Status: x.q.Status, Aborted: x.q.Aborted,
	}
	if x.conn != nil {
		e.Hello, e.Known = x.conn.watch.fingerprint()
	}
	if x.q.UserAgent != "" {
		e.Agent = maphash.String(a.seed, x.q.UserAgent)
	}
	switch x.q.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		e.Post = true
	}
	if x.q.Status == http.StatusUnauthorized {
		e.Authorization = len(x.r.Header["Authorization"]) > 0
	}
	if wait := time.Duration(x.body.wait.Load()); wait >= a.Slow() && x.length > 0 {
		e.Slow = float64(x.q.RequestBytes) < bodyPace*wait.Seconds()
	}
	if gone && x.r.ProtoMajor >= 2 && x.conn != nil {
		if e.Resets = x.conn.watch.reset(x.start); e.Resets == attacks.ManyResets {
			a.Reset(&e)
		}
	}
	a.Request(&e)
}

// watched tells the watcher of a connection that ended without a request.
func (c *conn) watched(state connectionState) {
	a := c.site.app.proc.attacks
	if a.off.all.Load() {
		return
	}
	e := attacks.Event{Family: recorder.FamilyOf(c.net.RemoteAddr()), Began: c.watch.opened}
	if a, ok := c.net.RemoteAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		e.Source = attacks.SourceOf(a.AddrPort().Addr())
	} else {
		e.Source = c.sourceOf(c.net.RemoteAddr().String())
	}
	e.Hello, e.Known = c.watch.fingerprint()
	how := attacks.Silent
	switch {
	case state.tls && !state.complete:
		how = attacks.Abandoned
	case !c.watch.active.Load() || state.h2:
		// HTTP/2 connections are active from the start.
	case time.Since(c.watch.opened) >= a.Slow():
		how = attacks.Stalled
	default:
		how = attacks.Malformed
	}
	a.Connection(&e, how)
}

// connectionState is what matters of how far a connection came.
type connectionState struct{ tls, complete, h2 bool }
