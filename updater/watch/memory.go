package watch

import (
	"time"
)

// The test of memory. Two things are harm:
//
// A process that has as good as all of the memory there is: more than nine
// tenths of the limit, where the executable before never had more than six.
//
// A process that grows without end: the least memory in each of eleven
// successive stretches of time is more than in the one before. Garbage
// collection makes memory a saw; the lowest points of its teeth rise only if
// what is kept does. If the process does not grow, any order of the stretches is
// as likely as any other, so that this one has the probability 1/11!, which is
// below the test's share of α for all that a watch looks at together. Caches of a process that
// has just started grow too: so it must have half as much again as the
// executable before ever had, and 64 MiB more, and, going on like this, reach
// the limit soon: that depends on how long the stretches are, see scales. Without a known
// limit it must have three times as much, and 256 MiB more.
const (
	memoryBlocks = 11
	mebibyte     = 1 << 20
)

// scales are the lengths of stretches of time, and how soon growth that is seen by
// them must fill the memory to be harm.
var scales = [...]struct{ block, fills time.Duration }{
	{time.Second, 5 * time.Minute}, // so that what eats memory is found before it is eaten
	{5 * time.Second, 20 * time.Minute},
	{20 * time.Second, time.Hour},
}

// A memoryTest is fed one look after the other.
type memoryTest struct {
	usual  uint64 // the most the executable before had; 0: unknown
	start  time.Time
	blocks [len(scales)]blocks
}

// blocks are the least memory in the last stretches of time of one scale.
type blocks struct {
	least []uint64 // oldest first; the last one is not over
	now   int64    // its number
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
	for i, scale := range scales {
		over := t.blocks[i].add(int64(now.Sub(t.start)/scale.block), m.Resident)
		if !rising(over) {
			continue
		}
		last := over[len(over)-1]
		perSecond := float64(last-over[0]) / (float64(len(over)-1) * scale.block.Seconds())
		usual, now := float64(t.usual), float64(last)
		if m.Limit == 0 && (now < 3*usual || now < usual+256*mebibyte) ||
			m.Limit > 0 && (now < 1.5*usual || now < usual+64*mebibyte || now+perSecond*scale.fills.Seconds() < float64(m.Limit)) {
			continue
		}
		return Verdict{Test: "memory", Harm: sentenceGrowing(last, perSecond, m, t.usual), P: memoryAlpha}, true
	}
	return harm, false
}

// add returns the stretches that are over, the last of them.
func (b *blocks) add(number int64, resident uint64) []uint64 {
	if len(b.least) == 0 || number != b.now {
		if number != b.now+1 {
			b.least = nil // looks came late: they begin anew
		}
		if len(b.least) > memoryBlocks {
			b.least = append(b.least[:0], b.least[1:]...)
		}
		b.least, b.now = append(b.least, resident), number
	}
	last := len(b.least) - 1
	b.least[last] = min(b.least[last], resident)
	return b.least[:last]
}

// rising reports whether there are enough stretches, each with more than the one before.
func rising(over []uint64) bool {
	for i := 1; i < len(over); i++ {
		if over[i] <= over[i-1] {
			return false
		}
	}
	return len(over) >= memoryBlocks
}
