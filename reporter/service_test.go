package reporter

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A service is a collector whose answers are scripted. It checks all that it
// gets as the real one does.
type service struct {
	t *testing.T

	mu      sync.Mutex
	script  []http.HandlerFunc // the next answers; when they are used up, reports are accepted
	every   int64              // Ack.ReportEvery
	arrived []arrival          // every report that came, accepted or not
	model   *model
	forgot  []string
}

type arrival struct {
	at       time.Time
	instance string
	number   uint64
	windows  int
}

func newService(t *testing.T, script ...http.HandlerFunc) *service {
	return &service{t: t, script: script, every: 300, model: newModel(t)}
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, _ := hex.DecodeString(r.Header.Get(wire.HeaderKey))
	sig, _ := hex.DecodeString(r.Header.Get(wire.HeaderSignature))
	if ua := r.UserAgent(); ua != "evergreen/v1.2.3" {
		s.t.Errorf("User-Agent is %q", ua)
	}
	if r.Method != http.MethodPost {
		s.t.Errorf("method is %s", r.Method)
	}
	if strings.HasSuffix(r.URL.Path, wire.PathForget) {
		if err := wire.Verify(key, wire.PurposeForget, body, sig); err != nil {
			s.t.Error(err)
		}
		var f wire.Forget
		if err := json.Unmarshal(body, &f); err != nil || f.Instance != wire.IDOf(key).String() || r.Header.Get("Content-Type") != wire.TypeJSON {
			s.t.Errorf("forget: %s, %v", body, err)
		}
		s.forgot = append(s.forgot, f.Instance)
		s.next(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })(w, r)
		return
	}
	if !strings.HasSuffix(r.URL.Path, wire.PathReports) || r.Header.Get("Content-Type") != wire.TypeProtobuf || r.Header.Get("Content-Encoding") != "zstd" {
		s.t.Errorf("%s %v", r.URL, r.Header)
	}
	if err := wire.Verify(key, wire.PurposeReport, body, sig); err != nil {
		s.t.Error(err)
	}
	rep, err := decode(body)
	if err != nil {
		s.t.Error(err)
		return
	}
	id := wire.IDOf(key)
	s.arrived = append(s.arrived, arrival{time.Now(), id.String(), rep.Number, len(rep.Windows)})
	s.next(func(w http.ResponseWriter, _ *http.Request) {
		s.model.take(&outgoing{instance: id, body: body, report: rep})
		w.Header().Set("Content-Type", wire.TypeJSON)
		fmt.Fprintf(w, `{"stored_through":%d,"report_every":%d}`, rep.Number, s.every)
	})(w, r)
}

func (s *service) next(accept http.HandlerFunc) http.HandlerFunc {
	if len(s.script) == 0 {
		return accept
	}
	h := s.script[0]
	s.script = s.script[1:]
	if h == nil {
		return accept
	}
	return h
}

// RoundTrip lets a test do without a network, in synctest's time.
func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	res := w.Result()
	res.Request = r
	return res, nil
}

func (s *service) windows() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.model.windows)
}

func (s *service) all() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.arrived)
}

// answerWith is a scripted answer: header fields in pairs after the body.
func answerWith(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// counts is a recorder that makes a window at each boundary, and counts what
// the reporter adds.
type counts struct {
	timing wire.Timing
	mu     sync.Mutex
	open   time.Time
	added  drops
	closed int
}

func newCounts(timing wire.Timing) *counts {
	return &counts{timing: timing, open: timing.WindowStart(time.Now()), added: drops{}}
}

func (c *counts) Close(now time.Time) (windows []*wire.Window) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.open.Add(c.timing.Window).Compare(now) <= 0 {
		windows = append(windows, c.window())
		c.open = c.open.Add(c.timing.Window)
	}
	return windows
}

func (c *counts) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *counts) window() *wire.Window {
	c.closed++
	w := testWindow(c.open.Unix())
	w.Seconds = uint32(c.timing.Window / time.Second)
	return w
}

func (c *counts) ClosePartial(time.Time) *wire.Window {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.window()
}

func (c *counts) Peek(time.Time) *wire.Window {
	c.mu.Lock()
	defer c.mu.Unlock()
	return testWindow(c.open.Unix())
}

func (c *counts) Add(m wire.MetricID, d wire.Dims, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m {
	case wire.TelemetryDroppedReports:
		c.added.add(d[0], int(n), 0)
	case wire.TelemetryDroppedWindows:
		c.added.add(d[0], 0, int(n))
	default:
		panic(m)
	}
}

// A rig is a reporter with what is around it.
type rig struct {
	*Reporter
	windows *counts
	logs    *observer.ObservedLogs
}

func newRig(t *testing.T, dir, endpoint string, timing wire.Timing, transport http.RoundTripper) *rig {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	windows := newCounts(timing)
	r, err := New(Config{
		Endpoint:  endpoint,
		Dir:       dir,
		Facts:     func() *wire.Facts { return &wire.Facts{EvergreenVersion: "v1.2.3"} },
		Windows:   windows,
		Timing:    timing,
		Log:       zap.New(core),
		Transport: transport,
		Rand:      rand.New(rand.NewPCG(1, 1)).Float64,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.folder.noSync = true
	return &rig{r, windows, logs}
}

// shift makes the windows of a further process differ from the first one's,
// for a restart yields two windows with one start.
func (r *rig) shift(seconds int) {
	r.windows.open = r.windows.open.Add(time.Duration(seconds) * time.Second)
}

func (r *rig) count(message string) int {
	n := 0
	for _, e := range r.logs.All() {
		if strings.Contains(e.Message, message) {
			n++
		}
	}
	return n
}

// Parts of the lines that operators see.
const (
	lineNotice    = "from now on this Caddy counts"
	lineOn        = "telemetry is on"
	lineFailed    = "could not be delivered; it is kept"
	lineRefused   = "refused a report"
	lineRecovered = "being delivered again"
	lineStopped   = "asked to send nothing more"
	lineMemory    = "in memory only"
	lineHolds     = "can't use its folder for now"
)
