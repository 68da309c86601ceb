package watch

import (
	"context"
	"math"
	"time"
)

// Length is how long an executable is watched if nobody says otherwise.
const Length = 10 * time.Minute

const (
	// every is the time between two looks.
	every = time.Second
	// stretch is how long a rate that was drawn anew stays.
	stretch = 150 * time.Second
	// scan is the same for handshakes: those of scanners, which fail, come in bursts
	// of a minute. That others succeed no more is what tells, see fewer.
	scan = time.Minute
	// youth is how long what was drawn before may still go on.
	youth = time.Minute
	// leastMark is the time between two marks, see test.
	leastMark = 10 * time.Second
	// settling is how long after the start slow answers are not counted: caches and
	// connections to backends are cold.
	settling = 30 * time.Second
	// enough requests make a cell of the baseline worth comparing with.
	enough = 100
)

// A Verdict is what was found so far.
type Verdict struct {
	Harm string  // a sentence; "" is none
	Test string  // what found it: "5xx", "panics", "handshakes", "latency", "silence", "memory", "self-check"
	P    float64 // upper bound of the probability of such evidence without harm, all tests taken together
}

// A Watch judges one executable. It is used by one goroutine.
type Watch struct {
	usual          data // what the baseline was at the start
	start, settled Sample
	now            Sample
	length         time.Duration
	turned, marked time.Time
	shaken         time.Time     // when the handshakes' stretch began
	marks          time.Duration // between two marks
	total          *group
	sites          [Sites]*group
	shakes         *test
	silence        silenceTest
	memory         memoryTest
}

// A group is the tests of one group of requests: of all, or of a slot's.
type group struct {
	errors, panics *test
	slow           [limits]*test
	slowest        []rate // beliefs of answers that are slower than the last limit
}

// Watch begins to watch the process that makes the samples, from the sample
// start on, for a time.
func (b *Baseline) Watch(start Sample, length time.Duration) *Watch {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := &Watch{usual: b.data.copy(), start: start, now: start, turned: start.Time, marked: start.Time, shaken: start.Time, length: length}
	w.marks = max(leastMark, length/maxMarks)
	w.memory = memoryTest{usual: w.usual.memory(), start: start.Time}

	at := start.Time.Unix()
	all := pool(at, lately, w.usual.Hours[:]...)
	w.total = newGroup(&all, append(w.usual.cells(start.Time, length), all), &totalErrors, &totalPanics, &totalLatency)
	h := &w.usual.Handshakes
	w.shakes = newTest(&handshakes, beliefs(&h[0], h[:], 0, false)...)
	return w
}

// cells are those of all requests that may explain what comes: of the last hour, and of the
// hours on other days that the watch may be in.
func (d *data) cells(start time.Time, length time.Duration) []cell {
	cells := []cell{d.Recent}
	for _, t := range []time.Time{start, start.Add(length)} {
		if c := d.Hours[t.UTC().Hour()]; c != nil {
			cells = append(cells, *c)
		}
	}
	return cells
}

// beliefs are the rates of a series by those cells that have seen enough, and by
// all of it if none has.
func beliefs(all *cell, cells []cell, s int, exact bool) (r []rate) {
	if exact {
		return []rate{all.rate(s, exact, 1)} // what is rare needs all that was seen
	}
	for i := range cells {
		if cells[i].N >= enough {
			r = append(r, cells[i].rate(s, exact, 1), cells[i].rate(s, exact, wider))
		}
	}
	if len(r) == 0 {
		r = append(r, all.rate(s, exact, wider))
	}
	return r
}

// wider is the factor of the second guess at the spread between minutes.
const wider = 3

func newGroup(all *cell, cells []cell, errors, panic, latency *kind) *group {
	of := func(s series, k *kind) []rate { return beliefs(all, cells, int(s), k.exact) }
	g := &group{
		errors: newTest(errors, of(errors5xx, errors)...),
		panics: newTest(panic, of(panics, panic)...),
	}
	for i := range limits {
		g.slow[i] = newTest(latency, of(slow+series(i), latency)...)
	}
	g.slowest = of(nSeries-1, latency)
	return g
}

// site is the group of a slot, which is made when it has its first request.
func (w *Watch) site(i int) *group {
	if w.sites[i] == nil {
		s := w.usual.Sites[i]
		w.sites[i] = newGroup(&s.Lately, []cell{s.Lately, s.Recent}, &siteErrors, &sitePanics, &siteLatency)
	}
	return w.sites[i]
}

// Look judges what was seen by now. Looks should come once a second, and end
// with the first that finds harm.
func (w *Watch) Look(s Sample) Verdict {
	w.now = s
	if w.settled.Time.IsZero() && s.Time.Sub(w.start.Time) >= settling {
		w.settled = s
	}
	var worst Verdict
	found := func(v Verdict) {
		if worst.Harm == "" || v.P < worst.P {
			worst = v
		}
	}
	var at moment
	if at.turn = s.Time.Sub(w.turned) >= stretch; at.turn {
		w.turned = s.Time
	}
	at.young = s.Time.Sub(w.turned) < youth
	if at.mark = s.Time.Sub(w.marked) >= w.marks; at.mark {
		w.marked = s.Time
	}
	total, late := s.Total.less(w.start.Total), w.late(s.Total, w.settled.Total)
	w.total.look(&total, &late, at, found)
	for i := range s.Sites {
		c := s.site(i).less(w.start.site(i))
		if c.Answered == 0 && c.Panics == 0 {
			continue
		}
		late := w.late(s.site(i), w.settled.site(i))
		w.site(i).look(&c, &late, at, found)
	}
	failed := s.HandshakeFailures - min(w.start.HandshakeFailures, s.HandshakeFailures)
	shakes := moment{turn: s.Time.Sub(w.shaken) >= scan}
	if shakes.mark = shakes.turn; shakes.turn {
		w.shaken = s.Time
	}
	completed := s.Handshakes - min(w.start.Handshakes, s.Handshakes)
	w.shakes.judge("handshakes", "TLS handshakes", failed, failed+completed, shakes, func(v Verdict) {
		if w.fewer(completed, s.Time) {
			found(v)
		}
	})
	if v, yes := w.silence.look(w, s); yes {
		found(v)
	}
	if v, yes := w.memory.look(s.Time, s.Memory); yes {
		found(v)
	}
	return worst
}

// fewer reports whether clearly fewer handshakes are completed than usual. Failed ones can
// be had from anybody who scans; an executable that harms handshakes makes
// those of others fail. Where it is not known how many are usual, it is false.
func (w *Watch) fewer(completed uint64, now time.Time) bool {
	known := false
	minutes := now.Sub(w.start.Time).Minutes()
	for i := range w.usual.Handshakes {
		h := &w.usual.Handshakes[i]
		failed := 0.0
		if len(h.Series) > 0 && h.Series[0] != nil {
			failed = h.Series[0].K
		}
		if h.N < enough {
			continue
		}
		known = true
		expected := (h.N - failed) / h.T * minutes
		if expected < expectedShakes || float64(completed) > 0.5*expected {
			return false
		}
	}
	return known
}

// expectedShakes must be expected to say that there are fewer.
const expectedShakes = 20

// late is what was counted since settling was over.
func (w *Watch) late(now, settled Counts) Counts {
	if w.settled.Time.IsZero() {
		return Counts{}
	}
	return now.less(settled)
}

func (g *group) look(c, late *Counts, at moment, found func(Verdict)) {
	g.errors.judge("5xx", "requests", c.Errors, c.Answered, at, found)
	g.panics.judge("panics", "requests", c.Panics, max(c.Answered, c.Panics), at, found)
	slowest := true // the one that tells most, if there is harm by several limits
	for i := limits - 1; i >= 0; i-- {
		t := g.slow[i]
		t.limit = Limits[i]
		t.judge("latency", "requests", late.Slow[i], late.Answered, at, func(v Verdict) {
			if slowest {
				found(v)
			}
			slowest = false
		})
	}
}

// A moment is what is due at a look.
type moment struct{ turn, mark, young bool }

// judge looks, and tells what is found.
func (t *test) judge(name, what string, k, n uint64, at moment, found func(Verdict)) {
	if f, yes := t.look(k, n, at.young); yes {
		p := math.Exp(-f.e) * Alpha / t.kind.alpha
		found(Verdict{Harm: t.sentence(what, f.k, f.n, p), Test: name, P: p})
	}
	if at.turn {
		t.turn(k, n)
	}
	if at.mark {
		t.mark(k, n)
	}
}

// Run looks once a second until there is harm, or until the time is over: then the
// verdict has no harm. sample is called for each look; so is check, unless it is nil, and
// what it returns is harm that it has found itself. An error is ctx's.
func (w *Watch) Run(ctx context.Context, sample func() Sample, check func() string) (Verdict, error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	end := time.NewTimer(w.length)
	defer end.Stop()
	for over := false; !over; {
		select {
		case <-ctx.Done():
			return Verdict{}, ctx.Err()
		case <-end.C:
			over = true
		case <-tick.C:
		}
		if v := w.Look(sample()); v.Harm != "" {
			return v, nil
		}
		if check == nil {
			continue
		}
		if harm := check(); harm != "" {
			return Verdict{Harm: harm, Test: "self-check"}, nil
		}
	}
	return Verdict{}, nil
}
