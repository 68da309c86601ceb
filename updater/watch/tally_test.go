package watch

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTally(t *testing.T) {
	tally := NewTally(42)
	a, b := tally.Slot("a.example"), tally.Slot("b.example")
	if a == b {
		t.Fatal("two hosts share a slot with this seed")
	}
	for _, same := range []string{"A.Example", "a.example:8443"} {
		if tally.Slot(same) != a {
			t.Errorf("%s is in another slot", same)
		}
	}
	if tally.Slot("[2001:db8::1]:443") == tally.Slot("[2001:db8::2]:443") {
		t.Error("IPv6 addresses share a slot with this seed")
	}
	const each = 1000
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range each {
				tally.Begin(a)
				tally.Answer(a, 300*time.Millisecond, 200+300*(i%2))
				tally.Begin(b)
				tally.Panic(b)
				tally.Handshake()
				tally.HandshakeFailed()
			}
		})
	}
	wg.Wait()
	now := time.Unix(1, 0)
	want := Sample{Time: now, Sites: make([]Counts, Sites), Handshakes: 8 * each, HandshakeFailures: 8 * each, Memory: Memory{1, 2}}
	want.Sites[a] = Counts{Begun: 8 * each, Answered: 8 * each, Errors: 4 * each}
	want.Sites[a].Slow[0], want.Sites[a].Slow[1], want.Sites[a].Slow[2] = 8*each, 8*each, 8*each
	want.Sites[b] = Counts{Begun: 8 * each, Panics: 8 * each}
	want.Total = want.Sites[a]
	want.Total.add(&want.Sites[b])
	if d := cmp.Diff(want, tally.Sample(now, Memory{1, 2})); d != "" {
		t.Errorf("sample (-want +got):\n%s", d)
	}
	var none *Tally
	none.Begin(none.Slot("x"))
	none.Answer(3, 0, 0)
	none.Panic(3)
	none.Handshake()
	none.HandshakeFailed()
	if d := cmp.Diff(Sample{Time: now}, none.Sample(now, Memory{})); d != "" {
		t.Errorf("a nil tally's sample (-want +got):\n%s", d)
	}
}

// Hosts fall on all slots evenly enough: none has more than a few times its share.
func TestSlots(t *testing.T) {
	tally := NewTally(7)
	var n [Sites]int
	for i := range 100 * Sites {
		n[tally.Slot(fmt.Sprintf("host%d.example.com", i))]++
	}
	for slot, n := range n {
		if n < 50 || n > 160 { // 100 ± 10 at one standard deviation
			t.Errorf("slot %d has %d of 100", slot, n)
		}
	}
}

func BenchmarkTally(b *testing.B) {
	b.Run("request", func(b *testing.B) {
		tally := NewTally(1)
		b.ReportAllocs()
		for b.Loop() {
			slot := tally.Slot("www.example.com")
			tally.Begin(slot)
			tally.Answer(slot, time.Millisecond, 200)
		}
	})
	b.Run("off", func(b *testing.B) {
		var tally *Tally
		for b.Loop() {
			slot := tally.Slot("www.example.com")
			tally.Begin(slot)
			tally.Answer(slot, time.Millisecond, 200)
		}
	})
	b.Run("sample", func(b *testing.B) {
		tally := NewTally(1)
		b.ReportAllocs()
		for b.Loop() {
			tally.Sample(time.Time{}, Memory{})
		}
	})
}

// A look while each slot has requests and errors, and a minute added to what is usual.
func BenchmarkWatch(b *testing.B) {
	w := newWorld(b, 6)
	var loads []load
	for slot := range Sites {
		loads = append(loads, load{slot: slot, perSecond: 5, fails: 0.02, slow: 0.1})
	}
	baseline := w.baseline(2, loads...)
	b.Run("look", func(b *testing.B) {
		watch := baseline.Watch(w.sample(), Length)
		w.pass(time.Second, loads...)
		s := w.sample()
		b.ReportAllocs()
		for b.Loop() {
			s.Time = s.Time.Add(time.Second)
			if v := watch.Look(s); v.Harm != "" {
				b.Fatal(v.Harm)
			}
		}
	})
	b.Run("observe", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.now = w.now.Add(time.Minute)
			baseline.Observe(w.sample())
		}
	})
}
