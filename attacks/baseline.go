package attacks

import (
	"math"
	"time"
)

const (
	hoursOfWeek = 7 * 24
	// A slot remembers some three weeks: of each it sees 60 steps.
	slotSteps = 180
	// What was lately: half of it is forgotten in ten steps.
	recentSteps = 15
	// warmSteps must have been seen before a mean is believed.
	warmSteps = 10
	slotWarm  = 30
)

// A mean is an exponentially weighted mean and variance (Finch: "Incremental
// calculation of weighted mean and variance", 2009); at first all weigh the same.
type mean struct {
	mean, variance float32
	n              uint32
}

func (m *mean) add(x float64, steps uint32) {
	if m.n < steps {
		m.n++
	}
	a := 1 / float64(m.n)
	diff := x - float64(m.mean)
	m.mean = float32(float64(m.mean) + a*diff)
	m.variance = float32((1 - a) * (float64(m.variance) + a*diff*diff))
}

// A baseline is how frequent something is ordinarily: at this hour of the week
// in the weeks before, and lately.
type baseline struct {
	slots  [hoursOfWeek]mean
	recent mean
	ratio  mean // to requests
}

func slotOf(at time.Time) int {
	at = at.UTC()
	return int(at.Weekday())*24 + at.Hour()
}

// expect is the mean and the standard deviation to be expected in a step. A
// crowd brings along what visitors do anyway, so that the mean is at least the
// usual part of the step's requests. Counts vary at least as Poisson's do.
func (b *baseline) expect(at time.Time, requests float64) (mu, sigma float64) {
	mu, variance := float64(b.recent.mean), float64(b.recent.variance)
	if s := &b.slots[slotOf(at)]; s.n >= slotWarm {
		mu, variance = max(mu, float64(s.mean)), max(variance, float64(s.variance))
	}
	if usual := float64(b.ratio.mean) * requests; usual > mu {
		mu = usual
	}
	return mu, math.Sqrt(max(variance, mu))
}

func (b *baseline) warm() bool { return b.recent.n >= warmSteps }

func (b *baseline) add(at time.Time, x, requests float64) {
	b.slots[slotOf(at)].add(x, slotSteps)
	b.recent.add(x, recentSteps)
	if requests >= 10 {
		b.ratio.add(x/requests, slotSteps)
	}
}

// adopt makes a level the ordinary one.
func (b *baseline) adopt(at time.Time, x float64) {
	b.recent = mean{mean: float32(x), variance: float32(x * x / 16), n: warmSteps}
	b.slots[slotOf(at)] = mean{mean: float32(x), variance: float32(x * x / 16), n: slotWarm}
}
