package watch

import "math"

// A series is one kind of bad event among requests, with its place in a cell.
type series int

const (
	errors5xx series = iota
	panics
	slow    // the first of Limits
	nSeries = slow + series(limits)
)

func (c *Counts) of(s series) uint64 {
	switch s {
	case errors5xx:
		return c.Errors
	case panics:
		return c.Panics
	}
	return c.Slow[s-slow]
}

// A moments is what a cell keeps of a number k of bad events among n in each of many
// minutes: enough for the mean rate and its spread between minutes. All are sums
// that decay.
type moments struct {
	K  float64 `json:"k"`  // of k
	KK float64 `json:"kk"` // of k²
	NK float64 `json:"nk"` // of n·k
}

// A cell is what is usual for one group of requests at one time.
type cell struct {
	T      float64    `json:"t"`  // minutes
	At     int64      `json:"at"` // Unix seconds of the last minute that was added
	M      float64    `json:"m"`  // minutes with a request
	N      float64    `json:"n"`  // requests in them
	NN     float64    `json:"nn"` // sum of n²
	Series []*moments `json:"series,omitempty"`
}

// add adds a minute: n requests, and k of each series. What was before
// counts half as much after each half-life in seconds.
func (c *cell) add(at int64, halfLife float64, n uint64, k []uint64) {
	if passed := at - c.At; c.At != 0 && passed > 0 {
		c.scale(math.Exp2(-float64(passed) / halfLife))
	}
	c.At = at
	c.T++
	if n == 0 {
		return
	}
	f := float64(n)
	c.M, c.N, c.NN = c.M+1, c.N+f, c.NN+f*f
	for len(c.Series) < len(k) {
		c.Series = append(c.Series, nil)
	}
	for i, k := range k {
		if k == 0 {
			continue
		}
		if c.Series[i] == nil {
			c.Series[i] = &moments{}
		}
		m, k := c.Series[i], float64(min(k, n))
		m.K, m.KK, m.NK = m.K+k, m.KK+k*k, m.NK+f*k
	}
}

func (c *cell) scale(by float64) {
	c.T, c.M, c.N, c.NN = c.T*by, c.M*by, c.N*by, c.NN*by
	for _, m := range c.Series {
		if m != nil {
			m.K, m.KK, m.NK = m.K*by, m.KK*by, m.NK*by
		}
	}
}

func (c *cell) copy() cell {
	d := *c
	d.Series = make([]*moments, len(c.Series))
	for i, m := range c.Series {
		if m != nil {
			copied := *m
			d.Series[i] = &copied
		}
	}
	return d
}

// pool adds cells up, as of at.
func pool(at int64, halfLife float64, cells ...*cell) (all cell) {
	for _, c := range cells {
		if c == nil || c.N == 0 {
			continue
		}
		by := 1.0
		if passed := at - c.At; passed > 0 {
			by = math.Exp2(-float64(passed) / halfLife)
		}
		all.At = at
		all.T, all.M, all.N, all.NN = all.T+by*c.T, all.M+by*c.M, all.N+by*c.N, all.NN+by*c.NN
		for len(all.Series) < len(c.Series) {
			all.Series = append(all.Series, &moments{})
		}
		for i, m := range c.Series {
			if m != nil {
				s := all.Series[i]
				s.K, s.KK, s.NK = s.K+by*m.K, s.KK+by*m.KK, s.NK+by*m.NK
			}
		}
	}
	return all
}

// valid reports whether a cell that was read can be one.
func (c *cell) valid(series int) bool {
	if c.At < 0 || !amounts(c.T, c.M, c.N, c.NN) || len(c.Series) > series {
		return false
	}
	for _, m := range c.Series {
		if m != nil && (!amounts(m.K, m.KK, m.NK) || m.K > c.N*1.001+1) {
			return false
		}
	}
	return true
}

// amounts reports whether all are finite numbers from zero to what a decade counts.
func amounts(all ...float64) bool {
	for _, x := range all {
		if !(x >= 0 && x < 1e40) {
			return false
		}
	}
	return true
}

// A rate is a belief about the rate of bad events in a stretch of time: the beta
// distribution with these parameters.
type rate struct {
	A, B float64
	mean float64 // of the baseline, without what is added for what is not known
	seen float64 // requests that it rests on
}

// What is believed before anything was seen: two bad events in a hundred, with the
// weight of 25 requests.
const (
	priorBad      = 0.5
	priorRequests = 25
)

// rate is the belief that a cell's minutes give for a series.
//
// The spread is Kleinman's estimate by moments: for a beta-binomial with mean p
// and correlation r, the sum of (k-n·p)² over minutes is expected to be
// p·(1-p)·Σ(n+r·n·(n-1)). It is held to what that many minutes can show, and
// widened for what the mean itself is uncertain. Where events are exact, that
// is independent of each other, no spread is assumed that was not seen.
//
// The estimate is multiplied by wider: minutes that follow each other are alike,
// so that a few hours of them show less than all of the spread.
func (c *cell) rate(s int, exact bool, wider float64) rate {
	var m moments
	if s < len(c.Series) && c.Series[s] != nil {
		m = *c.Series[s]
	}
	p := (m.K + priorBad) / (c.N + priorRequests)
	r := 0.0
	if raw := m.K / c.N; c.M > 1 && m.K > 0 && raw < 1 && c.NN > c.N {
		square := (m.KK - 2*raw*m.NK + raw*raw*c.NN) * c.M / (c.M - 1)
		r = wider * (square/(raw*(1-raw)) - c.N) / (c.NN - c.N)
	}
	if exact {
		r = max(r, 0)
	} else {
		r = max(r, 1/(51+10*c.M)) // M minutes can't show that there are no worse ones
	}
	r += r/max(c.M, 1) + 1/(c.N+priorRequests)
	size := 1/min(r, 0.9) - 1
	a := max(p*size, leastShape)
	b := max((1-p)*size, leastShape)
	mean := 0.0
	if c.N > 0 {
		mean = min(m.K/c.N, 1)
	}
	return rate{a, b, mean, c.N}
}

// leastShape keeps a belief from excluding the first bad event that was ever seen.
const leastShape = 0.1

// likelihood is the logarithm of the probability of one sequence of n events of
// which k are bad.
func (r rate) likelihood(k, n float64) float64 {
	return logBeta(r.A+k, r.B+n-k) - logBeta(r.A, r.B)
}

func logBeta(a, b float64) float64 {
	x, _ := math.Lgamma(a)
	y, _ := math.Lgamma(b)
	z, _ := math.Lgamma(a + b)
	return x + y - z
}
