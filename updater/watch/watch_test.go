package watch

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A world makes samples as a server would, with time of its own.
type world struct {
	t    testing.TB
	rand *rand.Rand
	now  time.Time
	sum  Sample
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 5)), now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	w.sum.Sites = make([]Counts, Sites)
	w.sum.Memory = Memory{Resident: 60 * mebibyte, Limit: 2048 * mebibyte}
	return w
}

// A load is what comes in a second: requests to one slot, and the probabilities of what
// becomes of each.
type load struct {
	slot             int
	perSecond        float64
	fails, panics    float64
	slow             float64 // above half a second, and not above a second
	hangs            bool
	shakes, unshaken float64 // per second
}

// pass lets a time pass in which the loads come.
func (w *world) pass(d time.Duration, loads ...load) {
	w.now = w.now.Add(d)
	w.sum.Time = w.now
	for _, l := range loads {
		n := poisson(w.rand, l.perSecond*d.Seconds())
		c := &w.sum.Sites[l.slot]
		before := *c
		c.Begun += n
		if !l.hangs {
			c.Answered += n
			panics := binomial(w.rand, n, l.panics)
			c.Panics += panics
			c.Errors += min(n, panics+binomial(w.rand, n, l.fails))
			slow := binomial(w.rand, n, l.slow)
			for i := range limits {
				if Limits[i] < time.Second {
					c.Slow[i] += slow
				}
			}
		}
		add := c.less(before)
		w.sum.Total.add(&add)
		w.sum.Handshakes += poisson(w.rand, l.shakes*d.Seconds())
		w.sum.HandshakeFailures += poisson(w.rand, l.unshaken*d.Seconds())
	}
}

func (w *world) sample() Sample {
	s := w.sum
	s.Time = w.now
	s.Sites = append([]Counts(nil), w.sum.Sites...)
	return s
}

// baseline is that of some hours with the loads.
func (w *world) baseline(hours int, loads ...load) *Baseline {
	b, err := Open(filepath.Join(w.t.TempDir(), "baseline.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.learn(b, time.Duration(hours)*time.Hour, loads...)
	return b
}

func (w *world) learn(b *Baseline, d time.Duration, loads ...load) {
	b.Observe(w.sample())
	for range int(d / time.Minute) {
		w.pass(time.Minute, loads...)
		b.Observe(w.sample())
	}
}

// watch returns the first verdict with harm, and when it came.
func (w *world) watch(b *Baseline, d time.Duration, loads ...load) (Verdict, time.Duration) {
	start := w.now
	watch := b.Watch(w.sample(), Length)
	for w.now.Sub(start) < d {
		w.pass(time.Second, loads...)
		if v := watch.Look(w.sample()); v.Harm != "" {
			return v, w.now.Sub(start)
		}
	}
	return Verdict{}, d
}

func poisson(r *rand.Rand, mean float64) uint64 {
	if mean > 200 {
		return uint64(max(0, mean+r.NormFloat64()*math.Sqrt(mean)+0.5))
	}
	n, p := uint64(0), r.ExpFloat64()
	for p < mean {
		n++
		p += r.ExpFloat64()
	}
	return n
}

func binomial(r *rand.Rand, n uint64, p float64) uint64 {
	switch mean := float64(n) * p; {
	case p <= 0:
		return 0
	case p >= 1:
		return n
	case mean > 100 && float64(n)*(1-p) > 100:
		return min(n, uint64(max(0, mean+r.NormFloat64()*math.Sqrt(mean*(1-p))+0.5)))
	case p > 0.1:
		k := uint64(0)
		for range n {
			if r.Float64() < p {
				k++
			}
		}
		return k
	}
	return min(n, poisson(r, float64(n)*p))
}

func TestHarm(t *testing.T) {
	const fine = 0.002
	usual := load{slot: 3, perSecond: 20, fails: fine, slow: 0.01, shakes: 5, unshaken: 0.2}
	small := load{slot: 9, perSecond: 0.5, fails: fine, slow: 0.01}
	for name, c := range map[string]struct {
		now  []load
		test string
		says string
	}{
		"as before":               {[]load{usual, small}, "", ""},
		"no traffic at all":       {nil, "", ""},
		"every site answers 500":  {[]load{with(usual, func(l *load) { l.fails = 1 }), small}, "5xx", "% (baseline 0.2 %, "},
		"a small site fails":      {[]load{usual, with(small, func(l *load) { l.fails = 1 })}, "5xx", "one of the sites"},
		"one in eight fails":      {[]load{with(usual, func(l *load) { l.fails = 0.125 }), small}, "5xx", "5xx rate"},
		"panics at each request":  {[]load{usual, with(small, func(l *load) { l.panics = 1 })}, "panics", "panics"},
		"a panic now and then":    {[]load{with(usual, func(l *load) { l.panics = 0.003 }), small}, "panics", "rate of panics"},
		"slow":                    {[]load{with(usual, func(l *load) { l.slow = 0.6 }), small}, "latency", "slower than"},
		"a small site hangs":      {[]load{usual, with(small, func(l *load) { l.hangs = true })}, "silence", "one of the sites"},
		"all hangs":               {[]load{with(usual, func(l *load) { l.hangs = true }), small}, "silence", "no request"},
		"handshakes fail":         {[]load{with(usual, func(l *load) { l.shakes, l.unshaken = 2, 3 }), small}, "handshakes", "TLS handshakes"},
		"twice the rare errors":   {[]load{with(usual, func(l *load) { l.fails = 2 * fine }), small}, "", ""},
		"a hundred times as much": {[]load{with(usual, func(l *load) { l.perSecond *= 100 }), small}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			b := w.baseline(3, usual, small)
			v, after := w.watch(b, Length, c.now...)
			if v.Test != c.test || !strings.Contains(v.Harm, c.says) {
				t.Errorf("%v after %v, want test %q that says %q", v, after, c.test, c.says)
			}
			t.Logf("after %v: %s", after, v.Harm)
		})
	}
}

// Harm that begins after minutes is found as soon, also by who has no baseline.
func TestLateHarm(t *testing.T) {
	for name, hours := range map[string]int{"without a baseline": 0, "with one": 3} {
		for late := range 5 {
			w := newWorld(t, uint64(10+late))
			usual := load{slot: 3, perSecond: 20, fails: 0.001}
			b := w.baseline(hours, usual)
			watch := b.Watch(w.sample(), Length)
			begins := w.now.Add(time.Duration(late) * 2 * time.Minute).Add(15 * time.Second)
			var v Verdict
			for v.Harm == "" && w.now.Sub(begins) < time.Minute {
				l := usual
				if w.now.After(begins) {
					l.fails = 1
				}
				w.pass(time.Second, l)
				v = watch.Look(w.sample())
			}
			after := w.now.Sub(begins)
			t.Logf("%s: after %v: %s", name, after, v.Harm)
			if v.Test != "5xx" || after < 0 || after > 30*time.Second {
				t.Errorf("%s: %q after %v", name, v.Harm, after)
			}
		}
	}
}

// Scanners make handshakes fail on a server that nothing is known of.
func TestScannedWithoutBaseline(t *testing.T) {
	w := newWorld(t, 20)
	if v, after := w.watch(w.baseline(0), Length, load{slot: 1, shakes: 0.05, unshaken: 2}); v.Harm != "" {
		t.Errorf("after %v: %s", after, v.Harm)
	}
}

func with(l load, f func(*load)) load {
	f(&l)
	return l
}
