package attacks

import (
	"math"
	"math/bits"
)

// mix is a keyed hash of a word: one step of wyhash, and the end of MurmurHash3
// to spread it. The key keeps others from choosing words that collide.
func mix(key, x uint64) uint64 {
	hi, lo := bits.Mul64(x^key^0xa0761d6478bd642f, 0xe7037ed1a0b428db)
	x = hi ^ lo ^ key
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// registers of a distinct: a standard error of 1.04/√1024 = 3.25 %.
const (
	registerBits = 10
	registers    = 1 << registerBits
)

// A distinct estimates how many different hashes it was given (HyperLogLog).
type distinct [registers]uint8

func (d *distinct) add(h uint64) {
	i := h >> (64 - registerBits)
	rank := uint8(bits.LeadingZeros64(h<<registerBits|1<<(registerBits-1)) + 1)
	if rank > d[i] {
		d[i] = rank
	}
}

func (d *distinct) merge(from *distinct) {
	for i, r := range from {
		if r > d[i] {
			d[i] = r
		}
	}
}

func (d *distinct) estimate() float64 {
	var sum float64
	zeros := 0
	for _, r := range d {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			zeros++
		}
	}
	const m = registers
	e := 0.7213 / (1 + 1.079/m) * m * m / sum
	if e <= 2.5*m && zeros > 0 {
		return m * math.Log(m/float64(zeros))
	}
	return e
}

// spreadBuckets of a spread: it tells up to 8 bits of entropy.
const spreadBuckets = 256

// A spread is a histogram of hashes, from whose buckets entropy is computed.
type spread [spreadBuckets]uint32

func (s *spread) add(h uint64) { s[h&(spreadBuckets-1)]++ }

// entropy is Shannon's, in bits: 0 if all are the same.
func (s *spread) entropy() float64 {
	var total float64
	for _, n := range s {
		total += float64(n)
	}
	if total == 0 {
		return 0
	}
	var h float64
	for _, n := range s {
		if n > 0 {
			p := float64(n) / total
			h -= p * math.Log2(p)
		}
	}
	return h
}

const (
	topCounters = 64
	topSlots    = 4 * topCounters // of the index, so that chains are short
	noCounter   = 0xff
)

// A top finds what is most frequent (Space-Saving: Metwally, Agrawal, El
// Abbadi 2005). Whatever makes up more than 1/64 of the total is among its
// counters, none counts less than there was, and at most its err more.
type top struct {
	key   uint64 // of the index's hash
	total uint64
	min   uint64 // no counter is below
	hand  int    // counters before it are above min
	n     int
	at    [topSlots]uint8 // open addressing: slot → counter
	c     [topCounters]counter
}

type counter struct{ item, count, err uint64 }

func (t *top) reset(key uint64) {
	*t = top{key: key}
	for i := range t.at {
		t.at[i] = noCounter
	}
}

func (t *top) slot(item uint64) int { return int(mix(t.key, item) >> 32 & (topSlots - 1)) }

// find answers the slot that has item, or the free one where it belongs.
func (t *top) find(item uint64) int {
	i := t.slot(item)
	for t.at[i] != noCounter && t.c[t.at[i]].item != item {
		i = (i + 1) & (topSlots - 1)
	}
	return i
}

func (t *top) add(item, n uint64) {
	t.total += n
	i := t.find(item)
	if k := t.at[i]; k != noCounter {
		t.c[k].count += n
		return
	}
	if t.n < topCounters {
		t.at[i] = uint8(t.n)
		t.c[t.n] = counter{item: item, count: n}
		t.n++
		if t.n == topCounters {
			t.lowest()
		}
		return
	}
	k := t.least()
	t.remove(t.c[k].item)
	t.at[t.find(item)] = uint8(k)
	t.c[k] = counter{item, t.c[k].count + n, t.c[k].count}
}

// least finds a counter that is at the minimum. Counters only grow, so the hand
// passes each once for every value of the minimum: constant time on the whole.
func (t *top) least() int {
	for {
		for ; t.hand < topCounters; t.hand++ {
			if t.c[t.hand].count <= t.min {
				return t.hand
			}
		}
		t.lowest()
	}
}

func (t *top) lowest() {
	t.hand, t.min = 0, math.MaxUint64
	for i := range t.c {
		t.min = min(t.min, t.c[i].count)
	}
}

// remove takes item out of the index and closes the gap.
func (t *top) remove(item uint64) {
	gap := t.find(item)
	for i := gap; ; {
		i = (i + 1) & (topSlots - 1)
		if t.at[i] == noCounter {
			break
		}
		// An entry moves into the gap unless its own slot lies behind the gap.
		if home := t.slot(t.c[t.at[i]].item); (i-home)&(topSlots-1) >= (i-gap)&(topSlots-1) {
			t.at[gap] = t.at[i]
			gap = i
		}
	}
	t.at[gap] = noCounter
}

// first is the most frequent item and the least number that there were of it.
func (t *top) first() (item, count uint64) {
	for _, c := range t.c[:t.n] {
		if sure := c.count - c.err; sure > count {
			item, count = c.item, sure
		}
	}
	return item, count
}

// share is the first's part of n.
func (t *top) share() float64 {
	if t.total == 0 {
		return 0
	}
	_, n := t.first()
	return float64(n) / float64(t.total)
}

// merge adds what another one counted, by its sure counts.
func (t *top) merge(from *top) {
	var counted uint64
	for _, c := range from.c[:from.n] {
		if sure := c.count - c.err; sure > 0 {
			t.add(c.item, sure)
			counted += sure
		}
	}
	t.total += from.total - counted
}
