package watch

import (
	"math"
	"slices"
	"time"
)

// The test of memory. Two things are harm:
//
// A process that has as good as all of the memory there is: more than nine
// tenths of the limit, where the executable before never had more than six.
//
// A process that grows without end: the least memory in each of [memoryBlocks]
// successive stretches of time is more than in the one before. Garbage
// collection makes memory a saw; the lowest points of its teeth rise only if
// what is kept does. If the process does not grow, any order of the
// stretches is as likely as any other, so that this one has the probability
// 1/memoryBlocks!, which is the test's share of α. Caches of a process that
// has just started grow too: so it must have half as much again as the
// executable before ever had, and 64 MiB more, and, going on like this, reach
// the limit within an hour. Without a known limit it must have three times as
// much, and 256 MiB more.
const (
	memoryBlocks = 8 // 1/8! is 0.25 × memoryAlpha
	memoryBlock  = 20 * time.Second
	mebibyte     = 1 << 20
)

// A memoryTest is fed one look after the other.
type memoryTest struct {
	usual uint64 // the most the executable before had; 0: unknown
	start time.Time
	least []uint64 // in each stretch that is over, and in the one now
}

func (t *memoryTest) look(now time.Time, m Memory) (harm Verdict, yes bool) {
	if m.Resident == 0 {
		return harm, false
	}
	if t.usual == 0 {
		t.usual = m.Resident // of a process that has just started: the best there is
	}
	if m.Limit > 0 && float64(m.Resident) > 0.9*float64(m.Limit) && float64(t.usual) < 0.6*float64(m.Limit) {
		return Verdict{Test: "memory", Harm: sentenceFull(m, t.usual), P: memoryAlpha}, true
	}
	block := int(now.Sub(t.start) / memoryBlock)
	if block < 0 {
		return harm, false
	}
	for len(t.least) <= min(block, 10_000) {
		t.least = append(t.least, math.MaxUint64)
	}
	last := len(t.least) - 1
	t.least[last] = min(t.least[last], m.Resident)
	over := t.least[:last]
	if len(over) < memoryBlocks {
		return harm, false
	}
	over = over[len(over)-memoryBlocks:]
	if slices.Contains(over, math.MaxUint64) { // looks came late
		return harm, false
	}
	for i := 1; i < len(over); i++ {
		if over[i] <= over[i-1] {
			return harm, false
		}
	}
	usual, now2 := float64(t.usual), float64(over[len(over)-1])
	perSecond := (now2 - float64(over[0])) / ((memoryBlocks - 1) * memoryBlock.Seconds())
	switch {
	case m.Limit == 0:
		if now2 < 3*usual || now2 < usual+256*mebibyte {
			return harm, false
		}
	case now2 < 1.5*usual || now2 < usual+64*mebibyte || now2+3600*perSecond < float64(m.Limit):
		return harm, false
	}
	return Verdict{Test: "memory", Harm: sentenceGrowing(over[len(over)-1], perSecond, m, t.usual), P: memoryAlpha}, true
}
