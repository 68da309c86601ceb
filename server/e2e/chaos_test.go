//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/reporter"
	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A witness stands between instances and the server, passes everything on, and
// remembers what was acknowledged.
type witness struct {
	*httptest.Server
	mu    sync.Mutex
	acked map[string]map[uint64]uint64 // instance → report number → requests in it
	sent  map[string]map[uint64]string // instance → report number → content
	twice []string                     // numbers that were used for two contents

	incidents map[uint64]*wire.Incident // by number, in the state of the last acknowledged report
}

func startWitness(t *testing.T, srv *server) *witness {
	t.Helper()
	target, err := url.Parse(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{acked: map[string]map[uint64]uint64{}, sent: map[string]map[uint64]string{}, incidents: map[uint64]*wire.Incident{}}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = zap.NewStdLog(zap.NewNop())
	proxy.ErrorHandler = func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) }
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != wire.PathReports {
			proxy.ServeHTTP(rw, r)
			return
		}
		w.report(rw, r, proxy)
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *witness) report(rw http.ResponseWriter, r *http.Request, next http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	key, _ := hex.DecodeString(r.Header.Get(wire.HeaderKey))
	id := wire.IDOf(key).String()
	report, err := ingestlog.Record{MediaType: wire.TypeProtobuf, Body: body}.Report()
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	content := windowsOf(report)
	w.mu.Lock()
	if w.sent[id] == nil {
		w.sent[id], w.acked[id] = map[uint64]string{}, map[uint64]uint64{}
	}
	if before, ok := w.sent[id][report.Number]; ok && before != content {
		w.twice = append(w.twice, fmt.Sprintf("%s #%d", id, report.Number))
	}
	w.sent[id][report.Number] = content
	w.mu.Unlock()

	recorded := httptest.NewRecorder()
	again := r.Clone(r.Context())
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	next.ServeHTTP(recorded, again)
	if recorded.Code == http.StatusOK {
		w.mu.Lock()
		w.acked[id][report.Number] = requestsIn(report)
		for _, win := range report.Windows {
			for _, in := range win.Incidents {
				w.incidents[in.Number] = in
			}
		}
		w.mu.Unlock()
	}
	for k, v := range recorded.Header() {
		rw.Header()[k] = v
	}
	rw.WriteHeader(recorded.Code)
	_, _ = rw.Write(recorded.Body.Bytes())
}

// total is the number of requests in all reports that were acknowledged.
func (w *witness) total() (requests uint64, reports int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, numbers := range w.acked {
		for _, n := range numbers {
			requests += n
			reports++
		}
	}
	return requests, reports
}

func requestsIn(r *wire.Report) (n uint64) {
	for _, w := range r.Windows {
		for _, s := range w.Series {
			if s.Metric == uint32(wire.HTTPRequests) {
				for _, v := range s.Values {
					n += v
				}
			}
		}
	}
	return n
}

func windowsOf(r *wire.Report) string {
	b, err := json.Marshal(r.Windows)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// chaosKills is how often each side is killed: 6 times, or EVERGREEN_CHAOS.
func chaosKills(t *testing.T) int {
	s := os.Getenv("EVERGREEN_CHAOS")
	if s == "" {
		return 6
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 500 {
		t.Fatalf("EVERGREEN_CHAOS is %q: set a number of kills from 1 to 500", s)
	}
	return n
}

// TestE2EChaosServer kills the server again and again while instances report.
// Nobody else dies, so every request ever counted must be in the store, once.
func TestE2EChaosServer(t *testing.T) {
	kills := chaosKills(t)
	srv := startServer(t)
	w := startWitness(t, srv)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	counting, stopCounting := context.WithCancel(ctx)
	defer stopCounting()
	var fleet, counters sync.WaitGroup
	var counted sync.Map // instance's index → requests
	for i := range 12 {
		rec, err := recorder.New(recorder.Options{Timing: shortened(t)})
		if err != nil {
			t.Fatal(err)
		}
		rep, err := reporter.New(reporter.Config{
			Endpoint: w.URL, Dir: filepath.Join(t.TempDir(), "evergreen"), Windows: rec, Timing: shortened(t), Log: zap.NewNop(),
			Facts: func() *wire.Facts { return &wire.Facts{CaddyVersion: "v2.11.9"} },
		})
		if err != nil {
			t.Fatal(err)
		}
		fleet.Go(func() { _ = rep.Run(ctx) })
		counters.Go(func() {
			n := uint64(0)
			for counting.Err() == nil {
				for range 50 {
					rec.Begin()
					rec.Request(&recorder.Request{Protocol: wire.Protocol.Value("http/2"), Method: "GET", Status: 200, Role: wire.Role.Value("site")})
					n++
				}
				counted.Store(i, n)
				time.Sleep(time.Duration(5+i) * time.Millisecond)
			}
		})
	}
	for range kills {
		time.Sleep(time.Duration(200+rand.IntN(1500)) * time.Millisecond)
		srv.Kill()
		if err := srv.Start(); err != nil {
			t.Fatal(err)
		}
	}
	stopCounting()
	counters.Wait()
	var want uint64
	counted.Range(func(_, n any) bool { want += n.(uint64); return true })
	eventually(t, 2*time.Minute, func() error {
		if acked, _ := w.total(); acked != want {
			return fmt.Errorf("%d requests were counted, %d are acknowledged", want, acked)
		}
		return nil
	})
	cancel()
	fleet.Wait()
	_, reports := w.total()
	t.Logf("%d kills; %d requests in %d acknowledged reports", kills, want, reports)
	if len(w.twice) > 0 {
		t.Errorf("numbers used for two contents: %v", w.twice)
	}
	checkStored(t, srv, w)
}

// TestE2EChaosCaddy kills Caddy again and again under load. What was not yet
// in a closed window dies with it; what was acknowledged counts once.
func TestE2EChaosCaddy(t *testing.T) {
	kills := chaosKills(t)
	exe := caddyWith(t, caddyVersions[len(caddyVersions)-1])
	srv := startServer(t)
	w := startWitness(t, srv)
	dir := filepath.Join(t.TempDir(), "caddy")
	ports, err := testbed.PickPorts()
	if err != nil {
		t.Fatal(err)
	}
	env := append([]string{"EVERGREEN_ENDPOINT=" + w.URL}, shortTiming...)
	start := func() *testbed.Caddy {
		c, err := testbed.StartCaddy(t.Context(), exe, dir, testbed.Site(ports), ports, env...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	caddy := start()
	visitors, err := testbed.NewVisitors(t.Context(), caddy, 200)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		visitors.Run(ctx)
		close(ended)
	}()
	for range kills {
		time.Sleep(time.Duration(500+rand.IntN(3000)) * time.Millisecond)
		caddy.Kill()
		caddy = start()
	}
	time.Sleep(5 * time.Second)
	cancel()
	<-ended
	if err := caddy.Stop(); err != nil {
		t.Error(err)
	}
	acked, reports := w.total()
	t.Logf("%d kills; %d requests in %d acknowledged reports of %d identities", kills, acked, reports, len(w.acked))
	if acked == 0 || len(w.acked) != 1 {
		t.Errorf("%d requests were acknowledged, of %d instances; want some, of one", acked, len(w.acked))
	}
	if len(w.twice) > 0 {
		t.Errorf("numbers used for two contents: %v", w.twice)
	}
	checkStored(t, srv, w)
}

// checkStored compares the store's sums with what the witness saw acknowledged.
func checkStored(t *testing.T, srv *server, w *witness) {
	t.Helper()
	acked, _ := w.total()
	eventually(t, 60*time.Second, func() error {
		a, err := srv.query(t.Context(), "http.requests")
		if err == nil && a.Total != acked {
			err = fmt.Errorf("%d requests were acknowledged, %d are in the store", acked, a.Total)
		}
		return err
	})
	// Nothing may arrive late, either.
	time.Sleep(3 * time.Second)
	a, err := srv.query(t.Context(), "http.requests")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(acked, a.Total); diff != "" {
		t.Errorf("acknowledged and stored differ (-acked +stored):\n%s", diff)
	}
}

func shortened(t *testing.T) wire.Timing {
	t.Helper()
	timing, err := wire.TimingFromEnv(func(k string) string {
		return map[string]string{"EVERGREEN_WINDOW": "2s", "EVERGREEN_NOTICE": "0s", "EVERGREEN_REPORT_EVERY": "2s"}[k]
	})
	if err != nil {
		t.Fatal(err)
	}
	return timing
}
