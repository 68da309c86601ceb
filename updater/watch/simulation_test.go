//go:build !race

// There is no concurrency in here, and with the race detector it takes half a
// minute of processor time: `make e2e` runs it without.

package watch

import (
	"flag"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// There is a watch in every second hour of each day after the first. docs/watching.md has the
// figures of many.
var (
	days    = flag.Int("days", 2, "days that each server of TestFalseAlarms is simulated for")
	learn   = flag.Duration("learn", 2*time.Hour, "what each server of TestPower has learnt for")
	repeats = flag.Int("repeats", 4, "watches for each harm and server of TestPower")
)

// A server is a kind of server whose traffic is simulated: by time of day, from minute to
// minute, and with outages of backends. None of it is beta-distributed, and minutes depend on
// those before: what the tests assume does not hold.
type server struct {
	name      string
	perSecond float64 // requests, on average
	sites     int     // of which the n-th has 1/n of the first's
	fails     float64 // share of 5xx, on average
	slow      float64 // share of answers that take between half a second and a second
	outages   float64 // of one site in a day
	outage    time.Duration
	scans     float64 // handshakes of scanners in an hour, which fail, in bursts of 50
	fresh     bool    // a quarter of an hour before each watch is all that is known
}

var servers = []server{
	{name: "a blog: 3 requests a minute", perSecond: 0.05, sites: 3, fails: 0.01, slow: 0.02, outages: 0.2, outage: time.Minute, scans: 20},
	{name: "5 requests a second, 20 sites", perSecond: 5, sites: 20, fails: 0.005, slow: 0.03, outages: 0.3, outage: time.Minute, scans: 50},
	{name: "500 requests a second, 60 sites", perSecond: 500, sites: 60, fails: 0.002, slow: 0.05, outages: 0.3, outage: 30 * time.Second, scans: 200},
	{name: "20 requests a second, a backend that fails 8 times a day", perSecond: 20, sites: 2, fails: 0.01, slow: 0.02, outages: 8, outage: 45 * time.Second, scans: 50},
	{name: "20 requests a second, an API with 8 % errors", perSecond: 20, sites: 2, fails: 0.08, slow: 0.3, outages: 1, outage: time.Minute, scans: 10},
	{name: "20 requests a second, just begun to learn", perSecond: 20, sites: 5, fails: 0.01, slow: 0.05, outages: 0.3, outage: time.Minute, scans: 50, fresh: true},
}

// A life is a server's on one seed.
type life struct {
	*world
	server
	until        map[int]time.Time // of a site's outage
	load         float64           // log of a factor that wanders from minute to minute
	fails, slows []float64         // likewise, by site
}

func (s server) live(t testing.TB, seed uint64) *life {
	l := &life{world: newWorld(t, seed), server: s, until: map[int]time.Time{}, fails: make([]float64, s.sites), slows: make([]float64, s.sites)}
	return l
}

// wander takes one step of a walk that comes back to 0, with a deviation of sd
// and a memory of about five minutes.
func (l *life) wander(x *float64, sd float64) {
	const keeps = 0.8
	*x = keeps**x + sd*math.Sqrt(1-keeps*keeps)*l.rand.NormFloat64()
}

// minute draws the minute's rates.
func (l *life) minute() (loads []load) {
	l.wander(&l.load, 0.4)
	day := 2 * math.Pi * float64(l.now.Unix()%86400) / 86400
	perSecond := l.perSecond * (1 - 0.8*math.Cos(day)) * math.Exp(l.load-0.08)
	var harmonic float64
	for i := range l.sites {
		harmonic += 1 / float64(i+1)
	}
	for i := range l.sites {
		l.wander(&l.fails[i], 0.8)
		l.wander(&l.slows[i], 0.4)
		if l.rand.Float64() < l.outages/1440/float64(l.sites) {
			l.until[i] = l.now.Add(time.Duration(float64(l.outage) * l.rand.ExpFloat64()))
		}
		fails := l.server.fails * math.Exp(l.fails[i]-0.32)
		if l.now.UTC().Hour() == 3 {
			fails *= 3 // what is done at night disturbs
		}
		loads = append(loads, load{slot: i, perSecond: perSecond / float64(i+1) / harmonic, fails: min(fails, 1),
			slow: min(1, l.slow*math.Exp(l.slows[i]-0.08)*(1-0.5*math.Cos(day)))})
	}
	loads[0].shakes = perSecond / 4
	loads[0].unshaken = 0.01 * loads[0].shakes
	if l.rand.Float64() < l.scans/50/60 {
		loads[0].unshaken += 50. / 60
	}
	return loads
}

// go on for a time at the minute's rates; spoil makes them what harm does.
func (l *life) goOn(d time.Duration, loads []load, spoil func([]load)) {
	loads = slices.Clone(loads)
	for i := range loads {
		if l.now.Before(l.until[i]) {
			loads[i].fails = 0.9
		}
	}
	if spoil != nil {
		spoil(loads)
	}
	l.pass(d, loads...)
}

// learnt lets time pass and learns.
func (l *life) learnt(b *Baseline, d time.Duration) {
	for range int(d / time.Minute) {
		// Outages may be shorter than minutes.
		loads := l.minute()
		for range 3 {
			l.goOn(20*time.Second, loads, nil)
		}
		b.Observe(l.sample())
	}
}

func (l *life) watched(b *Baseline, spoil func([]load)) (Verdict, time.Duration) {
	start := l.now
	w := b.Watch(l.sample(), Length)
	for l.now.Sub(start) < Length {
		loads := l.minute()
		for range 60 {
			l.goOn(time.Second, loads, spoil)
			if v := w.Look(l.sample()); v.Harm != "" {
				return v, l.now.Sub(start)
			}
		}
	}
	return Verdict{}, Length
}

// A good update is taken for a harmful one in no more watches than stated. The bound is
// for this many watches: with the stated rate, more alarms than allowed here
// have a probability of less than one in a thousand.
func TestFalseAlarms(t *testing.T) {
	const stated = 0.005
	alarms, watches := 0, 0
	for i, s := range servers {
		l := s.live(t, 100+uint64(i))
		b, err := Open(filepath.Join(t.TempDir(), "baseline.json"))
		if err != nil {
			t.Fatal(err)
		}
		l.learnt(b, 24*time.Hour)
		a, n := 0, 0
		for range 12 * (*days - 1) {
			if s.fresh {
				b, _ = Open(filepath.Join(t.TempDir(), "baseline.json"))
				l.learnt(b, 15*time.Minute)
			} else {
				l.learnt(b, 110*time.Minute)
			}
			v, after := l.watched(b, nil)
			n++
			if v.Harm != "" {
				a++
				t.Logf("%s: false alarm after %v at %v: %s; in an outage: %v", s.name, after, l.now.Format("15:04"), v.Harm, slices.Sorted(func(yield func(int) bool) {
					for i, until := range l.until {
						if l.now.Before(until.Add(2*time.Minute)) && !yield(i) {
							return
						}
					}
				}))
			}
		}
		t.Logf("%s: %d false alarms in %d watches", s.name, a, n)
		alarms, watches = alarms+a, watches+n
	}
	if allowed := quantile(0.999, float64(watches)*stated); alarms > allowed {
		t.Errorf("%d false alarms in %d watches; with a rate of %g there would hardly be more than %d", alarms, watches, stated, allowed)
	}
}

// quantile of the Poisson distribution.
func quantile(p, mean float64) (k int) {
	term := math.Exp(-mean)
	for sum := term; sum < p; sum += term {
		k++
		term *= mean / float64(k)
	}
	return k
}

// Harm is found, and how soon. Shares are of a few watches with a fresh seed each,
// after some hours; they are logged, and held to bounds that leave room for chance.
func TestPower(t *testing.T) {
	all := func(f func(*load)) func([]load) {
		return func(loads []load) {
			for i := range loads {
				f(&loads[i])
			}
		}
	}
	for _, harm := range []struct {
		name  string
		spoil func([]load)
		found [3]float64 // at least this share, for the first three servers
	}{
		{"all answers are 500", all(func(l *load) { l.fails = 1 }), [3]float64{0.7, 1, 1}},
		{"the second site answers 500", func(l []load) { l[1].fails = 1 }, [3]float64{0, 1, 1}},
		{"5 % more answers are 500", all(func(l *load) { l.fails = min(1, l.fails+0.05) }), [3]float64{0, 0.5, 1}},
		{"2 % more answers are 500", all(func(l *load) { l.fails = min(1, l.fails+0.02) }), [3]float64{0, 0, 0}},
		{"each request panics", all(func(l *load) { l.panics = 1 }), [3]float64{0.9, 1, 1}},
		{"one request in 500 panics", all(func(l *load) { l.panics = 0.002 }), [3]float64{0, 0, 1}},
		{"no request is answered", all(func(l *load) { l.hangs = true }), [3]float64{0.5, 1, 1}},
		{"half of the answers are slow", all(func(l *load) { l.slow = 0.5 }), [3]float64{0, 1, 1}},
		{"most of the handshakes fail", func(l []load) { l[0].shakes, l[0].unshaken = 0.2*l[0].shakes, 0.8*l[0].shakes }, [3]float64{0, 0, 1}},
	} {
		for i, s := range servers[:3] {
			found, times := 0, []time.Duration{}
			for r := range *repeats {
				l := s.live(t, 1000+uint64(r))
				b, err := Open(filepath.Join(t.TempDir(), "baseline.json"))
				if err != nil {
					t.Fatal(err)
				}
				l.learnt(b, *learn)
				if v, after := l.watched(b, harm.spoil); v.Harm != "" {
					found++
					times = append(times, after)
				}
			}
			median := "-"
			if slices.Sort(times); found > 0 {
				median = times[found/2].String()
			}
			t.Logf("%-30s %-35s %3d %%, median %s", harm.name, s.name, 100*found / *repeats, median)
			if float64(found) < harm.found[i]*float64(*repeats) {
				t.Errorf("%s: %s: found in %d of %d watches, want a share of %g", harm.name, s.name, found, *repeats, harm.found[i])
			}
		}
	}
}
