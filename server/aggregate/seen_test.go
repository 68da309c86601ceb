package aggregate

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

func TestAccept(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var s store.Instance
		seen := map[uint64]bool{}
		var high uint64
		for range 2000 {
			n := uint64(1 + rng.IntN(int(high)+3))
			switch rng.IntN(50) {
			case 0:
				n = high + 64
			case 1:
				n = high + 65 + uint64(rng.IntN(100))
			}
			want := !seen[n] && (n > high || high-n <= 64)
			if got := accept(&s, n); got != want {
				t.Fatalf("seed %d: number %d with %d as the highest: %v, want %v", seed, n, high, got, want)
			}
			if want {
				seen[n] = true
				high = max(high, n)
			}
		}
	}
	var s store.Instance
	if accept(&s, 0) {
		t.Error("number 0 was counted")
	}
}

// TestClasses holds the bounds to the names of the dictionary.
func TestClasses(t *testing.T) {
	for n := range uint64(20_000) {
		name := wire.CountClass.ValueName(countClass(n))
		var ok bool
		if low, open := strings.CutSuffix(name, "+"); open {
			l, err := strconv.ParseUint(low, 10, 64)
			ok = err == nil && n >= l
		} else {
			low, high, isRange := strings.Cut(name, "-")
			if !isRange {
				high = low
			}
			l, err1 := strconv.ParseUint(low, 10, 64)
			h, err2 := strconv.ParseUint(high, 10, 64)
			ok = err1 == nil && err2 == nil && l <= n && n <= h
		}
		if !ok {
			t.Fatalf("%d is in class %q", n, name)
		}
	}
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{0, "<10m"}, {10*time.Minute - time.Second, "<10m"}, {10 * time.Minute, "10m-1h"}, {time.Hour, "1h-6h"},
		{6 * time.Hour, "6h-1d"}, {24 * time.Hour, "1d-3d"}, {3 * 24 * time.Hour, "3d-7d"}, {7 * 24 * time.Hour, "7d-30d"},
		{30 * 24 * time.Hour, "30d-90d"}, {90 * 24 * time.Hour, "90d-1y"}, {365 * 24 * time.Hour, "1y+"}, {9999 * 24 * time.Hour, "1y+"},
	} {
		if got := wire.UptimeClass.ValueName(uptimeClass(uint64(c.d / time.Second))); got != c.want {
			t.Errorf("%s is in class %q, want %q", c.d, got, c.want)
		}
	}
}
