package recorder

import (
	"fmt"
	"math"
	"net"
	"runtime"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// recorderAt makes a recorder whose first window begins at noon.
func recorderAt(t testing.TB, off ...string) *Recorder {
	t.Helper()
	r, err := New(Options{Off: off, Now: func() time.Time { return noon.Add(time.Second) }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lines shows a window as "metric{value,value} n", histograms as
// "metric{…} count sum first:buckets", sorted.
func lines(t testing.TB, w *wire.Window) []string {
	t.Helper()
	var out []string
	for _, s := range w.Series {
		m := wire.MetricByID(wire.MetricID(s.Metric))
		cell := func(c uint64) string {
			if !m.Valid(wire.Cell(c)) {
				t.Errorf("%s has the cell %#x, which is not valid", m.Name, c)
			}
			d := wire.Cell(c).Dims()
			var names []string
			for i, dim := range m.Dims {
				names = append(names, dim.ValueName(d[i]))
			}
			return m.Name + "{" + strings.Join(names, ",") + "}"
		}
		if !sort.SliceIsSorted(s.Cells, func(i, j int) bool { return s.Cells[i] < s.Cells[j] }) {
			t.Errorf("%s: cells are not in ascending order", m.Name)
		}
		for i, c := range s.Cells {
			out = append(out, fmt.Sprintf("%s %d", cell(c), s.Values[i]))
		}
		for _, h := range s.Histograms {
			var n uint64
			for _, b := range h.Buckets {
				n += b
			}
			out = append(out, fmt.Sprintf("%s %d sum %d %d:%v", cell(h.Cell), n, h.Sum, h.First, h.Buckets))
		}
	}
	sort.Strings(out)
	return out
}

// closed closes the window that ends at the given time after noon and shows it.
func closed(t testing.TB, r *Recorder, after time.Duration) []string {
	t.Helper()
	ws := r.Close(noon.Add(after))
	if len(ws) != 1 {
		t.Fatalf("%d windows ended, want 1", len(ws))
	}
	return lines(t, ws[0])
}

func TestRequest(t *testing.T) {
	r := recorderAt(t)
	r.Begin()
	r.Request(aRequest())
	r.Begin()
	r.Request(&Request{
		Protocol: 2, Method: "BREW", Status: 0, Transport: 1, Family: 2, Role: 2, UserAgent: "curl/8.17.0",
		RequestBytes: -1, Duration: 3 * time.Second, HandlerError: 502, Panicked: true, Aborted: true,
	})
	r.Begin()
	r.Request(&Request{
		Protocol: 2, Method: "GET", Status: 101, Transport: 2, Family: 1, Role: 1,
		UserAgent: "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
		FirstByte: 2 * time.Microsecond, Duration: 2 * time.Microsecond, Aborted: true, Upgraded: true, Upgrade: 1,
	})
	want := []string{
		"clients.bots{search,googlebot} 1",
		"clients.browsers{chrome,143} 1",
		"clients.platforms{other,bot} 1", "clients.platforms{other,tool} 1", "clients.platforms{windows,browser} 1",
		"clients.requests{bot,http/1.1} 1", "clients.requests{browser,http/2} 1", "clients.requests{tool,http/1.1} 1",
		"clients.tools{curl} 1",
		"http.duration{http/1.1,1xx} 1 sum 2 4:[1]",
		"http.duration{http/1.1,other} 1 sum 3000000 87:[1]",
		"http.duration{http/2,2xx} 1 sum 518 37:[1]",
		"http.errors.aborted{http/1.1,after_header} 1", "http.errors.aborted{http/1.1,before_header} 1",
		"http.errors.handler{502,redirect} 1",
		"http.errors.panic{http/1.1} 1",
		"http.first_byte{http/1.1,1xx} 1 sum 2 4:[1]",
		"http.first_byte{http/2,2xx} 1 sum 312 34:[1]",
		"http.request.size{http/1.1,1xx} 1 sum 0 0:[1]", "http.request.size{http/1.1,other} 1 sum 0 0:[1]", "http.request.size{http/2,2xx} 1 sum 0 0:[1]",
		"http.requests.method{GET,1xx,site} 1", "http.requests.method{GET,2xx,site} 1", "http.requests.method{other,other,redirect} 1",
		"http.requests.peak{} 1",
		"http.requests.transport{plain,ipv6,http/1.1,redirect} 1",
		"http.requests.transport{tls,ipv4,http/1.1,site} 1", "http.requests.transport{tls,ipv4,http/2,site} 1",
		"http.requests{http/1.1,101,site} 1", "http.requests{http/1.1,other,redirect} 1", "http.requests{http/2,200,site} 1",
		"http.response.size{http/1.1,1xx} 1 sum 0 0:[1]", "http.response.size{http/1.1,other} 1 sum 0 0:[1]",
		"http.response.size{http/2,2xx} 1 sum 14321 56:[1]",
		"http.upgrades{websocket,http/1.1} 1",
	}
	sort.Strings(want)
	if diff := cmp.Diff(want, closed(t, r, 5*time.Minute)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestConnectionsAndHandshakes(t *testing.T) {
	r := recorderAt(t)
	for range 3 {
		r.ConnOpened()
	}
	r.ConnClosed(ProtocolOf(2, 0), FamilyOf(&net.TCPAddr{IP: net.IPv6loopback}), 2, 1)
	r.ConnClosed(wire.Other, FamilyOf(&net.UnixAddr{}), 1, 1)
	r.Handshake(&Handshake{Version: 0x0304, Suite: 0x1301, Group: 4588, ALPN: "h2", SNI: true})
	r.Handshake(&Handshake{Version: 0x0303, Suite: 0xffff, ALPN: "spdy/3", Resumed: true})
	r.Add(wire.TelemetryDroppedWindows, wire.Dims{2}, 7)
	r.Add(wire.HTTPDuration, wire.Dims{}, 1)        // no counter
	r.Add(wire.InstancesActive, wire.Dims{}, 1)     // the server's
	r.Add(wire.MetricID(60_000), wire.Dims{1}, 1)   // nobody's
	r.Add(wire.HTTPPanics, wire.Dims{9999}, 1)      // other
	r.Observe(wire.HTTPPanics, wire.Dims{1}, 1)     // no histogram
	r.Observe(wire.HTTPFirstByte, wire.Dims{1}, 90) // a histogram
	if diff := cmp.Diff([]string{
		"connections.peak{} 3",
		"connections{http/2,ipv6,tls,site} 1",
		"connections{other,unix,plain,site} 1",
		"http.errors.panic{other} 1",
		"http.first_byte{http/1.0,other} 1 sum 90 26:[1]",
		"telemetry.dropped.windows{age} 7",
		"tls.alpn{h2} 1", "tls.alpn{other} 1",
		"tls.connections{TLS 1.2,other,resumed} 1",
		"tls.connections{TLS 1.3,TLS_AES_128_GCM_SHA256,full} 1",
		"tls.groups{X25519MLKEM768,TLS 1.3} 1", "tls.groups{none,TLS 1.2} 1",
		"tls.sni{absent} 1", "tls.sni{present} 1",
	}, closed(t, r, 5*time.Minute)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"connections.peak{} 1"}, closed(t, r, 10*time.Minute)); diff != "" {
		t.Errorf("the connection that is still open is not this window's peak (-want +got):\n%s", diff)
	}
}

// Values that no vocabulary has must count as other and touch nothing else.
func TestValuesOutOfRange(t *testing.T) {
	r := recorderAt(t)
	const far = math.MaxUint16
	r.Request(&Request{Protocol: far, Transport: far, Family: far, Role: far, Status: math.MaxInt, Upgrade: far, Upgraded: true, HandlerError: -5,
		RequestBytes: math.MaxInt64, ResponseBytes: math.MinInt64, Duration: math.MaxInt64, FirstByte: math.MinInt64, Panicked: true})
	r.ConnClosed(far, far, far, far)
	r.Handshake(&Handshake{Version: far, Suite: far, Group: far, ALPN: strings.Repeat("x", 300)})
	for _, l := range closed(t, r, 5*time.Minute) {
		_, cell, _ := strings.Cut(l, "{")
		cell, _, _ = strings.Cut(cell, "}")
		for _, v := range strings.Split(cell, ",") {
			switch v {
			case "other", "none", "full", "absent":
			default:
				t.Errorf("%s", l)
			}
		}
	}
}

func TestWindows(t *testing.T) {
	r := recorderAt(t)
	one := func() { r.Add(wire.HTTPPanics, wire.Dims{2}, 1) }
	window := func(start time.Duration, n uint64) *wire.Window {
		w := &wire.Window{Start: noon.Add(start).Unix(), Seconds: 300}
		if n > 0 {
			w.Series = []*wire.Series{{Metric: uint32(wire.HTTPPanics), Cells: []uint64{2}, Values: []uint64{n}}}
		}
		return w
	}
	check := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	at := func(d time.Duration) time.Time { return noon.Add(d) }
	const minute = time.Minute

	one()
	check("not ended", r.Close(at(5*minute-1)), []*wire.Window(nil))
	check("peek", r.Peek(at(4*minute)), window(0, 1))
	check("peek closes nothing", r.Peek(at(4*minute)), window(0, 1))
	one()
	check("ended", r.Close(at(5*minute)), []*wire.Window{window(0, 2)})
	check("closed once", r.Close(at(5*minute)), []*wire.Window(nil))
	check("empty", r.Close(at(10*minute+2)), []*wire.Window{window(5*minute, 0)})

	one()
	check("slept", r.Close(at(61*minute)), []*wire.Window{window(10*minute, 1)})
	check("after sleep", r.Peek(at(61*minute)), window(60*minute, 0))

	one()
	check("clock back", r.Close(at(31*minute)), []*wire.Window(nil))
	one()
	check("counted where the clock says", r.Close(at(35*minute)), []*wire.Window{window(30*minute, 2)})

	one()
	check("partial", r.ClosePartial(at(36*minute)), window(35*minute, 1))
	one()
	check("the rest of it", r.Close(at(40*minute)), []*wire.Window{window(35*minute, 1)})
	one()
	check("partial, late", r.ClosePartial(at(47*minute)), window(40*minute, 1))
	check("goes on in the present", r.Close(at(50*minute)), []*wire.Window{window(45*minute, 0)})
	one()
	check("partial, clock back", r.ClosePartial(at(2*minute)), window(0, 1))
}

// Windows of any length begin at multiples of it.
func TestWindowAlignment(t *testing.T) {
	for _, length := range []time.Duration{time.Second, 10 * time.Second, 5 * time.Minute, time.Hour} {
		now := noon.Add(7*time.Minute + 13*time.Second + 5)
		r, err := New(Options{Timing: wire.Timing{Window: length}, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		w := r.Close(now.Add(length))
		if len(w) != 1 || w[0].Start != now.Truncate(length).Unix() || int64(w[0].Seconds) != int64(length/time.Second) {
			t.Errorf("%s: %v", length, w)
		}
	}
}

func TestPeaks(t *testing.T) {
	r := recorderAt(t)
	for range 5 {
		r.Begin()
	}
	for range 3 {
		r.Request(&Request{})
	}
	peak := func(after time.Duration) string {
		t.Helper()
		for _, l := range closed(t, r, after) {
			if p, ok := strings.CutPrefix(l, "http.requests.peak{} "); ok {
				return p
			}
		}
		return "none"
	}
	if p := peak(5 * time.Minute); p != "5" {
		t.Errorf("the peak is %s, want 5", p)
	}
	r.Begin()
	if p := peak(10 * time.Minute); p != "3" {
		t.Errorf("the peak is %s, want the 2 that were still open and 1", p)
	}
	for range 3 {
		r.Request(&Request{})
	}
	peak(15 * time.Minute)
	if p := peak(20 * time.Minute); p != "none" {
		t.Errorf("the peak of an idle window is %s", p)
	}
}

// Every histogram's buckets are those of wire.Bucket, whatever the value.
func TestHistogramBuckets(t *testing.T) {
	r := recorderAt(t)
	want := make([]uint64, wire.Buckets)
	var sum uint64
	for i := range 64 {
		for _, v := range []int64{1<<i - 1, 1 << i, 1<<i + 1} {
			v = max(v, 0)
			r.Observe(wire.HTTPResponseBytes, wire.Dims{1, 1}, v)
			want[wire.Bucket(uint64(v))]++
			sum += uint64(v)
		}
	}
	w := r.Close(noon.Add(5 * time.Minute))[0]
	if diff := cmp.Diff([]*wire.Histogram{{Cell: uint64(wire.Dims{1, 1}.Cell()), Sum: sum, Buckets: want}}, w.Series[0].Histograms, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Requests from several goroutines while windows are closed: the windows together
// hold every event once.
func TestNothingLostOrDoubled(t *testing.T) {
	r := recorderAt(t)
	const goroutines, each = 8, 5_000
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Add(1)
		go func() {
			defer wg.Done()
			q := aRequest()
			for i := range each {
				q.Status = 200 + (g+i)%300
				q.Duration = time.Duration(i) * time.Microsecond
				r.Begin()
				r.Request(q)
				r.ConnOpened()
				r.ConnClosed(1, 1, 1, 1)
			}
		}()
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	totals := map[wire.MetricID]uint64{}
	var sum uint64
	count := func(w *wire.Window) {
		for _, s := range w.Series {
			if wire.MetricByID(wire.MetricID(s.Metric)).Kind == wire.KindPeak {
				continue
			}
			for _, v := range s.Values {
				totals[wire.MetricID(s.Metric)] += v
			}
			for _, h := range s.Histograms {
				for _, b := range h.Buckets {
					totals[wire.MetricID(s.Metric)] += b
				}
				if wire.MetricID(s.Metric) == wire.HTTPDuration {
					sum += h.Sum
				}
			}
		}
	}
	now := noon
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		now = now.Add(5 * time.Minute)
		for _, w := range r.Close(now) {
			count(w)
		}
	}
	// A sum that was read before its bucket waits for the next observation of its cell.
	for class := range wire.Value(6) {
		r.Observe(wire.HTTPDuration, wire.Dims{3, class}, 0)
	}
	count(r.ClosePartial(now))
	totals[wire.HTTPDuration] -= 6
	want := map[wire.MetricID]uint64{}
	for _, id := range []wire.MetricID{wire.HTTPRequests, wire.HTTPRequestsMethod, wire.HTTPRequestsTransport, wire.HTTPRequestBytes, wire.HTTPResponseBytes,
		wire.HTTPFirstByte, wire.HTTPDuration, wire.Connections, wire.ClientRequests, wire.ClientBrowsers, wire.ClientPlatforms} {
		want[id] = goroutines * each
	}
	if diff := cmp.Diff(want, totals); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if want := uint64(goroutines * each * (each - 1) / 2); sum != want {
		t.Errorf("the durations add up to %d, want %d", sum, want)
	}
	if r.inFlight.cur.Load() != 0 || r.open.cur.Load() != 0 {
		t.Errorf("%d requests and %d connections are still open", r.inFlight.cur.Load(), r.open.cur.Load())
	}
}

// A million different clients, methods, hosts and paths: the memory stays within
// its bound and the counts stay right.
func TestMemoryIsBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := recorderAt(t)
	collector := r.Collector()
	const million = 1_000_000
	q := &Request{Protocol: 2, Status: 404, Transport: 2, Family: 2, Role: 1}
	for i := range million {
		// Hosts and paths are no part of a Request: they can't get in. What of a
		// request a client can choose freely is its method and User-Agent.
		q.Method = fmt.Sprintf("M%d", i)
		q.UserAgent = fmt.Sprintf("Client-%d/%d (host%d.example/path/%d)", i, i, i, i)
		q.Status = 100 + i%500
		r.Begin()
		r.Request(q)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("the recorder holds %d bytes, want at most 4 MiB", grown)
	} else {
		t.Logf("the recorder holds %.2f MiB", float64(grown)/(1<<20))
	}
	var got uint64
	w := r.Close(noon.Add(5 * time.Minute))[0]
	for _, s := range w.Series {
		if wire.MetricID(s.Metric) == wire.HTTPRequestsMethod {
			for i, c := range s.Cells {
				if wire.Cell(c).Dims()[0] != wire.Other {
					t.Errorf("a method that nobody registered was counted as %d", wire.Cell(c).Dims()[0])
				}
				got += s.Values[i]
			}
		}
	}
	if got != million {
		t.Errorf("counted %d, want a million", got)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("with a window there are %d bytes, want at most 8 MiB", grown)
	}
	runtime.KeepAlive(collector)
	runtime.KeepAlive(w)
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	r := recorderAt(t)
	q := aRequest()
	h := &Handshake{Version: 0x0304, Suite: 0x1301, Group: 29, ALPN: "h2", SNI: true}
	addr := net.Addr(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80})
	uas := make([]string, 10_000) // more than the cache holds
	for i := range uas {
		uas[i] = fmt.Sprintf("App%d/1.0 (Linux; Android %d)", i, i)
	}
	i, sink := 0, wire.Other
	for name, f := range map[string]func(){
		"Begin and Request": func() { r.Begin(); r.Request(q) },
		"unknown clients":   func() { q.UserAgent = uas[i%len(uas)]; i++; r.Begin(); r.Request(q) },
		"connection":        func() { r.ConnOpened(); r.ConnClosed(1, 1, 1, 1) },
		"Handshake":         func() { r.Handshake(h) },
		"Add":               func() { r.Add(wire.TelemetryDroppedReports, wire.Dims{1}, 1) },
		"Observe":           func() { r.Observe(wire.HTTPDuration, wire.Dims{1, 2}, 77) },
		"mappers": func() {
			sink += FamilyOf(addr) + FamilyOfRemote("[2001:db8::1]:443") + MethodOf("PATCH") + ProtocolOf(2, 0)
		},
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
