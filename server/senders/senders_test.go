package senders

import (
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// A flood of addresses fills no memory and does not reset the busy ones at once.
func TestSendersAreBounded(t *testing.T) {
	a := NewRates(1, 10, 1000)
	for i := range 100_000 {
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if wait := a.Wait(ip, now); wait != 0 {
			t.Fatal(wait)
		}
		if n := a.Len(); n > 1000 {
			t.Fatalf("%d senders are remembered", n)
		}
	}
	// All are forgotten once nothing of them limits anybody.
	if wait := a.Wait(netip.MustParseAddr("192.0.2.1"), now.Add(time.Minute)); wait != 0 {
		t.Fatal(wait)
	}
	if n := a.Len(); n != 1 {
		t.Errorf("%d senders are remembered a minute later", n)
	}
}

func TestRateOverGenerations(t *testing.T) {
	// One request a second is admitted over a long time, however the generations change.
	a := NewRates(1, 5, 1000)
	ip := netip.MustParseAddr("2001:db8::1")
	admitted := 0
	for i := range 10_000 {
		if a.Wait(ip, now.Add(time.Duration(i)*100*time.Millisecond)) == 0 {
			admitted++
		}
	}
	if admitted < 1000 || admitted > 1005 {
		t.Errorf("%d requests in 1000 seconds were admitted", admitted)
	}
}

func TestAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		name      string
		proxies   []netip.Prefix
		peer      string
		forwarded []string
		want      string
	}{
		{"direct", nil, "192.0.2.1:5", nil, "192.0.2.1"},
		{"direct, IPv6 with zone", nil, "[fe80::1%eth0]:5", nil, "fe80::1"},
		{"no proxy is trusted", nil, "10.0.0.1:5", []string{"192.0.2.9"}, "10.0.0.1"},
		{"not from a proxy", proxies, "192.0.2.1:5", []string{"192.0.2.9"}, "192.0.2.1"},
		{"from a proxy", proxies, "10.0.0.1:5", []string{"192.0.2.9"}, "192.0.2.9"},
		{"from a proxy, mapped", proxies, "[::ffff:10.0.0.1]:5", []string{"192.0.2.9"}, "192.0.2.9"},
		{"what the client claims", proxies, "10.0.0.1:5", []string{"203.0.113.1, 192.0.2.9"}, "192.0.2.9"},
		{"two proxies", proxies, "10.0.0.1:5", []string{"192.0.2.9", "10.1.1.1"}, "192.0.2.9"},
		{"with ports", proxies, "10.0.0.1:5", []string{"192.0.2.9:80, [fd00::1]:443"}, "192.0.2.9"},
		{"nonsense ends it", proxies, "10.0.0.1:5", []string{"192.0.2.9, unknown, 10.1.1.1"}, "10.1.1.1"},
		{"none forwarded", proxies, "10.0.0.1:5", nil, "10.0.0.1"},
		{"only proxies", proxies, "10.0.0.1:5", []string{"10.0.0.2, 10.0.0.3"}, "10.0.0.2"},
		{"unix socket behind a proxy", proxies, "@", []string{"192.0.2.9"}, "192.0.2.9"},
		{"unix socket", nil, "@", []string{"192.0.2.9"}, "invalid IP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", nil)
			r.RemoteAddr = c.peer
			r.Header["X-Forwarded-For"] = c.forwarded
			if got := Address(r, c.proxies).String(); got != c.want {
				t.Errorf("sender %s, want %s", got, c.want)
			}
		})
	}
}

// Whatever a proxy or a stranger writes into the header is an address or nothing.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"192.0.2.9", "192.0.2.9:80, [fd00::1]:443", "fe80::1%eth0", "unknown", ",,", "[::ffff:10.0.0.1]:3"} {
		f.Add("10.0.0.1:5", s)
	}
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	f.Fuzz(func(t *testing.T, peer, forwarded string) {
		r := httptest.NewRequest("POST", "/", nil)
		r.RemoteAddr = peer
		r.Header["X-Forwarded-For"] = []string{forwarded}
		a := Address(r, proxies)
		if a.Zone() != "" || a.Is4In6() {
			t.Errorf("%q, %q: %s", peer, forwarded, a)
		}
		if p := Parse(peer); p.IsValid() && !within(proxies, p) && a != p {
			t.Errorf("%q, %q: a stranger's header counts: %s", peer, forwarded, a)
		}
	})
}
