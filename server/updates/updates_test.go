package updates

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

var (
	first  = wire.InstanceID{1}
	second = wire.InstanceID{2}
)

// A service plans one change, and builds it when it is asked for the second time.
type service struct {
	plans      atomic.Int64
	generation atomic.Int64
	built      atomic.Bool
	slow       chan struct{} // plans wait for it if there is one

	mu   sync.Mutex
	spec artifact.Spec
}

func (s *service) plan(ctx context.Context, c wire.Check, held []wire.ModuleVersion) (wire.Plan, error) {
	s.plans.Add(1)
	if s.slow != nil {
		select {
		case <-s.slow:
		case <-ctx.Done():
			return wire.Plan{}, ctx.Err()
		}
	}
	p := wire.Plan{Build: c.Build}
	if len(held) == 0 {
		p.Changes = []wire.Change{{Path: wire.CaddyPath, From: "v2.11.3", To: "v2.11.9", Kind: wire.ChangeCaddy}}
		p.Roots = []wire.ModuleVersion{{Path: wire.CaddyPath, Version: "v2.11.9"}, {Path: "example.com/plugin", Version: "v1.0.0"}, {Path: "golang.org/x/net", Version: "v0.60.0"}}
		p.Severity = wire.SeverityCritical
	}
	return p, nil
}

func (s *service) Target(_ context.Context, c wire.Check, _ wire.Plan, spec artifact.Spec) (*wire.Target, *wire.BuildProgress, error) {
	s.mu.Lock()
	s.spec = spec
	s.mu.Unlock()
	if s.built.Load() {
		return &wire.Target{Name: "caddy", SHA256: c.SHA256}, nil, nil
	}
	return nil, &wire.BuildProgress{ID: "1", State: "compiling"}, nil
}

func start(t *testing.T, s *service) *httptest.Server {
	t.Helper()
	u, err := New(Config{
		Plan: s.plan, Builds: s, Every: time.Hour, Planning: 1,
		Generation: func() string { return strconv.FormatInt(s.generation.Load(), 10) },
		Recipe: func(a artifact.Spec) artifact.Spec {
			a.Evergreen = "v1.2.3"
			return a
		},
		Held: func(id wire.InstanceID) []Held {
			if id == second {
				return []Held{{wire.CaddyPath, "v2.11.9", "its rollout is paused"}}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	u.Register(mux)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

func question1(scope wire.Scope) []byte {
	b, _ := json.Marshal(wire.Check{
		Build: wire.BuildList{Go: "go1.26.3", Modules: []wire.ModuleVersion{
			{Path: "example.com/plugin", Version: "v1.0.0", Plugin: true}, {Path: wire.EvergreenPath, Version: "v1.0.0", Plugin: true},
			{Path: wire.CaddyPath, Version: "v2.11.3"},
		}},
		System: wire.System{OS: "linux", Arch: "amd64", Kernel: "6.1"}, Scope: scope, SHA256: strings.Repeat("ab", 32),
	})
	return b
}

func ask(t *testing.T, srv *httptest.Server, body []byte, id wire.InstanceID, etag string) (int, http.Header, wire.Answer) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+wire.PathCheck, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(wire.HeaderInstance, id.String())
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a wire.Answer
	if resp.StatusCode < 300 {
		if err := json.Unmarshal(b, &a); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
	}
	return resp.StatusCode, resp.Header, a
}

func TestCheck(t *testing.T) {
	s := &service{}
	srv := start(t, s)
	body := question1(wire.ScopeAll)

	status, h, a := ask(t, srv, body, first, "")
	if status != http.StatusAccepted || !a.NeedsUpdate || a.Build == nil || a.Target != nil {
		t.Fatalf("while it is built: %d %+v", status, a)
	}
	if n, _ := strconv.Atoi(h.Get("Retry-After")); n < 28 || n > 32 {
		t.Errorf("ask again in %q seconds, not in about 30", h.Get("Retry-After"))
	}
	want := artifact.Spec{
		Go: "go1.26.3", System: wire.System{OS: "linux", Arch: "amd64"}, Caddy: "v2.11.9", Evergreen: "v1.2.3",
		Plugins:  []wire.ModuleVersion{{Path: "example.com/plugin", Version: "v1.0.0"}},
		Requires: []wire.ModuleVersion{{Path: "golang.org/x/net", Version: "v0.60.0"}},
	}
	if d := cmp.Diff(want, s.spec); d != "" {
		t.Error(d)
	}

	s.built.Store(true)
	s.generation.Add(1) // as a finished build does
	status, h, a = ask(t, srv, body, first, "")
	if status != http.StatusOK || a.Target == nil || a.Target.SHA256 != strings.Repeat("ab", 32) {
		t.Fatalf("when it is built: %d %+v", status, a)
	}
	if n, _ := strconv.Atoi(h.Get("Retry-After")); n < 3420 || n > 3780 || a.RetryAfter != 3600 {
		t.Errorf("ask again in %q seconds, and %d", h.Get("Retry-After"), a.RetryAfter)
	}
	plans := s.plans.Load()
	if status, _, _ = ask(t, srv, body, first, h.Get("ETag")); status != http.StatusNotModified {
		t.Errorf("the same again: %d", status)
	}
	if s.plans.Load() != plans {
		t.Error("the same was planned twice")
	}

	if _, _, a = ask(t, srv, body, second, ""); a.NeedsUpdate || a.Held != wire.CaddyPath+" v2.11.9: its rollout is paused" {
		t.Errorf("held: %+v", a)
	}
	if _, _, a = ask(t, srv, question1(wire.ScopeNone), first, ""); a.NeedsUpdate || a.Plan != nil {
		t.Errorf("none: %+v", a)
	}
}

// A fleet that asks at once is planned for once.
func TestCrowd(t *testing.T) {
	s := &service{slow: make(chan struct{})}
	s.built.Store(true)
	srv := start(t, s)
	body := question1(wire.ScopeAll)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if status, _, a := ask(t, srv, body, first, ""); status != http.StatusOK || a.Target == nil {
				t.Errorf("%d %+v", status, a)
			}
		})
	}
	for s.plans.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	close(s.slow)
	wg.Wait()
	if n := s.plans.Load(); n != 1 {
		t.Errorf("%d plans for one question", n)
	}
}

// Planning is bounded: who comes when too many wait is told to come again.
func TestBusy(t *testing.T) {
	s := &service{slow: make(chan struct{})}
	srv := start(t, s)
	var busy, answered atomic.Int64
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			body := bytes.Replace(question1(wire.ScopeAll), []byte("v2.11.3"), []byte("v2.11."+strconv.Itoa(100+i)), 1)
			switch status, h, _ := ask(t, srv, body, first, ""); status {
			case http.StatusServiceUnavailable:
				if h.Get("Retry-After") == "" {
					t.Error("when to come again is not told")
				}
				busy.Add(1)
			case http.StatusAccepted:
				answered.Add(1)
			default:
				t.Errorf("status %d", status)
			}
		})
	}
	for busy.Load() < 29 { // all but the eleven that may wait
		time.Sleep(time.Millisecond)
	}
	close(s.slow)
	wg.Wait()
	if busy.Load() != 29 || answered.Load() != 11 {
		t.Errorf("%d were told to come again, %d answered", busy.Load(), answered.Load())
	}
}

// Who asks for what takes long is told to ask again, and then finds the answer.
func TestLong(t *testing.T) {
	s := &service{slow: make(chan struct{})}
	s.built.Store(true)
	u, err := New(Config{Plan: s.plan, Builds: s, Generation: func() string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	u.wait = time.Millisecond
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		u.check(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, wire.PathCheck, bytes.NewReader(question1(wire.ScopeAll))))
		return w
	}
	if w := ask(); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "being made") || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	close(s.slow)
	u.wait = time.Minute
	if w := ask(); w.Code != http.StatusOK || s.plans.Load() != 1 {
		t.Errorf("%d %s after %d plans", w.Code, w.Body, s.plans.Load())
	}
}

// A check that a planner panics at is answered, and the server goes on.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	u, err := New(Config{
		Plan: func(_ context.Context, c wire.Check, _ []wire.ModuleVersion) (wire.Plan, error) {
			if c.Scope == wire.ScopeAll {
				panic("a plan that nobody thought of")
			}
			return wire.Plan{Build: c.Build}, nil
		},
		Generation: func() string { return "" }, Planning: 1, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	u.Register(mux)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for range 20 { // more than may plan and wait
		if status, _, _ := ask(t, srv, question1(wire.ScopeAll), first, ""); status != http.StatusInternalServerError {
			t.Errorf("status %d", status)
		}
	}
	if status, _, a := ask(t, srv, question1(wire.ScopeCritical), first, ""); status != http.StatusOK || a.NeedsUpdate {
		t.Errorf("%d %+v", status, a)
	}
	srv.Close() // the log is written no more
	if !strings.Contains(log.String(), "nobody thought of") {
		t.Errorf("the log has no cause: %s", log.String())
	}
}

func TestRefused(t *testing.T) {
	srv := start(t, &service{})
	for name, body := range map[string]string{
		"no JSON": "x", "unknown field": `{"x":1}`, "empty": "", "large": strings.Repeat(" ", wire.MaxBody+1),
		"no build list": `{"system":{"os":"linux","arch":"amd64"},"scope":"all"}`,
	} {
		resp, err := http.Post(srv.URL+wire.PathCheck, wire.TypeJSON, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		var p wire.Problem
		err = json.NewDecoder(resp.Body).Decode(&p)
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || err != nil || p.Detail == "" || resp.Header.Get("Content-Type") != wire.TypeProblem {
			t.Errorf("%s: %d %+v %v", name, resp.StatusCode, p, err)
		}
	}
}

// A sender who asks too much is told when to come again; what is answered, and
// from where, is counted.
func TestLimitAndMetrics(t *testing.T) {
	s := &service{}
	s.built.Store(true)
	registry := prometheus.NewRegistry()
	var wait time.Duration
	u, err := New(Config{
		Plan: s.plan, Builds: s, Generation: func() string { return "" }, Registerer: registry,
		Limit: func(*http.Request) time.Duration { return wait },
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	u.Register(mux)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	body := question1(wire.ScopeAll)
	_, h, _ := ask(t, srv, body, first, "")
	ask(t, srv, body, first, "")
	ask(t, srv, body, first, h.Get("ETag"))
	ask(t, srv, question1(wire.ScopeNone), first, "")
	ask(t, srv, []byte("{"), first, "")
	wait = 1500 * time.Millisecond
	if status, h, _ := ask(t, srv, body, first, ""); status != http.StatusTooManyRequests || h.Get("Retry-After") != "2" || h.Get("Content-Type") != wire.TypeProblem {
		t.Errorf("%d %v", status, h)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := strings.TrimPrefix(f.GetName(), "evergreen_updates_")
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			switch {
			case m.Counter != nil:
				got[name] = m.Counter.GetValue()
			case m.Gauge != nil:
				got[name] = m.Gauge.GetValue()
			case m.Histogram != nil:
				got[name] = float64(m.Histogram.GetSampleCount())
			}
		}
	}
	want := map[string]float64{
		"checks_total current": 1, "checks_total limited": 1, "checks_total refused": 1, "checks_total target": 2, "checks_total unchanged": 1,
		"answers_total made": 2, "answers_total memory": 2, "answers": 2, "planning": 0, "check_seconds": 6, "plan_seconds": 1,
	}
	bytes := got["answers_bytes"]
	delete(got, "answers_bytes")
	if d := cmp.Diff(want, got); d != "" || bytes == 0 {
		t.Errorf("%v bytes of answers; metrics (-want +got):\n%s", bytes, d)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	a := newAnswers()
	now := time.Now()
	for i := range 3 * maxAnswers {
		a.put(&encoded{question: question{byte(i), byte(i >> 8)}, good: now.Add(time.Hour), body: make([]byte, 1000)})
	}
	if n := a.order.Len(); n != maxAnswers || len(a.known) != n || a.bytes != 1000*n {
		t.Errorf("%d answers, %d known, %d bytes", n, len(a.known), a.bytes)
	}
	a.put(&encoded{good: now.Add(time.Hour), body: make([]byte, maxAnswerBytes)})
	if a.bytes > maxAnswerBytes {
		t.Errorf("%d bytes are kept", a.bytes)
	}
}

func BenchmarkCheck(b *testing.B) {
	s := &service{}
	s.built.Store(true)
	u, err := New(Config{Plan: s.plan, Builds: s, Generation: func() string { return "" }})
	if err != nil {
		b.Fatal(err)
	}
	c := wire.Check{
		Build: wire.BuildList{Go: "go1.26.3", Modules: []wire.ModuleVersion{{Path: wire.CaddyPath, Version: "v2.11.3"}}}, System: wire.System{OS: "linux", Arch: "amd64"}, Scope: wire.ScopeAll,
	}
	for i := range 130 { // as many modules as a stock Caddy has
		c.Build.Modules = append(c.Build.Modules, wire.ModuleVersion{Path: "github.com/someone/module" + strconv.Itoa(1000+i), Version: "v1.2.3"})
	}
	body, err := json.Marshal(c)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		u.check(w, httptest.NewRequestWithContext(b.Context(), http.MethodPost, wire.PathCheck, bytes.NewReader(body)))
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}
