package watch

import (
	"math"
	"testing"
)

// The mean of E under a belief is 1 whatever the number of requests: with
// Ville's inequality that bounds the false alarms. It is summed up here, not simulated.
func TestEvidenceIsAMartingale(t *testing.T) {
	for _, u := range []rate{{A: 0.1, B: 20}, {A: 0.5, B: 24.5}, {A: 3, B: 300}, {A: 8, B: 92}} {
		u.mean, u.seen = u.A/(u.A+u.B), 1000
		for _, k := range []kind{totalErrors, siteErrors, totalPanics, handshakes, siteLatency} {
			test := newTest(&k, u)
			for _, n := range []float64{1, 2, 10, 100, 1000} {
				var mean float64
				for j := 0.0; j <= n; j++ {
					choose, _ := math.Lgamma(n + 1)
					x, _ := math.Lgamma(j + 1)
					y, _ := math.Lgamma(n - j + 1)
					mean += math.Exp(choose - x - y + u.likelihood(j, n) + test.evidence(j, n))
				}
				if math.Abs(mean-1) > 1e-6 {
					t.Errorf("%s with %v: the mean of E after %g requests is %g", k.name, u, n, mean)
				}
			}
		}
	}
}
