package wire

import (
	"math"
	"math/bits"
)

// Buckets is the number of buckets of every histogram. Bucket 0 holds 0 and 1;
// bucket i holds (2^((i-1)/4), 2^(i/4)]; the last one has no upper bound. The
// unit is the metric's: with microseconds the last bound is 50 minutes, with
// bytes 3 GB.
const Buckets = 128

// quarters are 2^(1/4), 2^(2/4) and 2^(3/4), scaled so that 2^63 stands for 1.
var quarters = [3]uint64{
	uint64(math.Exp2(0.25) * (1 << 63)),
	uint64(math.Exp2(0.50) * (1 << 63)),
	uint64(math.Exp2(0.75) * (1 << 63)),
}

// Bucket is the index of the bucket that v belongs to.
func Bucket(v uint64) int {
	if v <= 1 {
		return 0
	}
	e := bits.Len64(v) - 1
	m := v << (63 - e)
	i := 4 * e
	switch {
	case m == 1<<63:
	case m <= quarters[0]:
		i++
	case m <= quarters[1]:
		i += 2
	case m <= quarters[2]:
		i += 3
	default:
		i += 4
	}
	return min(i, Buckets-1)
}

// Bound is the upper bound of bucket i, in the metric's unit; +Inf for the last.
func Bound(i int) float64 {
	if i >= Buckets-1 {
		return math.Inf(1)
	}
	return math.Exp2(float64(i) / 4)
}

// Quantile estimates the q-quantile (0 < q < 1) of a distribution, in the
// metric's unit, by logarithmic interpolation inside the bucket, which keeps
// the error below the buckets' growth of 19 %. It is NaN without observations
// and the last finite bound for what lies in the open bucket.
func Quantile(buckets []uint64, q float64) float64 {
	var total uint64
	for _, n := range buckets {
		total += n
	}
	if total == 0 {
		return math.NaN()
	}
	rank := q * float64(total)
	var below float64
	for i, n := range buckets {
		if n == 0 {
			continue
		}
		if below+float64(n) >= rank {
			if i == 0 {
				return 1
			}
			if i >= Buckets-1 {
				return Bound(Buckets - 2)
			}
			return math.Exp2((float64(i-1) + (rank-below)/float64(n)) / 4)
		}
		below += float64(n)
	}
	return Bound(Buckets - 2)
}
