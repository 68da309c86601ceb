package watch

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestMemory(t *testing.T) {
	const mib = mebibyte
	saw := func(s int) uint64 { return uint64(s%7) * 3 * mib } // of garbage
	for name, c := range map[string]struct {
		usual, limit uint64
		at           func(second int) uint64 // resident
		says         string
	}{
		"steady":                                  {80 * mib, 1024 * mib, func(s int) uint64 { return 70*mib + saw(s) }, ""},
		"leaks a mebibyte a second":               {80 * mib, 1024 * mib, func(s int) uint64 { return uint64(40+s)*mib + saw(s) }, "memory grows by 60 MiB a minute"},
		"leaks, with no limit":                    {80 * mib, 0, func(s int) uint64 { return uint64(40+2*s)*mib + saw(s) }, "memory grows by 12"},
		"eats memory, with little usual":          {80 * mib, 24 << 30, func(s int) uint64 { return uint64(40+200*max(0, s-20)) * mib }, "memory grows by 12,000 MiB a minute"},
		"leaks at once":                           {80 * mib, 1024 * mib, func(s int) uint64 { return uint64(min(1000, 40+100*s)) * mib }, "memory 940 MiB of the 1,024 MiB that it may have"},
		"fills caches to the usual":               {400 * mib, 1024 * mib, func(s int) uint64 { return uint64(40+s/2) * mib }, ""},
		"leaks so little that it does not matter": {80 * mib, 64 << 30, func(s int) uint64 { return uint64(40+s) * mib }, ""},
		"always had nearly all":                   {900 * mib, 1024 * mib, func(s int) uint64 { return 950*mib + saw(s) }, ""},
		"not known":                               {80 * mib, 0, func(int) uint64 { return 0 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Unix(1e9, 0)
			m := memoryTest{usual: c.usual, start: start}
			for s := range int(Length / time.Second) {
				v, yes := m.look(start.Add(time.Duration(s)*time.Second), Memory{c.at(s), c.limit})
				if !yes {
					continue
				}
				t.Logf("after %d s: %s", s, v.Harm)
				if c.says == "" || !strings.HasPrefix(v.Harm, c.says) {
					t.Errorf("after %d s: %s; want %q", s, v.Harm, c.says)
				}
				return
			}
			if c.says != "" {
				t.Errorf("nothing was found; want %q", c.says)
			}
		})
	}
}

func TestMemoryAlpha(t *testing.T) {
	p := 0.0
	for _, scale := range scales {
		p += Length.Seconds() / scale.block.Seconds() / math.Gamma(memoryBlocks+1)
	}
	if p > memoryAlpha {
		t.Errorf("%d stretches are in order by chance with the probability %g in a watch, more than %g", memoryBlocks, p, memoryAlpha)
	}
	sum := totalErrors.alpha + totalPanics.alpha + handshakes.alpha + totalLatency.alpha*float64(limits) +
		Sites*(siteErrors.alpha+sitePanics.alpha+siteLatency.alpha*float64(limits)) + silenceAlpha + memoryAlpha
	if math.Abs(sum-Alpha) > 1e-12 {
		t.Errorf("the shares add up to %g, not %g", sum, Alpha)
	}
}
