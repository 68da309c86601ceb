package attacks

import (
	"math"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	deviations = 6  // above what is expected, a step is hot
	veryHot    = 10 // times the threshold, which needs no second step
	quietSteps = 5  // in a row that end an incident
	// longest is how many steps an incident lasts before its level is what is
	// ordinary from now on.
	longest = 360
	// blamed is from which part of its events with the same source or hello an
	// incident is another one's by-product.
	blamed = 0.5
)

// An incident is one that goes on.
type incident struct {
	number  uint64
	start   time.Time
	last    time.Time // end of the last hot step
	steps   int
	quiet   int
	level   float64 // an ordinary step's threshold when it began
	reached float64 // sum over its steps, for adopting
}

// usual is how requests are spread ordinarily, for telling crowds from floods.
// Zero counts mean that nothing is known yet.
type usual struct {
	topSource, topHello, perSource, failing, helloBits mean
}

// Tick ends the step if it is over by now. It is called at least once a step.
func (w *Watcher) Tick(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := now.Truncate(w.step)
	if at.Equal(w.from) {
		return
	}
	if at.Before(w.from) {
		w.from = at // the clock was set back: the step goes on
		return
	}
	// After a longer pause what was counted is the first step's; nothing is known
	// to have happened in the others.
	elapsed := int(min(at.Sub(w.from)/w.step, 2*longest))
	w.end(w.from, w.from.Add(w.step))
	for i := 1; i < min(elapsed, quietSteps+1); i++ {
		w.end(w.from.Add(time.Duration(i)*w.step), w.from.Add(time.Duration(i+1)*w.step))
	}
	w.from = at
	if now.Unix()/86400 != w.day {
		w.newKey(now)
	}
}

// A step is what a signal was in one.
type step struct {
	x, failed float64
	began     time.Time // of the earliest event
	threshold float64
	mu        float64
	hot       bool
}

// end judges the step from..to, and begins the next.
func (w *Watcher) end(from, to time.Time) {
	var steps [kinds]step
	for k := range w.signals {
		s := &w.signals[k]
		st := &steps[k]
		st.x, st.failed = float64(s.count.Swap(0)), float64(s.failed.Swap(0))
		if ns := s.since.Swap(0); ns != 0 {
			st.began = time.Unix(0, ns)
		}
	}
	w.all, w.hellos = distinct{}, distinct{}
	for k := range w.signals {
		s := &w.signals[k]
		s.mu.Lock()
		w.all.merge(&s.sources)
		w.hellos.merge(&s.sketch.hellos)
		s.mu.Unlock()
	}
	w.countMinute()
	requests := w.visits(&steps[kindPlain], from)
	for k := range w.signals {
		w.judge(k, &steps[k], from, to, requests)
	}
}

// visits is how many requests of a step can be visitors': what else there was is
// compared with them. A flood is none, or else other attacks could hide behind it.
func (w *Watcher) visits(st *step, from time.Time) float64 {
	s, m := &w.signals[kindPlain], &manners[kindPlain]
	s.mu.Lock()
	defer s.mu.Unlock()
	mu, sigma := s.base.expect(from, 0)
	if s.incident != nil || s.base.warm() && st.x >= max(m.least, m.factor*mu, mu+deviations*sigma) && w.concentrated(kindPlain, st) {
		return min(st.x, mu)
	}
	return st.x
}

func (w *Watcher) countMinute() {
	if w.rec == nil {
		return
	}
	if n := round(w.all.estimate()); n > 0 {
		w.rec.Add(wire.AttackSourceMinutes, wire.Dims{wire.SourceClassOf(n)}, 1)
	}
	if n := round(w.hellos.estimate()); n > 0 {
		w.rec.Add(wire.AttackFingerprintMinute, wire.Dims{wire.SourceClassOf(n)}, 1)
	}
}

func round(f float64) int { return int(math.Round(f)) }

// judge decides what a signal's step means.
func (w *Watcher) judge(k int, st *step, from, to time.Time, requests float64) {
	s, m := &w.signals[k], &manners[k]
	s.mu.Lock()
	defer s.mu.Unlock()
	side := requests
	if k == kindPlain {
		side = 0 // it can't be measured by itself
	}
	var sigma float64
	st.mu, sigma = s.base.expect(from, side)
	if s.base.warm() {
		st.mu = max(st.mu, m.ratio*side/m.factor)
	} else {
		st.mu = max(st.mu, m.ratio*side)
	}
	st.threshold = max(m.least, m.factor*st.mu, st.mu+deviations*sigma)
	if s.incident != nil {
		w.goOn(k, st, from, to)
		s.sketch.reset(w.key.Load())
		return
	}
	st.hot = st.x >= st.threshold
	if st.hot && m.crowd && (!s.base.warm() || !w.concentrated(k, st)) {
		st.hot = false
	}
	if !st.hot {
		if s.hot > 0 {
			s.hot = 0
			s.pending.reset(w.key.Load())
		}
		s.base.add(from, min(st.x, st.threshold), side)
		if k == kindPlain && st.x >= 10 {
			w.usual.add(&s.sketch, st)
		}
		s.sketch.reset(w.key.Load())
		return
	}
	if s.hot++; s.hot == 1 {
		s.hotFrom = from
		// What ended in the step may have begun before.
		if k == kindSlow && !st.began.IsZero() && st.began.Before(from) {
			s.hotFrom = laterOf(st.began, from.Add(-quietSteps*w.step))
		}
	}
	s.pending.add(uint64(st.x), &s.sketch)
	if (s.hot >= m.steps || st.x >= veryHot*st.threshold) && !w.blame(k) {
		s.incident = &incident{number: w.number(s.hotFrom), start: s.hotFrom, last: to, steps: s.hot, level: st.threshold, reached: st.x}
		s.whole.reset(w.key.Load())
		s.whole.merge(&s.pending)
		s.hot = 0
		s.pending.reset(w.key.Load())
	}
	s.sketch.reset(w.key.Load())
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// goOn adds a step to an incident, or ends it.
func (w *Watcher) goOn(k int, st *step, from, to time.Time) {
	s := &w.signals[k]
	in := s.incident
	in.steps++
	in.reached += st.x
	// It takes less to go on than to begin.
	if st.x >= in.level/2 {
		in.quiet = 0
		in.last = to
		s.whole.add(uint64(st.x), &s.sketch)
	} else if in.quiet++; in.quiet >= quietSteps {
		w.finish(k)
		return
	}
	if in.steps >= longest {
		s.base.adopt(from, in.reached/float64(in.steps))
		w.finish(k)
	}
}

// concentrated reports whether a step's events are a few clients' doing, in
// comparison with what is usual here. A crowd's come from many sources, by all
// the browsers that there are, and are mostly answered well.
func (w *Watcher) concentrated(k int, st *step) bool {
	s := &w.signals[k].sketch
	u := &w.usual
	if top := s.sourceTop.share(); top >= 0.25 && top >= or(&u.topSource, 0)+0.2 {
		return true
	}
	n := max(s.sources.estimate(), 1)
	if st.x/n >= max(120, 4*or(&u.perSource, 0)) {
		return true
	}
	// The spread over sources against that of as many equally busy ones.
	if even := min(math.Log2(n), 8); even >= 3 && s.sourceMix.entropy() < even/2 && or(&u.topSource, 0) < 0.5 {
		return true
	}
	if hellos := float64(s.helloTop.total); hellos >= st.x/2 {
		if top := s.helloTop.share(); top >= min(0.97, max(0.85, or(&u.topHello, 0)+0.25)) && top >= or(&u.topHello, 0)+0.1 {
			return true
		}
		if bits := or(&u.helloBits, 0); bits >= 1 && s.helloMix.entropy() < bits/2 {
			return true
		}
	} else if float64(s.agents) >= st.x/2 {
		// Without TLS, User-Agents are what there is to tell a crowd by.
		if s.agentMix.entropy() < 1 {
			return true
		}
	} else {
		return true // nameless
	}
	return k == kindPlain && st.failed/st.x >= max(0.5, or(&u.failing, 0)+0.3)
}

// or is a mean, or what to assume as long as there is none.
func or(m *mean, otherwise float64) float64 {
	if m.n < warmSteps {
		return otherwise
	}
	return float64(m.mean)
}

func (u *usual) add(s *sketch, st *step) {
	u.topSource.add(s.sourceTop.share(), slotSteps)
	u.perSource.add(st.x/max(s.sources.estimate(), 1), slotSteps)
	u.failing.add(st.failed/st.x, slotSteps)
	if s.helloTop.total > 0 {
		u.topHello.add(s.helloTop.share(), slotSteps)
		u.helloBits.add(s.helloMix.entropy(), slotSteps)
	}
}

// blame reports whether what kind k sees is the by-product of an incident that
// goes on and tells more: it has the same most frequent source or hello.
func (w *Watcher) blame(k int) bool {
	s := &w.signals[k]
	source, nSource := s.pending.sourceTop.first()
	hello, nHello := s.pending.helloTop.first()
	total := float64(s.pending.sourceTop.total)
	for before := range k {
		o := &w.signals[before]
		of := &o.whole
		switch {
		case o.incident != nil:
		case o.hot > 0: // about to be one
			of = &o.pending
		default:
			continue
		}
		oSource, _ := of.sourceTop.first()
		oHello, _ := of.helloTop.first()
		if nSource > 0 && source == oSource && float64(nSource) >= blamed*total ||
			nHello > 0 && hello == oHello && float64(nHello) >= blamed*total {
			return true
		}
	}
	return false
}

// number makes a number that this instance has not used: by time, so that a
// restart does not use one again, and by chance, for processes side by side.
func (w *Watcher) number(start time.Time) uint64 {
	n := uint64(max(start.Unix(), 1))<<16 | mix(w.key.Load(), w.numbers)&0xffff
	w.numbers = max(n, w.numbers+1)
	return w.numbers
}

// finish ends the incident of kind k; it is reported once more.
func (w *Watcher) finish(k int) {
	s := &w.signals[k]
	in := w.wire(k, s.incident.last)
	in.Open = false
	if len(w.finished) < wire.MaxIncidents-kinds { // nobody asks: it is off
		w.finished = append(w.finished, in)
	}
	if w.rec != nil {
		kind := manners[k].kind
		w.rec.Add(wire.AttackIncidents, wire.Dims{kind, wire.Value(in.Sources)}, 1)
		w.rec.Add(wire.AttackIncidentEvents, wire.Dims{kind}, in.Events)
		w.rec.Observe(wire.AttackIncidentDuration, wire.Dims{kind}, int64(in.Seconds)*int64(time.Second/time.Microsecond))
		if w.networks != nil && w.networks() {
			w.rec.Add(wire.AttackNetworks, wire.Dims{kind}, uint64(len(in.Networks)))
		}
	}
	s.incident = nil
	s.whole.reset(w.key.Load())
}
