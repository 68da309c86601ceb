package attacks

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

func TestDistinct(t *testing.T) {
	for _, n := range []int{0, 1, 2, 10, 100, 1_000, 10_000, 100_000, 1_000_000} {
		// The error of one key is chance, that of several is the algorithm's.
		var sum float64
		const keys = 8
		for key := range uint64(keys) {
			var d distinct
			for i := range n {
				d.add(mix(key*77+1, uint64(i)))
				d.add(mix(key*77+1, uint64(i)))
			}
			sum += math.Abs(d.estimate()-float64(n)) / max(float64(n), 1)
		}
		if e := sum / keys; e > 0.08 {
			t.Errorf("%d different ones are estimated wrongly by %.1f %%", n, 100*e)
		}
	}
	var a, b, both distinct
	for i := range 3_000 {
		h := mix(9, uint64(i))
		both.add(h)
		if i < 2_000 {
			a.add(h)
		}
		if i >= 1_000 {
			b.add(h)
		}
	}
	if a.merge(&b); a != both {
		t.Error("merging differs from adding")
	}
}

// exact is what a top is compared with.
func exact(t *testing.T, top *top, counts map[uint64]uint64) {
	t.Helper()
	var total uint64
	for _, n := range counts {
		total += n
	}
	if top.total != total {
		t.Errorf("the total is %d, want %d", top.total, total)
	}
	seen := map[uint64]bool{}
	for _, c := range top.c[:top.n] {
		if c.count < counts[c.item] || c.count-c.err > counts[c.item] {
			t.Errorf("%d is counted as %d, at most %d too much, but there were %d", c.item, c.count, c.err, counts[c.item])
		}
		if seen[c.item] {
			t.Errorf("%d has two counters", c.item)
		}
		seen[c.item] = true
		if k := top.at[top.find(c.item)]; k == noCounter || top.c[k].item != c.item {
			t.Errorf("%d is not in the index", c.item)
		}
	}
	for item, n := range counts {
		if n > total/topCounters && !seen[item] {
			t.Errorf("%d of %d were %d, but it has no counter", n, total, item)
		}
	}
	entries := 0
	for _, k := range top.at {
		if k != noCounter {
			entries++
		}
	}
	if entries != top.n {
		t.Errorf("the index has %d entries for %d counters", entries, top.n)
	}
}

func TestTop(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		zipf := rand.NewZipf(rng, 1.05+float64(seed)/20, 1, 1<<20)
		var s top
		s.reset(seed)
		counts := map[uint64]uint64{}
		for range 30_000 {
			item, n := zipf.Uint64(), uint64(1)
			if seed%3 == 0 {
				n = 1 + rng.Uint64N(5)
			}
			s.add(item, n)
			counts[item] += n
		}
		exact(t, &s, counts)
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

func TestTopMerge(t *testing.T) {
	var a, b top
	a.reset(1)
	b.reset(2)
	for i := range uint64(10_000) {
		a.add(i, 1)
		b.add(i, 1)
		b.add(42, 1)
	}
	a.merge(&b)
	item, n := a.first()
	if item != 42 || n < 9_000 || n > 10_002 || a.total != 30_000 {
		t.Errorf("%d of %d are %d, want about 10,001 of 30,000 to be 42", n, a.total, item)
	}
}

func FuzzTop(f *testing.F) {
	f.Add([]byte("abcabcabcddddeeeef"), uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, key uint64) {
		var s top
		s.reset(key)
		counts := map[uint64]uint64{}
		for i, c := range b {
			item := uint64(c) * uint64(1+i%3)
			s.add(item, 1)
			counts[item]++
		}
		exact(t, &s, counts)
	})
}

func TestEntropy(t *testing.T) {
	var s spread
	if s.entropy() != 0 {
		t.Error("nothing has entropy")
	}
	for range 100 {
		s.add(5)
	}
	if s.entropy() != 0 {
		t.Error("one value has entropy")
	}
	for i := range uint64(4) {
		s = spread{}
		for j := range uint64(1) << i {
			s.add(j)
		}
		if got := s.entropy(); math.Abs(got-float64(i)) > 1e-9 {
			t.Errorf("%d equally frequent values have %f bits", 1<<i, got)
		}
	}
}

func TestSource(t *testing.T) {
	for in, want := range map[string]string{
		"8.8.4.4:443":             "8.8.4.0/24",
		"[2a00:1:2:3::4]:443":     "2a00:1:2::/48",
		"[::ffff:8.8.4.4]:1":      "8.8.4.0/24",
		"10.0.0.1:1":              "invalid Prefix",
		"127.0.0.1:1":             "invalid Prefix",
		"[::1]:1":                 "invalid Prefix",
		"[fd00::1]:1":             "invalid Prefix",
		"[fe80::1]:1":             "invalid Prefix",
		"100.64.3.4:1":            "invalid Prefix",
		"224.0.0.1:1":             "invalid Prefix",
		"@":                       "invalid Prefix",
		"":                        "invalid Prefix",
		"not an address at all:1": "invalid Prefix",
	} {
		n := wire.SourceNetwork{Prefix: SourceOfRemote(in).prefix()}
		if got := n.Addresses().String(); got != want {
			t.Errorf("%q has %s, want %s", in, got, want)
		}
	}
	if SourceOf(netip.Addr{}) != 0 {
		t.Error("no address has a source")
	}
}

// A million sources, fingerprints and paths leave what a Watcher takes as it was.
func TestMemory(t *testing.T) {
	if size := unsafe.Sizeof(Watcher{}); size > 1<<20 {
		t.Errorf("a Watcher has %d bytes", size)
	} else {
		t.Logf("a Watcher has %d KiB", size>>10)
	}
	now := monday
	w := New(Options{Now: now, Networks: func() bool { return true }})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range uint32(1_000_000) {
		e := Event{Source: SourceOf(netip.AddrFrom16([16]byte{0x20, byte(i >> 16), byte(i >> 8), byte(i)})),
			Hello: mix(1, uint64(i)), Agent: uint64(i), Status: 404, Path: Classify(fmt.Sprintf("/%d/.env", i), "")}
		switch i % 4 {
		case 0:
			w.Request(&e)
		case 1:
			e.Path = Path{}
			w.Request(&e)
		case 2:
			w.Connection(&e, Ending(i/4%4))
		case 3:
			e.Status = 401
			e.Post = true
			w.Request(&e)
		}
		if i%10_000 == 0 {
			now = now.Add(time.Minute)
			w.Tick(now)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 256<<10 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if n := len(w.Report(now)); n > wire.MaxIncidents {
		t.Errorf("%d incidents are reported at once", n)
	}
	runtime.KeepAlive(w)
}

func TestClassify(t *testing.T) {
	for in, want := range map[string]string{
		"/": "other", "/index.html": "other", "/a/b/c.js": "other", "/blog/2026/11": "other", "/.well-known/acme-challenge/x": "other", "": "other",
		"/docs/environment": "other", "/products/42?a=1&b=two": "other", "/search?q=100%25+of+it": "other", "/robots.txt": "other", "/50%20off": "other",
		"/wp-login.php": "wordpress", "/WP-Admin/": "wordpress", "/blog/xmlrpc.php": "wordpress", "/wp-content/plugins/x/readme.txt": "wordpress",
		"/phpMyAdmin/index.php": "phpmyadmin", "/pma": "phpmyadmin",
		"/.env": "env_files", "/app/.env.production": "env_files", "/.aws/credentials": "env_files", "/.env.2024": "env_files",
		"/.git/config": "git", "/x/.svn/entries": "git",
		"/cgi-bin/test": "cgi", "/HNAP1/": "router", "/GponForm/diag_Form": "router",
		"/backup.sql": "backups", "/index.php.bak": "backups", "/x.swp": "backups",
		"/.ssh/id_rsa": "ssh_keys", "/keys/id_ed25519": "ssh_keys",
		"/manager/html": "admin", "/actuator/health": "debug", "/solr/admin": "java", "/x/y.jsp": "java",
		"/owa/auth": "microsoft", "/remote/login": "vpn", "/vendor/phpunit/src/Util/PHP/eval-stdin.php": "php", "/anything.php": "php", "/c99.php": "webshell",
		"/?x=${jndi:ldap://a/b}": "injection", "/?x=%24%7Bjndi:ldap": "injection", "/?id=1+UNION+SELECT+2": "injection", "/<script>": "injection",
		"/a/../../etc/shadow": "traversal", "/..%2f..%2fx": "traversal", "/?f=/etc/passwd": "injection", "/a/../../etc/passwd": "traversal", "/%2E%2E/x": "traversal", "/?f=../../x": "traversal",
		"/latest/meta-data/": "cloud_metadata", "/?u=http://169.254.169.254/": "cloud_metadata",
		"/sites/default": "drupal", "/administrator": "admin",
	} {
		path, query := in, ""
		for i := range in {
			if in[i] == '?' {
				path, query = in[:i], in[i+1:]
				break
			}
		}
		if got := wire.ScanClass.ValueName(Classify(path, query).Scan); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]Path{
		"/login":            {Login: true},
		"/api/v1/Login":     {Login: true},
		"/.env":             {Scan: class("env_files"), Certain: true},
		"/repo/src/.env":    {Scan: class("env_files")},
		"/wp-login.php":     {Scan: class("wordpress"), Login: true},
		"/cgi-bin/login":    {Scan: class("cgi"), Login: true},
		"/..%2f/etc/passwd": {Scan: class("injection"), Certain: true},
	} {
		if diff := cmp.Diff(want, Classify(in, "")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add("/wp-login.php", "a=b")
	f.Add("/%2e%2e/%", "${")
	f.Add("", "%")
	f.Fuzz(func(t *testing.T, path, query string) {
		if p := Classify(path, query); int(p.Scan) >= len(wire.ScanClass.Values) {
			t.Errorf("class %d", p.Scan)
		}
		if n := testing.AllocsPerRun(1, func() { Classify(path, query) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func TestNoAllocations(t *testing.T) {
	w := New(Options{Now: monday})
	i := uint64(0)
	if n := testing.AllocsPerRun(5_000, func() {
		i++
		e := Event{Source: SourceOfRemote("203.0.113.7:1234"), Hello: i, Agent: i, Status: 404, Path: Classify("/blog/entry", "a=b"), Began: monday}
		w.Request(&e)
		w.Connection(&e, Abandoned)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	for name, sources := range map[string]uint64{"100 sources": 100, "a million sources": 1_000_000} {
		b.Run(name, func(b *testing.B) {
			w := New(Options{Now: monday})
			b.ReportAllocs()
			i := uint64(0)
			for b.Loop() {
				i++
				n := mix(1, i) % sources
				e := Event{Source: source4 | Source(n), Hello: n&15 + 1, Agent: n & 31, Status: 200, Began: monday}
				w.Request(&e)
			}
		})
	}
}

func BenchmarkClassify(b *testing.B) {
	for _, path := range []string{"/", "/blog/2026/11/a-page-with-a-long-name", "/static/js/app.4f3a.js", "/wp-login.php"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Classify(path, "page=2&sort=name")
			}
		})
	}
}

func BenchmarkTick(b *testing.B) {
	now := monday
	w := New(Options{Now: now})
	for b.Loop() {
		now = now.Add(time.Minute)
		w.Tick(now)
	}
}
