package evergreen

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-evergreen/evergreen/updater/watch"
)

// What a watch judges by is counted of real requests over each protocol.
func TestWatchingCounts(t *testing.T) {
	s, c := newSite(t, "", `
	respond /ok "fine"
	error /error 503
	misbehave /panic panic
	misbehave /hang hang
	misbehave /stream stream
	`)
	mustLoad(t, c)
	w, err := newWatching(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w.count(currentProcess(), true)
	for _, protocol := range []string{"plain", "http/1.1", "http/2", "http/3"} {
		cl, end := client(t, protocol)
		get(t, cl, "GET", s.url(protocol, "/ok"), nil)
		get(t, cl, "GET", s.url(protocol, "/error"), nil)
		req, _ := http.NewRequestWithContext(t.Context(), "POST", s.url(protocol, "/panic"), nil)
		if resp, err := cl.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("%s: a panic was answered with %d", protocol, resp.StatusCode)
		}
		for _, path := range []string{"/hang", "/stream"} {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-waiting; cancel() }()
			req, _ := http.NewRequestWithContext(ctx, "GET", s.url(protocol, path), nil)
			if resp, err := cl.Do(req); err == nil {
				_, _ = resp.Body.Read(make([]byte, 1))
				resp.Body.Close()
			}
		}
		end()
	}
	// Of the failures, only those that may be the server's.
	if conn, err := tls.Dial("tcp", "127.0.0.1:"+s.https, &tls.Config{ServerName: "other.example", InsecureSkipVerify: true}); err == nil { //nolint:gosec // no trust is needed
		conn.Close()
		t.Error("there is a certificate for any name")
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+s.https)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	_, _ = conn.Read(make([]byte, 100))
	conn.Close()

	counts := watch.Counts{Begun: 20, Answered: 20, Errors: 8, Panics: 4}
	want := watch.Sample{Total: counts, Sites: make([]watch.Counts, watch.Sites), HandshakeFailures: 1}
	want.Sites[w.tally.Slot("LOCALHOST:80")] = counts
	var diff string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		got := w.sample()
		if got.Memory.Resident == 0 {
			t.Fatal("no memory is known")
		}
		// How many connections a client makes is its own affair.
		if got.Handshakes < 3 {
			continue
		}
		got.Time, got.Memory, got.Handshakes = time.Time{}, watch.Memory{}, 0
		for _, c := range append([]*watch.Counts{&got.Total}, pointers(got.Sites)...) {
			c.Slow = want.Total.Slow // the machine's affair
		}
		if diff = cmp.Diff(want, got); diff == "" {
			return
		}
	}
	t.Errorf("counts (-want +got):\n%s", diff)
}

func pointers(c []watch.Counts) (p []*watch.Counts) {
	for i := range c {
		p = append(p, &c[i])
	}
	return p
}

// A real Caddy that answers 500 from the switch on is found out, and what is
// usual comes from a file that another process wrote.
func TestWatchingFindsHarm(t *testing.T) {
	s, c := newSite(t, "", `error 500`)
	mustLoad(t, c)
	dir := t.TempDir()
	before, err := newWatching(dir)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Hour)
	for i := range 60 {
		for range 100 {
			before.tally.Begin(1)
			before.tally.Answer(1, time.Millisecond, http.StatusOK)
		}
		before.baseline.Observe(before.tally.Sample(at.Add(time.Duration(i)*time.Minute), watch.ReadMemory()))
	}
	if err := before.save(); err != nil {
		t.Fatal(err)
	}
	w, err := newWatching(dir)
	if err != nil {
		t.Fatal(err)
	}
	w.count(currentProcess(), true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		cl, end := client(t, "plain")
		defer end()
		for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
			if resp, err := cl.Get(s.url("plain", "/")); err == nil {
				resp.Body.Close()
			}
		}
	}()
	harm, err := w.watch(ctx, 0)
	if err != nil || !strings.HasPrefix(harm, "5xx rate 100.0 % (baseline 0 %, ") {
		t.Errorf("%q, %v", harm, err)
	}
	cancel()
	if _, err := w.watch(ctx, 0); err == nil {
		t.Error("a watch that was ended says that there was no harm")
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); !cmp.Equal(names, []string{filepath.Join(dir, "baseline.json")}) {
		t.Errorf("beside the baseline there is: %v", names)
	}
}

// Listeners are asked without that a handler hears of it, and one that stops to
// answer is harm; one that never did is not.
func TestSelfCheck(t *testing.T) {
	s, c := newSite(t, "", `respond "fine"`)
	mustLoad(t, c)
	w, err := newWatching(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w.count(currentProcess(), true)
	listeners := liveListeners()
	if want := []string{"tcp/127.0.0.1:" + s.http, "tcp/127.0.0.1:" + s.https}; !cmp.Equal(want, listeners, cmpopts.SortSlices(func(a, b string) bool { return a < b })) {
		t.Errorf("listeners %v, want %v", listeners, want)
	}
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // closes each connection
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	go func() {
		for {
			conn, err := deaf.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	check := &selfCheck{listeners: func() []string { return append(liveListeners(), "tcp/"+deaf.Addr().String()) }}
	ctx, cancel := context.WithCancel(t.Context())
	check.once(ctx)
	for _, l := range listeners {
		if n, answered := check.failed[l]; !answered || n != 0 {
			t.Errorf("%s did not answer", l)
		}
	}
	if got := w.sample().Total; got != (watch.Counts{}) {
		t.Errorf("a handler ran: %+v", got)
	}
	stop(t, s)
	check.listeners = func() []string { return listeners }
	for range checksFailed {
		if harm := check.found(); harm != "" {
			t.Errorf("too early: %s", harm)
		}
		check.once(ctx)
	}
	if harm := check.found(); !strings.Contains(harm, "answered before") {
		t.Errorf("harm is %q", harm)
	}
	cancel()
	check.run(ctx) // returns
}

// Without telemetry the same is counted of HTTP/1 and HTTP/2, and nothing is in
// the way of what handlers do.
func TestWatchingAlone(t *testing.T) {
	tally := watch.NewTally(1)
	work := map[string]http.HandlerFunc{
		"/ok":     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") },
		"/silent": func(http.ResponseWriter, *http.Request) {},
		"/error":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"/early": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
		},
		"/panic":  func(http.ResponseWriter, *http.Request) { panic("as the test asked") },
		"/abort":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"/flush":  func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); panic("late") },
		"/copied": func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, strings.NewReader("fine")) },
		"/hijack": func(w http.ResponseWriter, _ *http.Request) {
			h, ok := w.(http.Hijacker)
			if !ok {
				w.WriteHeader(http.StatusNotImplemented)
				return
			}
			if conn, _, err := h.Hijack(); err == nil {
				_, _ = conn.Write([]byte("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"))
				conn.Close()
			}
		},
	}
	h := &aloneHandler{func() *watch.Tally { return tally }, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { work[r.URL.Path](w, r) })}
	want := watch.Counts{}
	for _, http2 := range []bool{false, true} {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.EnableHTTP2 = http2
		s.StartTLS()
		defer s.Close()
		for path, status := range map[string]int{
			"/ok": 200, "/silent": 200, "/error": 502, "/early": 418, "/copied": 200, "/hijack": 204, "/panic": 0, "/abort": 0, "/flush": 200,
		} {
			want.Begun, want.Answered = want.Begun+1, want.Answered+1
			if http2 && path == "/hijack" {
				status = 501
			}
			if status >= 500 {
				want.Errors++
			}
			if path == "/panic" {
				want.Errors++
			}
			if path == "/panic" || path == "/flush" {
				want.Panics++
			}
			resp, err := s.Client().Post(s.URL+path, "", nil) // what is not sent twice
			if err != nil {
				if status != 0 {
					t.Errorf("%s: %v", path, err)
				}
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != status {
				t.Errorf("%s is answered with %d, want %d", path, resp.StatusCode, status)
			}
		}
	}
	got := tally.Sample(time.Time{}, watch.Memory{}).Total
	got.Slow = want.Slow // the machine's affair
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("counts (-want +got):\n%s", d)
	}
}

// Where updates are installed, requests are counted for them whether telemetry
// is on or off; where they are only told of, they are not.
func TestWatchingInCaddy(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(root, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		telemetry, mode string
		want            watch.Counts
	}{
		"telemetry on, installed":  {"on", "install", watch.Counts{Begun: 3, Answered: 3, Errors: 1}},
		"telemetry off, installed": {"off", "install", watch.Counts{Begun: 3, Answered: 3, Errors: 1}},
		"telemetry on, told of":    {"on", "notify", watch.Counts{}},
		"telemetry off, told of":   {"off", "notify", watch.Counts{}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(filepath.Join(caddy.AppDataDir(), "evergreen")); err != nil {
				t.Fatal(err)
			}
			nobody := "http://127.0.0.1:" + freePort(t)
			s, conf := newSite(t, fmt.Sprintf("evergreen {\n telemetry %s\n endpoint %s\n updates all %s {\n server %s\n root %s\n }\n}", c.telemetry, nobody, c.mode, nobody, root),
				"respond /ok fine\nerror /error 500")
			mustLoad(t, conf)
			u := currentUpdates()
			if u == nil {
				t.Fatal("there are no updates")
			}
			for protocol, path := range map[string]string{"plain": "/ok", "http/1.1": "/ok", "http/2": "/error"} {
				cl, end := client(t, protocol)
				get(t, cl, "GET", s.url(protocol, path), nil)
				end()
			}
			eventually(t, "requests are counted", func() bool {
				got := u.watching.sample().Total
				got.Slow = c.want.Slow // the machine's affair
				return got == c.want
			})
		})
	}
}
