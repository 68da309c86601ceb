package watch

import (
	"math"
	"time"
)

const (
	// silence is how long requests must all have gone without an answer.
	silence = 15 * time.Second
	// unanswered is how many there must be at least.
	unanswered = 10
)

// A silenceTest finds an executable that takes requests and never answers:
// there was none for a while, although ones that came before it are still waiting. That
// is harm if answers that slow are not usual: the probability that all of them are, by the
// baseline, must be below the test's share of α.
type silenceTest struct {
	seen []Sample // the looks of the last while, oldest first
}

func (t *silenceTest) look(w *Watch, s Sample) (Verdict, bool) {
	for len(t.seen) > 1 && s.Time.Sub(t.seen[1].Time) >= silence {
		t.seen = t.seen[1:]
	}
	t.seen = append(t.seen, s)
	then := t.seen[0]
	if s.Time.Sub(then.Time) < silence {
		return Verdict{}, false
	}
	if v, yes := silent(then.Total, s.Total, w.total, "no request is answered"); yes {
		return v, true
	}
	for i := range s.Sites {
		if w.sites[i] == nil && s.Sites[i].Begun == 0 {
			continue
		}
		if v, yes := silent(then.site(i), s.site(i), w.site(i), "no request to one of the sites is answered"); yes {
			return v, true
		}
	}
	return Verdict{}, false
}

func silent(then, now Counts, g *group, what string) (Verdict, bool) {
	if now.Answered != then.Answered || then.Begun < now.Answered+unanswered {
		return Verdict{}, false
	}
	n := float64(then.Begun - now.Answered)
	p := math.Inf(-1)
	for _, r := range g.slowest {
		p = max(p, r.likelihood(n, n))
	}
	if p > math.Log(silenceAlpha/(Sites+1)) {
		return Verdict{}, false
	}
	p = math.Exp(p) * (Sites + 1) * Alpha / silenceAlpha
	return Verdict{Harm: sentenceSilent(what, uint64(n), p), Test: "silence", P: p}, true
}
