//go:build e2e

package bridge

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/quic-go/quic-go/http3"
)

// load is clients of all kinds, each of which checks what it is answered.
type load struct {
	stop   chan struct{}
	all    sync.WaitGroup
	counts map[string]*[2]atomic.Int64 // done, failed
	mu     sync.Mutex
	first  []error
	stall  atomic.Int64 // longest of HTTP/3, nanoseconds
}

func (s *server) load() *load {
	l := &load{stop: make(chan struct{}), counts: map[string]*[2]atomic.Int64{}}
	insecure := &tls.Config{InsecureSkipVerify: true}
	plain, secure := "http://"+s.spec.Plain, "https://"+s.spec.Secure
	transport := func() *http.Transport {
		return &http.Transport{TLSClientConfig: insecure.Clone(), MaxIdleConnsPerHost: 100}
	}
	h2 := func() *http.Transport {
		t := transport()
		t.ForceAttemptHTTP2 = true
		return t
	}
	fresh := transport()
	fresh.DisableKeepAlives = true
	post := func(t http.RoundTripper, url string) func() error {
		body := bytes.Repeat([]byte("evergreen"), 500)
		return func() error {
			req, err := http.NewRequest("POST", url+"/echo", bytes.NewReader(body))
			if err != nil {
				return err
			}
			if _, three := t.(*http3.Transport); !three && strings.HasPrefix(url, "http:") {
				req.GetBody = nil // can't be sent again: a failure shows
			}
			return expect(t, req, body)
		}
	}
	get := func(t http.RoundTripper, url string, body []byte) func() error {
		return func() error {
			req, err := http.NewRequest("GET", url, nil)
			if err != nil {
				return err
			}
			return expect(t, req, body)
		}
	}
	var slow []byte
	for i := range 12 {
		slow = fmt.Appendf(slow, "%1000d", i)
	}
	three := &http3.Transport{TLSClientConfig: insecure.Clone()}
	s.t.Cleanup(func() { three.Close() })
	l.run("new connection", 3, get(fresh, plain, nil))
	l.run("new TLS connection", 1, get(fresh, secure, nil))
	l.run("keep-alive GET", 3, get(transport(), plain, nil))
	l.run("keep-alive POST", 4, post(transport(), plain))
	l.run("HTTP/2 GET", 3, get(h2(), secure, nil))
	l.run("HTTP/2 POST", 2, post(h2(), secure))
	l.run("slow download", 2, get(fresh, plain+"/slow", slow))
	l.run("HTTP/2 slow download", 2, get(h2(), secure+"/slow", slow))
	h3get := get(three, secure, nil)
	l.run("HTTP/3", 2, func() error {
		began := time.Now()
		err := h3get()
		took := int64(time.Since(began))
		for was := l.stall.Load(); took > was && !l.stall.CompareAndSwap(was, took); was = l.stall.Load() {
		}
		return err
	})
	return l
}

func expect(t http.RoundTripper, req *http.Request, body []byte) error {
	ctx, cancel := context.WithTimeout(req.Context(), 30*time.Second)
	defer cancel()
	r, err := t.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && body != nil && !bytes.Equal(b, body) {
		err = fmt.Errorf("%d bytes that aren't the %d expected", len(b), len(body))
	}
	if err == nil && r.StatusCode != 200 {
		err = errors.New(r.Status)
	}
	return err
}

func (l *load) run(kind string, workers int, do func() error) {
	count := new([2]atomic.Int64)
	l.counts[kind] = count
	for range workers {
		l.all.Add(1)
		go func() {
			defer l.all.Done()
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				err := do()
				count[0].Add(1)
				if err != nil {
					count[1].Add(1)
					l.mu.Lock()
					if len(l.first) < 20 {
						l.first = append(l.first, fmt.Errorf("%s: %w", kind, err))
					}
					l.mu.Unlock()
				}
				time.Sleep(5 * time.Millisecond) // the machine has others to serve
			}
		}()
	}
}

// end ends the load and returns how many failed, by kind, HTTP/3 apart.
func (l *load) end(t *testing.T) map[string]int64 {
	t.Helper()
	close(l.stop)
	l.all.Wait()
	failed := map[string]int64{}
	for kind, c := range l.counts {
		t.Logf("%-22s %6d done, %d failed", kind, c[0].Load(), c[1].Load())
		if c[0].Load() == c[1].Load() {
			t.Errorf("%s: nothing succeeded", kind)
		}
		if n := c[1].Load(); n > 0 && kind != "HTTP/3" {
			failed[kind] = n
		}
	}
	t.Logf("HTTP/3's longest stall: %v", time.Duration(l.stall.Load()).Round(time.Millisecond))
	for _, err := range l.first {
		t.Log(err)
	}
	return failed
}

// TestE2ESwitchUnderLoad: no request fails but, perhaps, HTTP/3's.
func TestE2ESwitchUnderLoad(t *testing.T) {
	for _, tt := range []struct {
		name  string
		mptcp bool
	}{{"plain listeners", false}, {"Multipath TCP listeners", true}} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, func(s *spec) { s.MPTCP, s.Settle = tt.mptcp, settleRemote })
			l := s.load()
			for i := range switches(t) {
				s.become(fmt.Sprint("image ", i+2))
			}
			if d := cmp.Diff(map[string]int64{}, l.end(t)); d != "" {
				t.Errorf("failed requests (-want +got):\n%s", d)
			}
		})
	}
}

// switches in a row: EVERGREEN_SWITCHES, or a few.
func switches(t *testing.T) int {
	v := os.Getenv("EVERGREEN_SWITCHES")
	if v == "" {
		return 3
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("EVERGREEN_SWITCHES=%s is no number of switches", v)
	}
	return n
}

// TestE2EFailuresUnderLoad: a switch that fails harms no request either.
func TestE2EFailuresUnderLoad(t *testing.T) {
	s := startServer(t, func(s *spec) { s.Settle = settleRemote })
	l := s.load()
	for _, f := range failures(t) {
		t.Run(f.name, func(t *testing.T) { s.fail(f) })
	}
	for _, fault := range []string{"hang", "fail"} {
		t.Run("next image: "+fault, func(t *testing.T) {
			before := strings.TrimSuffix(s.who(), fmt.Sprintf(" in %d", s.pid))
			s.order(order{Next: "failed", NextFault: fault, Patience: 20 * time.Second})
			s.until("it is what it was", func() bool { return s.who() == s.is(before+" again") && s.alone() })
		})
	}
	if d := cmp.Diff(map[string]int64{}, l.end(t)); d != "" {
		t.Errorf("failed requests (-want +got):\n%s", d)
	}
}
