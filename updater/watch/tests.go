package watch

import (
	"math"
	"time"
)

// Alpha bounds the probability that a watch of an executable that behaves as the
// one before raises an alarm, as far as minutes are what the baseline says they
// are. It is the sum of the tests' shares.
const Alpha = 1e-3

// A kind is one kind of harm that is tested for.
type kind struct {
	name   string  // in a sentence: "5xx rate"
	alpha  float64 // for one slot, or for all requests
	least  float64 // difference from the baseline's rate that is harm, see Harmful
	bad    uint64  // as many bad events are needed at least
	looks  int     // in as many looks, that is seconds
	settle bool    // what is in the first settling time is not judged
	exact  bool    // one bad event does not make another likelier
}

// The shares of α: 0.1 each for errors, panics, handshakes and latency of the
// whole, 0.2, 0.1 and 0.1 for errors, panics and latency of all sites, 0.1 for
// requests without an answer and 0.1 for memory.
var (
	totalErrors  = kind{"5xx rate", 0.1 * Alpha, 0.01, 5, 5, false, false}
	siteErrors   = kind{"5xx rate of one of the sites", 0.2 * Alpha / Sites, 0.05, 5, 5, false, false}
	totalPanics  = kind{"rate of panics", 0.1 * Alpha, 0.0001, 3, 3, false, true}
	sitePanics   = kind{"rate of panics of one of the sites", 0.1 * Alpha / Sites, 0.0001, 3, 3, false, true}
	handshakes   = kind{"rate of failed TLS handshakes", 0.1 * Alpha, 0.05, 10, 5, false, false}
	totalLatency = kind{"share of answers slower than %v", 0.1 * Alpha / float64(limits), 0.15, 10, 10, true, false}
	siteLatency  = kind{"share of answers of one of the sites slower than %v", 0.1 * Alpha / float64(limits) / Sites, 0.25, 10, 10, true, false}
)

const (
	silenceAlpha = 0.1 * Alpha
	memoryAlpha  = 0.1 * Alpha
)

// Harmful is the least rate that is harm where p is usual: p·(1-p) more, which is
// twice a small p, and not less than least more.
func Harmful(p, least float64) float64 { return p + max(least, p*(1-p)) }

// worse are the beliefs under which there is harm: rates from the least harmful
// one to nearly one, a factor of about 1.6 in the odds apart, each with a spread
// of about half of itself. nil if the usual rate leaves no room for harm.
func worse(least float64) []rate {
	const top = 0.98
	if least >= top {
		return nil
	}
	logit := func(p float64) float64 { return math.Log(p / (1 - p)) }
	from, to := logit(least), logit(top)
	n := 1 + int(math.Ceil((to-from)/0.5))
	all := make([]rate, n)
	for i := range all {
		p := 1 / (1 + math.Exp(-(from + (to-from)*float64(i)/float64(max(n-1, 1)))))
		size := max(4/p, 2/(1-p))
		all[i] = rate{A: p * size, B: (1 - p) * size}
	}
	return all
}

// A test gathers evidence of one kind of harm in one group of requests.
type test struct {
	kind  *kind
	usual []rate // beliefs, of which the best explanation counts
	worse []rate
	least float64       // rate that is harm
	mean  float64       // the greatest usual rate
	k     uint64        // in the last look
	looks int           // that saw bad events
	limit time.Duration // of slow answers

	stretch mark    // where this stretch began
	past    float64 // log E of the stretches before, rate drawn anew in each
	marks   []mark  // where harm may have begun
	used    int     // of them, those that are old enough
}

// A mark is what a test had seen at a time.
type mark struct {
	k, n  uint64
	looks int
}

func newTest(k *kind, usual ...rate) *test {
	t := &test{kind: k, usual: usual}
	for _, u := range usual {
		if u.seen >= priorRequests || t.mean == 0 {
			t.mean = max(t.mean, u.mean)
		}
	}
	t.least = Harmful(t.mean, k.least)
	t.worse = worse(t.least)
	return t
}

// evidence is log E for k bad events of n.
func (t *test) evidence(k, n float64) float64 {
	if n == 0 {
		return 0
	}
	usual := math.Inf(-1)
	for _, u := range t.usual {
		usual = max(usual, u.likelihood(k, n))
	}
	harm := math.Inf(-1)
	for _, w := range t.worse {
		harm = logSum(harm, w.likelihood(k, n))
	}
	return harm - math.Log(float64(len(t.worse))) - usual
}

func logSum(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}

// maxMarks times are where harm may have begun after the start of the watch.
const maxMarks = 60

// look judges k bad events of n since the watch began. Where the stretch of time
// is young, what goes on may be what went on in the one before: then that is no
// evidence of its own.
func (t *test) look(k, n uint64, young bool) (f finding, harm bool) {
	k = min(k, n)
	if k > t.k {
		t.looks++
	}
	t.k = max(t.k, k)
	if len(t.worse) == 0 || k < t.kind.bad || t.looks < t.kind.looks {
		return f, false
	}
	f.e = math.Inf(-1)
	best := math.Inf(-1)
	// E is the mean of three, of which the third is the mean of one for each
	// mark. What is no harm, as that is rare enough, is left out: that makes the
	// sum less.
	add := func(since mark, e, weight float64) {
		if e -= math.Log(weight); e > best {
			best, f.k, f.n = e, k-since.k, n-since.n
		}
		f.e = logSum(f.e, e)
	}
	if float64(k) >= t.least*float64(n) {
		add(mark{}, t.evidence(float64(k), float64(n)), 3)
		stretches := t.past
		if !young || t.stretch.n == 0 {
			stretches += t.evidence(since(t.stretch, k, n))
		}
		add(mark{}, stretches, 3)
	}
	for _, m := range t.marks[:t.used] {
		if kk, nn := since(m, k, n); uint64(kk) >= t.kind.bad && t.looks-m.looks >= t.kind.looks && kk >= t.least*nn {
			add(m, t.evidence(kk, nn), 3*maxMarks)
		}
	}
	return f, f.e >= -math.Log(t.kind.alpha)
}

// A finding is log E, and the bad events of all events that say most.
type finding struct {
	e    float64
	k, n uint64
}

func since(m mark, k, n uint64) (float64, float64) {
	n -= min(m.n, n)
	return float64(min(k-min(m.k, k), n)), float64(n)
}

// turn ends a stretch of time: from now on the rate is taken as drawn anew.
func (t *test) turn(k, n uint64) {
	k = min(k, n)
	if len(t.worse) > 0 {
		t.past += t.evidence(since(t.stretch, k, n))
		t.stretch = mark{k, n, t.looks}
	}
}

// mark notes a time when harm may have begun. The one before is old enough to be
// looked at from now on.
func (t *test) mark(k, n uint64) {
	if t.used = len(t.marks); t.used < maxMarks {
		t.marks = append(t.marks, mark{min(k, n), n, t.looks})
	}
}
