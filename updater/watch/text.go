package watch

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// sentence is "5xx rate 12.1 % (baseline 0.3 %, 1,204 requests, p < 1e-9)".
func (t *test) sentence(what string, k, n uint64, p float64) string {
	name := t.kind.name
	if strings.Contains(name, "%v") {
		name = fmt.Sprintf(name, t.limit.Round(time.Millisecond))
	}
	usual := "no baseline"
	if t.seen() >= 1 {
		usual = "baseline " + percent(t.mean)
	}
	return fmt.Sprintf("%s %s (%s, %s %s, %s)", name, percent(float64(k)/float64(n)), usual, number(n), what, probability(p))
}

// seen is how many requests the beliefs rest on.
func (t *test) seen() (most float64) {
	for _, u := range t.usual {
		most = max(most, u.seen)
	}
	return most
}

func sentenceSilent(what string, n uint64, p float64) string {
	return fmt.Sprintf("%s (%s requests waiting for %v and longer, %s)", what, number(n), silence, probability(p))
}

func sentenceFull(m Memory, usual uint64) string {
	return fmt.Sprintf("memory %s of the %s that it may have (before: at most %s)", bytes(m.Resident), bytes(m.Limit), bytes(usual))
}

func sentenceGrowing(now uint64, perSecond float64, m Memory, usual uint64) string {
	until := ""
	if m.Limit > 0 {
		until = fmt.Sprintf(", which fills the %s that it may have within %v", bytes(m.Limit),
			(time.Duration((float64(m.Limit)-float64(now))/perSecond)*time.Second).Round(time.Minute)+time.Minute)
	}
	return fmt.Sprintf("memory grows by %s a minute and has reached %s%s (before: at most %s)", bytes(uint64(60*perSecond)), bytes(now), until, bytes(usual))
}

// percent has as many digits as one needs to tell it from zero.
func percent(p float64) string {
	p *= 100
	switch {
	case p == 0:
		return "0 %"
	case p < 0.01:
		return strconv.FormatFloat(p, 'g', 1, 64) + " %"
	case p < 0.1:
		return strconv.FormatFloat(p, 'f', 2, 64) + " %"
	}
	return strconv.FormatFloat(p, 'f', 1, 64) + " %"
}

// number groups digits: 1,204.
func number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// probability is a power of ten that p is below.
func probability(p float64) string {
	if !(p > 1e-30) {
		return "p < 1e-30"
	}
	return fmt.Sprintf("p < 1e%d", int(math.Floor(math.Log10(p)))+1)
}

func bytes(n uint64) string {
	if n < 10*mebibyte {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return number(n>>20) + " MiB"
}
