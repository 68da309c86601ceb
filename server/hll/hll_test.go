package hll_test

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"testing"

	"github.com/caddy-evergreen/evergreen/server/hll"
)

func hash(i int) uint64 {
	h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	return binary.BigEndian.Uint64(h[:])
}

func TestEstimate(t *testing.T) {
	reg := make([]byte, hll.Registers)
	if got := hll.Estimate(reg); got != 0 {
		t.Errorf("nothing: %v", got)
	}
	if got := hll.Estimate(nil); got != 0 {
		t.Errorf("nil: %v", got)
	}
	n := 0
	for _, want := range []int{1, 2, 10, 100, 1000, 5000, 10_000, 100_000, 300_000} {
		for ; n < want; n++ {
			hll.Add(reg, hash(n))
			hll.Add(reg, hash(n)) // counts once
		}
		// Four standard errors; few things are exact but for collisions.
		limit := 4 * 1.04 / math.Sqrt(hll.Registers) * float64(want)
		if got := hll.Estimate(reg); math.Abs(got-float64(want)) > max(limit, 0.01) {
			t.Errorf("%d things: estimated %.2f", want, got)
		}
	}
}

func TestMergeIsUnion(t *testing.T) {
	a, b, both := make([]byte, 64), make([]byte, 64), make([]byte, 64)
	for i := range 1000 {
		if i < 600 {
			hll.Add(a, hash(i))
		}
		if i > 400 {
			hll.Add(b, hash(i))
		}
		hll.Add(both, hash(i))
	}
	hll.Merge(a, b)
	if string(a) != string(both) {
		t.Error("merged registers differ from those of the union")
	}
}

func TestRankIsBounded(t *testing.T) {
	reg := make([]byte, hll.Registers)
	hll.Add(reg, 0)
	if got, want := reg[0], byte(64-11+1); got != want {
		t.Errorf("rank of hash 0 is %d, want %d", got, want)
	}
}
