package hsts

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const agent = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"

func client(m *Memory, addr string) Client { return m.Client(netip.MustParseAddr(addr), agent) }

func TestMemory(t *testing.T) {
	m := New(start)
	c := client(m, "192.0.2.1")
	year := Policy{MaxAge: 31536000}
	give := func(host string, p Policy, now time.Time, want Given) {
		t.Helper()
		if got, evicted := m.Give(c, host, p, now); got != want || evicted {
			t.Errorf("%s %+v: %d %v, want %d", host, p, got, evicted, want)
		}
	}
	plain := func(c Client, host string, now time.Time, bound, first bool) {
		t.Helper()
		if b := m.Bound(c, host, now); b != bound {
			t.Errorf("%s: bound: %v", host, b)
		}
		if b, f := m.Plain(c, host, now); b != bound || f != first {
			t.Errorf("%s: %v %v, want %v %v", host, b, f, bound, first)
		}
	}
	plain(c, "example.com", start, false, false)
	give("example.com", Policy{}, start, Ignored)
	if !m.Empty() {
		t.Error("a table was made for nothing")
	}
	for _, host := range []string{"", ".", ":80", "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]", "[2001:db8::1]:80", "2001:db8::1", strings.Repeat("a", 254)} {
		give(host, year, start, Ignored)
		plain(c, host, start, false, false)
	}
	give("example.com", year, start, First)
	give("EXAMPLE.com.:443", year, start, Again)
	plain(c, "example.com", start, true, true)
	plain(c, "Example.COM:80", start, true, false)
	plain(c, "example.com", start.Add(31535999*time.Second), true, false)
	plain(c, "example.com", start.Add(31536000*time.Second), false, false)
	plain(c, "www.example.com", start, false, false)
	plain(c, "com", start, false, false)

	// Whose policy it is.
	plain(client(m, "192.0.2.2"), "example.com", start, false, false)
	plain(m.Client(netip.MustParseAddr("192.0.2.1"), "curl/8.5.0"), "example.com", start, false, false)
	plain(client(m, "::ffff:192.0.2.1"), "example.com", start, true, false)

	// Subdomains, and a child of its own.
	give("sub.example.net", Policy{MaxAge: 600, IncludeSubDomains: true}, start, First)
	plain(c, "a.b.sub.example.net", start, true, true)
	plain(c, "sub.example.net", start, true, false)
	plain(c, "example.net", start, false, false)
	plain(c, "xsub.example.net", start, false, false)

	// Renewed, shortened, removed, and given anew.
	give("sub.example.net", Policy{MaxAge: 1200}, start.Add(5*time.Minute), Again)
	plain(c, "sub.example.net", start.Add(24*time.Minute), true, false)
	plain(c, "a.sub.example.net", start.Add(6*time.Minute), false, false)
	give("sub.example.net", Policy{}, start.Add(6*time.Minute), Removed)
	plain(c, "sub.example.net", start.Add(6*time.Minute), false, false)
	give("sub.example.net", Policy{MaxAge: 59}, start.Add(6*time.Minute), Ignored)
	give("sub.example.net", Policy{MaxAge: 60}, start.Add(6*time.Minute), First)
	plain(c, "sub.example.net", start.Add(7*time.Minute-1), true, true)
	plain(c, "sub.example.net", start.Add(7*time.Minute), false, false)

	// The longest, and a clock that goes backwards.
	give("long.example", Policy{MaxAge: 1<<64 - 1}, start.Add(time.Hour), First)
	plain(c, "long.example", start.Add(15*365*24*time.Hour), true, true)
	give("back.example", Policy{MaxAge: 60}, start.Add(-time.Hour), First)
	plain(c, "back.example", start.Add(-2*time.Hour), true, true)
}

// An IPv6 client is its /64 network.
func TestPrefix(t *testing.T) {
	m := New(start)
	if client(m, "2001:db8::1") != client(m, "2001:db8::ffff:0:0:1%eth0") {
		t.Error("two addresses of a /64 network differ")
	}
	if client(m, "2001:db8::1") == client(m, "2001:db8:0:1::1") {
		t.Error("two networks are the same")
	}
	if client(m, "1.2.3.4") == client(m, "102:304::") {
		t.Error("IPv4 and IPv6 are the same")
	}
	if client(m, "1.2.3.4") == client(New(start), "1.2.3.4") {
		t.Error("two memories have the same key")
	}
}

// TestAgainstMap does the same with a memory and with a map that forgets nothing.
func TestAgainstMap(t *testing.T) {
	type pair struct{ client, host int }
	type policy struct {
		end        time.Time
		sub, plain bool
	}
	hosts := []string{"example.com", "a.example.com", "b.a.example.com", "example.net", "a.example.net", "c.b.a.example.net", "localhost"}
	parent := []int{-1, 0, 1, -1, 3, 4, -1}
	rnd := rand.New(rand.NewPCG(1, 2))
	m, want, now := New(start), map[pair]*policy{}, start
	bound := func(c, h int) *policy {
		for i := h; i >= 0; i = parent[i] {
			if p := want[pair{c, i}]; p != nil && p.end.After(now) && (i == h || p.sub) {
				return p
			}
		}
		return nil
	}
	for step := range 200_000 {
		now = now.Add(time.Duration(rnd.IntN(int(10 * time.Second))))
		c, h := rnd.IntN(30), rnd.IntN(len(hosts))
		who := m.Client(netip.AddrFrom4([4]byte{10, 0, 0, byte(c)}), agent)
		switch rnd.IntN(3) {
		case 0:
			p := Policy{MaxAge: uint64(rnd.IntN(4) * rnd.IntN(4000)), IncludeSubDomains: rnd.IntN(2) == 0}
			old := want[pair{c, h}]
			if old != nil && !old.end.After(now) {
				old = nil
			}
			end := start.Add(now.Add(time.Duration(p.MaxAge) * time.Second).Sub(start).Truncate(time.Second).Truncate(time.Minute))
			expect := Ignored
			switch {
			case old == nil && end.After(now):
				expect = First
			case old != nil && end.After(now):
				expect = Again
			case old != nil:
				expect = Removed
			}
			if end.After(now) {
				want[pair{c, h}] = &policy{end, p.IncludeSubDomains, old != nil && old.plain}
			} else {
				delete(want, pair{c, h})
			}
			if got, evicted := m.Give(who, hosts[h], p, now); got != expect || evicted {
				t.Fatalf("step %d: %d %v, want %d", step, got, evicted, expect)
			}
		case 1:
			if got := m.Bound(who, hosts[h], now); got != (bound(c, h) != nil) {
				t.Fatalf("step %d: bound: %v", step, got)
			}
		default:
			p := bound(c, h)
			if b, first := m.Plain(who, hosts[h], now); b != (p != nil) || first != (p != nil && !p.plain) {
				t.Fatalf("step %d: %v %v, want %+v", step, b, first, p)
			}
			if p != nil {
				p.plain = true
			}
		}
	}
}

// A million clients, each with a host of its own: the memory stays as it is,
// remembers as many as fit, and takes no stranger for one that it knows.
func TestMillion(t *testing.T) {
	m := New(start)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	evictions := 0
	const million = 1_000_000
	who := func(i int) (Client, string) {
		return m.Client(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), agent), fmt.Sprintf("h%d.example", i)
	}
	for i := range million {
		c, host := who(i)
		if given, evicted := m.Give(c, host, Policy{MaxAge: 3600}, start); given != First {
			t.Fatalf("client %d: %d", i, given)
		} else if evicted {
			evictions++
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 3<<19 {
		t.Errorf("%d bytes more than before", grown)
	}
	if Size != 1<<20 || unsafe.Sizeof(*m.table.Load()) != Size {
		t.Error("the size is not as documented")
	}
	known := 0
	for i := range million {
		if c, host := who(i); m.Bound(c, host, start) {
			known++
		}
		c, host := who(i + million)
		if m.Bound(c, host, start) {
			t.Errorf("a stranger, %s, is bound", host)
		}
	}
	if known+evictions != million {
		t.Errorf("%d known and %d forgotten make no million", known, evictions)
	}
	if known < places*99/100 {
		t.Errorf("of %d places %d are used", places, known)
	}
	// All ends, and there is room again.
	later := start.Add(time.Hour)
	c, host := who(0)
	if _, evicted := m.Give(c, host, Policy{MaxAge: 3600}, later); evicted || !m.Bound(c, host, later) {
		t.Error("no room where all has ended")
	}
}

// Goroutines that use the same pairs leave each bound or not, as the last one
// said, and never more than one place for a pair in the end.
func TestConcurrent(t *testing.T) {
	m := New(start)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rnd := rand.New(rand.NewPCG(1, uint64(g)))
			for range 20_000 {
				c := m.Client(netip.AddrFrom4([4]byte{10, 0, 0, byte(rnd.IntN(16))}), agent)
				switch rnd.IntN(4) {
				case 0:
					m.Give(c, "example.com", Policy{}, start)
				case 1:
					m.Give(c, "example.com", Policy{MaxAge: 600}, start)
				case 2:
					m.Plain(c, "example.com", start)
				default:
					m.Bound(c, "example.com", start)
				}
			}
		}()
	}
	wg.Wait()
	for i := range 16 {
		c := m.Client(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), agent)
		m.Give(c, "example.com", Policy{}, start)
		if m.Bound(c, "example.com", start) {
			t.Errorf("client %d is bound after max-age=0", i)
		}
		if given, _ := m.Give(c, "example.com", Policy{MaxAge: 600}, start); given != First || !m.Bound(c, "example.com", start) {
			t.Errorf("client %d is not bound after all", i)
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"example.com", "EXAMPLE.com.:80", "[::1]:80", "1.2.3.4", ":", "a:b:c", "...", "x..y:", strings.Repeat("a.", 200)} {
		f.Add(s)
	}
	m := New(start)
	c := client(m, "192.0.2.1")
	f.Fuzz(func(t *testing.T, host string) {
		given, _ := m.Give(c, host, Policy{MaxAge: 600}, start)
		if bound := m.Bound(c, host, start); bound != (given != Ignored) {
			t.Errorf("%q: given %d, bound %v", host, given, bound)
		}
		if given == Ignored {
			return
		}
		if given, _ = m.Give(c, host, Policy{}, start); given != Removed || m.Bound(c, host, start) {
			t.Errorf("%q: %d when removed", host, given)
		}
	})
}

func BenchmarkClient(b *testing.B) {
	m, a := New(start), netip.MustParseAddr("2001:db8::1")
	b.ReportAllocs()
	for b.Loop() {
		m.Client(a, agent)
	}
}

func BenchmarkGive(b *testing.B) {
	m := New(start)
	c := client(m, "192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		m.Give(c, "www.example.com", Policy{MaxAge: 31536000}, start)
	}
}

// Nobody knows the client: the longest look-up, of the host and two parents.
func BenchmarkPlainStranger(b *testing.B) {
	m := New(start)
	m.Give(client(m, "192.0.2.1"), "www.example.com", Policy{MaxAge: 31536000}, start)
	c := client(m, "192.0.2.2")
	b.ReportAllocs()
	for b.Loop() {
		m.Plain(c, "www.example.com", start)
	}
}

// Clients and hosts that never come twice, in a full memory.
func BenchmarkGiveFlood(b *testing.B) {
	m := New(start)
	var i uint64
	b.ReportAllocs()
	for b.Loop() {
		m.Give(Client(i*0x9e3779b97f4a7c15), "www.example.com", Policy{MaxAge: 31536000}, start)
		i++
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Parse("max-age=63072000; includeSubDomains; preload")
	}
}
