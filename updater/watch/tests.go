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
	kind   *kind
	usual  []rate // beliefs, of which the best explanation counts
	worse  []rate
	least  float64       // rate that is harm
	mean   float64       // the greatest usual rate
	k0, n0 uint64        // at the start of this stretch
	past   float64       // log E of the stretches before, rate drawn anew in each
	k      uint64        // in the last look
	looks  int           // that saw bad events
	limit  time.Duration // of slow answers
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

// look judges k bad events of n since the watch began. It reports whether that
// is harm, and log E.
func (t *test) look(k, n uint64) (float64, bool) {
	k = min(k, n)
	if k > t.k {
		t.looks++
	}
	t.k = max(t.k, k)
	if len(t.worse) == 0 || k < t.kind.bad || t.looks < t.kind.looks || float64(k) < t.least*float64(n) {
		return 0, false
	}
	whole := t.evidence(float64(k), float64(n))
	stretches := t.past + t.evidence(t.stretch(k, n))
	e := logSum(whole, stretches) - math.Ln2
	return e, e >= -math.Log(t.kind.alpha)
}

func (t *test) stretch(k, n uint64) (float64, float64) {
	n -= min(t.n0, n)
	return float64(min(k-min(t.k0, k), n)), float64(n)
}

// turn ends a stretch of time: from now on the rate is taken as drawn anew.
func (t *test) turn(k, n uint64) {
	if len(t.worse) == 0 {
		return
	}
	t.past += t.evidence(t.stretch(k, n))
	t.k0, t.n0 = k, n
}
