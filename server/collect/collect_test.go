package collect

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Addresses of senders, from the ranges for documentation.
const (
	senderV4 = "198.51.100.77"
	senderV6 = "2001:db8:77:77::77"
)

// now is when all tests take place.
var now = time.Date(2026, 11, 21, 10, 7, 0, 0, time.UTC)

func clock() time.Time { return now }

// memory keeps records, or fails as it is told.
type memory struct {
	mu      sync.Mutex
	records []ingestlog.Record
	err     error
}

func (m *memory) Append(_ context.Context, r ingestlog.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.records = append(m.records, r)
	return nil
}

func (m *memory) last(t testing.TB) ingestlog.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.records) == 0 {
		t.Fatal("nothing was appended")
	}
	return m.records[len(m.records)-1]
}

func (m *memory) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.records)
}

// locator knows the documentation's ranges.
type locator struct{}

func (locator) Lookup(a netip.Addr) (string, uint32) {
	switch a.String() {
	case senderV4:
		return "NZ", 64496
	case senderV6:
		return "NO", 64497
	}
	return "", 0
}

func newCollector(t testing.TB, log Appender, change ...func(*Config)) *Collector {
	cfg := Config{Log: log, Geo: locator{}, Now: clock, ReportEvery: 10 * time.Minute, Registerer: prometheus.NewRegistry()}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newKey(t testing.TB) ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func report() *wire.Report {
	start := now.Add(-7 * time.Minute).Unix()
	return &wire.Report{
		Dictionary: wire.DictionaryVersion, Number: 3, Created: now.Add(-time.Minute).Unix(),
		Facts: &wire.Facts{CaddyVersion: "v2.11.9", GoVersion: "go1.26.8", Os: "linux", Arch: "amd64"},
		Windows: []*wire.Window{{Start: start, Seconds: 300, Series: []*wire.Series{
			{Metric: uint32(wire.HTTPRequests), Cells: []uint64{uint64(wire.Dims{1, 101, 1}.Cell())}, Values: []uint64{42}},
			{Metric: uint32(wire.HTTPDuration), Histograms: []*wire.Histogram{{Cell: 1, Sum: 30_000, First: 40, Buckets: []uint64{30}}}},
		}}},
	}
}

func encode(t testing.TB, r *wire.Report) []byte {
	b, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func compress(t testing.TB, b []byte) []byte {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	return e.EncodeAll(b, nil)
}

// post makes a signed request as an instance does.
func post(key ed25519.PrivateKey, path string, p wire.Purpose, mediaType string, compressed bool, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	r.RemoteAddr = senderV4 + ":4711"
	r.Header.Set("Content-Type", mediaType)
	if compressed {
		r.Header.Set("Content-Encoding", "zstd")
	}
	r.Header.Set(wire.HeaderKey, hex.EncodeToString(key.Public().(ed25519.PublicKey)))
	r.Header.Set(wire.HeaderSignature, hex.EncodeToString(wire.Sign(key, p, body)))
	return r
}

func postReport(key ed25519.PrivateKey, body []byte) *http.Request {
	return post(key, wire.PathReports, wire.PurposeReport, wire.TypeProtobuf, true, body)
}

func serve(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// problem checks that an answer is a problem document that tells nothing of
// the server's inside.
func problem(t *testing.T, res *http.Response, status int, detail string) {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != status {
		t.Fatalf("status %d, want %d: %s", res.StatusCode, status, b)
	}
	if ct := res.Header.Get("Content-Type"); ct != wire.TypeProblem {
		t.Errorf("content type %q", ct)
	}
	var p wire.Problem
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != status || p.Title == "" || !strings.Contains(p.Detail, detail) {
		t.Errorf("problem %+v, want status %d and a detail with %q", p, status, detail)
	}
	if strings.Contains(string(b), secretCause) || strings.Contains(string(b), senderV4) {
		t.Errorf("the answer tells too much: %s", b)
	}
}

const secretCause = "/var/lib/secret"

func TestReportIsStoredAndAcknowledged(t *testing.T) {
	asJSON, err := wire.EncodeJSON(report())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		mediaType  string
		compressed bool
		body       []byte
	}{
		{"protobuf with zstd", wire.TypeProtobuf, true, compress(t, encode(t, report()))},
		{"protobuf", wire.TypeProtobuf, false, encode(t, report())},
		{"JSON with zstd", wire.TypeJSON, true, compress(t, asJSON)},
		{"JSON", wire.TypeJSON, false, asJSON},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := &memory{}
			key := newKey(t)
			res := serve(newCollector(t, log), post(key, wire.PathReports, wire.PurposeReport, c.mediaType, c.compressed, c.body))
			var ack wire.Ack
			if err := json.NewDecoder(res.Body).Decode(&ack); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(wire.Ack{StoredThrough: 3, ReportEvery: 600}, ack); res.StatusCode != 200 || d != "" {
				t.Fatal(res.Status, d)
			}
			got := log.last(t)
			stored, err := got.Report()
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(report(), stored, protocmp.Transform()); d != "" {
				t.Error(d)
			}
			if c.compressed && !bytes.Equal(got.Body, c.body) {
				t.Error("the body is not as it was sent")
			}
			got.Body = nil
			want := ingestlog.Record{
				Received: now, Instance: wire.IDOf(key.Public().(ed25519.PublicKey)), Number: 3,
				From: now.Add(-7 * time.Minute).Unix(), To: now.Add(-2 * time.Minute).Unix(),
				Country: "NZ", Network: 64496, MediaType: c.mediaType,
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestReportIsRefused(t *testing.T) {
	key := newKey(t)
	good := compress(t, encode(t, report()))
	changed := func(f func(*wire.Report)) *http.Request {
		r := report()
		f(r)
		return postReport(key, compress(t, encode(t, r)))
	}
	with := func(f func(*http.Request)) *http.Request {
		r := postReport(key, good)
		f(r)
		return r
	}
	header := func(name, value string) *http.Request {
		return with(func(r *http.Request) { r.Header.Set(name, value) })
	}
	bomb := compress(t, make([]byte, 512<<20))
	for _, c := range []struct {
		name   string
		r      *http.Request
		status int
		detail string
	}{
		{"GET", with(func(r *http.Request) { r.Method = http.MethodGet }), 405, "POST"},
		{"no content type", with(func(r *http.Request) { r.Header.Del("Content-Type") }), 415, wire.TypeProtobuf},
		{"unknown content type", header("Content-Type", "text/plain"), 415, wire.TypeProtobuf},
		{"malformed content type", header("Content-Type", "application/json; ="), 415, wire.TypeProtobuf},
		{"gzip", header("Content-Encoding", "gzip"), 415, "zstd"},
		{"two encodings", with(func(r *http.Request) { r.Header.Add("Content-Encoding", "zstd") }), 415, "zstd"},
		{"huge declared length", with(func(r *http.Request) { r.ContentLength = 1 << 40 }), 413, "262144"},
		{"huge body of unknown length", with(func(r *http.Request) {
			r.ContentLength, r.Body = -1, io.NopCloser(io.LimitReader(zeros{}, 1<<40))
		}), 413, "262144"},
		{"no key", with(func(r *http.Request) { r.Header.Del(wire.HeaderKey) }), 400, wire.HeaderKey},
		{"two keys", with(func(r *http.Request) { r.Header.Add(wire.HeaderKey, r.Header.Get(wire.HeaderKey)) }), 400, wire.HeaderKey},
		{"short key", header(wire.HeaderKey, "00"), 400, wire.HeaderKey},
		{"no signature", with(func(r *http.Request) { r.Header.Del(wire.HeaderSignature) }), 400, wire.HeaderSignature},
		{"malformed signature", header(wire.HeaderSignature, strings.Repeat("x", 128)), 400, wire.HeaderSignature},
		{"signature of nothing", header(wire.HeaderSignature, strings.Repeat("0", 128)), 403, "signature"},
		{"key of another", header(wire.HeaderKey, hex.EncodeToString(newKey(t).Public().(ed25519.PublicKey))), 403, "signature"},
		{"signature for another purpose", post(key, wire.PathReports, wire.PurposeForget, wire.TypeProtobuf, true, good), 403, "signature"},
		{"changed body", with(func(r *http.Request) { r.Body = io.NopCloser(bytes.NewReader(append([]byte{0}, good...))) }), 403, "signature"},
		{"body that breaks off", with(func(r *http.Request) { r.Body = io.NopCloser(&breaks{good[:10]}) }), 400, "ended early"},
		{"empty body", postReport(key, nil), 422, "number"},
		{"not zstd", postReport(key, []byte("hello")), 400, "decompressing"},
		{"cut zstd", postReport(key, good[:len(good)-5]), 400, "decompressing"},
		{"bomb", postReport(key, bomb), 413, "decompressed"},
		{"bomb in small frames", postReport(key, bytes.Repeat(compress(t, make([]byte, 512<<10)), 50)), 413, "decompressed"},
		{"not protobuf", postReport(key, compress(t, []byte("hello"))), 400, "decoding"},
		{"protobuf said to be JSON", post(key, wire.PathReports, wire.PurposeReport, wire.TypeJSON, true, good), 400, "decoding"},
		{"JSON with an unknown field", post(key, wire.PathReports, wire.PurposeReport, wire.TypeJSON, false, []byte(`{"hosts":["a"]}`)), 400, "hosts"},
		{"JSON with a very long unknown field", post(key, wire.PathReports, wire.PurposeReport, wire.TypeJSON, false,
			[]byte(`{"`+strings.Repeat("x", 200_000)+`":1}`)), 400, "x …"},
		{"invalid report", changed(func(r *wire.Report) { r.Windows[0].Seconds = 7 }), 422, "windows[0].seconds"},
		{"made in the future", changed(func(r *wire.Report) { r.Created = now.Add(11 * time.Minute).Unix() }), 422, "here it is 2026-11-21T10:07:00Z"},
		{"window in the future", changed(func(r *wire.Report) { r.Windows[0].Start += 1200 }), 422, "here it is 2026-11-21T10:07:00Z"},
		{"window long past", changed(func(r *wire.Report) { r.Windows[0].Start -= 8 * 24 * 3600 }), 422, "older than 8 days"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := &memory{}
			problem(t, serve(newCollector(t, log), c.r), c.status, c.detail)
			if log.len() > 0 {
				t.Error("it was appended")
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// breaks is a body whose connection ends early.
type breaks struct{ left []byte }

func (b *breaks) Read(p []byte) (int, error) {
	if len(b.left) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

// Copies of a report are all acknowledged, and recorded under one number, by
// which the aggregator counts them once.
func TestReplay(t *testing.T) {
	log := &memory{}
	c := newCollector(t, log)
	key := newKey(t)
	body := compress(t, encode(t, report()))
	for range 3 {
		if res := serve(c, postReport(key, body)); res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
	}
	if d := cmp.Diff(log.records[0], log.records[2]); d != "" {
		t.Error(d)
	}
}

func TestAppendFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		retry string
	}{
		{"disk full", fmt.Errorf("writing %s: %w", secretCause, ingestlog.ErrFull), "300"},
		{"anything else", errors.New("reading " + secretCause + ": input/output error"), "60"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			log := &memory{err: c.err}
			col := newCollector(t, log, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
			body := compress(t, encode(t, report()))
			key := newKey(t)
			for range 5 {
				res := serve(col, postReport(key, body))
				problem(t, res, 503, "")
				if got := res.Header.Get("Retry-After"); got != c.retry {
					t.Errorf("Retry-After %q, want %q", got, c.retry)
				}
			}
			log.err = nil
			if res := serve(col, postReport(key, body)); res.StatusCode != 200 {
				t.Errorf("when there is room again: %s", res.Status)
			}
			if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), secretCause) {
				t.Errorf("want one line when it begins, with the cause, and one when it ends:\n%s", &out)
			}
		})
	}
}

func TestGone(t *testing.T) {
	key := newKey(t)
	body := compress(t, encode(t, report()))
	id := wire.IDOf(key.Public().(ed25519.PublicKey))
	one := newCollector(t, &memory{}, func(c *Config) { c.Gone = func(i wire.InstanceID) bool { return i == id } })
	problem(t, serve(one, postReport(key, body)), 410, "next start")
	if res := serve(one, postReport(newKey(t), body)); res.StatusCode != 200 {
		t.Errorf("another instance: %s", res.Status)
	}
	all := newCollector(t, &memory{}, func(c *Config) { c.Retired = true })
	problem(t, serve(all, postReport(newKey(t), body)), 410, "next start")
}

func TestForget(t *testing.T) {
	key := newKey(t)
	id := wire.IDOf(key.Public().(ed25519.PublicKey))
	body := func(id string, at time.Time) []byte {
		b, err := json.Marshal(wire.Forget{Instance: id, Time: at.Unix()})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	request := func(p wire.Purpose, body []byte) *http.Request {
		return post(key, wire.PathForget, p, wire.TypeJSON, false, body)
	}
	for _, c := range []struct {
		name   string
		r      *http.Request
		err    error
		status int
		detail string
	}{
		{"good", request(wire.PurposeForget, body(id.String(), now)), nil, 204, ""},
		{"nine minutes old", request(wire.PurposeForget, body(id.String(), now.Add(-9*time.Minute))), nil, 204, ""},
		{"eleven minutes old", request(wire.PurposeForget, body(id.String(), now.Add(-11*time.Minute))), nil, 422, "here it is"},
		{"eleven minutes early", request(wire.PurposeForget, body(id.String(), now.Add(11*time.Minute))), nil, 422, "here it is"},
		{"of another", request(wire.PurposeForget, body(wire.InstanceID{1}.String(), now)), nil, 403, "own instance"},
		{"for another purpose", request(wire.PurposeReport, body(id.String(), now)), nil, 403, "signature"},
		{"not JSON", request(wire.PurposeForget, []byte("forget me")), nil, 400, "decoding"},
		{"with more after it", request(wire.PurposeForget, append(body(id.String(), now), '1')), nil, 400, "after its end"},
		{"too long", request(wire.PurposeForget, make([]byte, 2000)), nil, 413, "1024"},
		{"compressed", post(key, wire.PathForget, wire.PurposeForget, wire.TypeJSON, true, body(id.String(), now)), nil, 415, "not compressed"},
		{"as protobuf", post(key, wire.PathForget, wire.PurposeForget, wire.TypeProtobuf, false, body(id.String(), now)), nil, 415, "application/json"},
		{"fails", request(wire.PurposeForget, body(id.String(), now)), errors.New(secretCause), 503, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var forgotten []wire.InstanceID
			col := newCollector(t, &memory{}, func(cfg *Config) {
				cfg.Forget = func(_ context.Context, id wire.InstanceID) error {
					forgotten = append(forgotten, id)
					return c.err
				}
			})
			res := serve(col, c.r)
			if c.status != 204 {
				problem(t, res, c.status, c.detail)
				if len(forgotten) > 0 && c.err == nil {
					t.Error("it was forgotten nonetheless")
				}
			} else if d := cmp.Diff([]wire.InstanceID{id}, forgotten); res.StatusCode != 204 || d != "" {
				t.Error(res.Status, d)
			}
		})
	}
	problem(t, serve(newCollector(t, &memory{}), request(wire.PurposeForget, body(id.String(), now))), 501, "")
}

// With the real log a report is on disk when it is acknowledged, and no file
// nor line of log has the sender's address.
func TestNoAddressIsLeft(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&lockedWriter{w: &out}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	log, err := ingestlog.Open(dir, ingestlog.Options{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	c := newCollector(t, log, func(cfg *Config) {
		cfg.Logger, cfg.Registerer = logger, registry
		cfg.Forget = func(context.Context, wire.InstanceID) error { return errors.New("no") }
		cfg.Limits = Limits{Sender: 1, SenderBurst: 6}
	})
	server := httptest.NewUnstartedServer(c)
	server.Config.ErrorLog = QuietErrorLog(logger)
	server.StartTLS()
	defer server.Close()
	key := newKey(t)
	good := compress(t, encode(t, report()))
	var answers strings.Builder
	statuses := map[int]int{}
	for _, r := range []*http.Request{
		postReport(key, good),
		postReport(key, []byte("no")),
		post(key, wire.PathReports, wire.PurposeForget, wire.TypeProtobuf, true, good),
		post(key, wire.PathForget, wire.PurposeForget, wire.TypeJSON, false,
			fmt.Appendf(nil, `{"instance":%q,"time":%d}`, wire.IDOf(key.Public().(ed25519.PublicKey)), now.Unix())),
		httptest.NewRequest("GET", wire.PathReports, nil),
		postReport(key, good), postReport(key, good), postReport(key, good), postReport(key, good),
	} {
		r.URL, err = r.URL.Parse(server.URL + r.URL.Path)
		if err != nil {
			t.Fatal(err)
		}
		r.RequestURI = ""
		res, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		statuses[res.StatusCode]++
		if _, err := io.Copy(&answers, res.Body); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	if d := cmp.Diff(map[int]int{200: 3, 400: 1, 403: 1, 503: 1, 405: 1, 429: 2}, statuses); d != "" {
		t.Error(d)
	}
	// A client that doesn't speak TLS, of which net/http would log the address.
	if res, err := http.Get("http://" + server.Listener.Addr().String()); err == nil {
		res.Body.Close() // net/http answers it in plain HTTP
	}
	server.Close()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	found, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	hides := func(what, s string) {
		t.Helper()
		if strings.Contains(s, "127.0.0.1") || strings.Contains(s, "\x7f\x00\x00\x01") {
			t.Errorf("%s has the sender's address: %q", what, s)
		}
	}
	hides("the log", out.String())
	hides("an answer", answers.String())
	hides("a metric", fmt.Sprint(found))
	files := 0
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files += len(b)
		hides(d.Name(), string(b))
		return err
	})
	if err != nil || files < len(good) {
		t.Errorf("%d bytes of files, %v", files, err)
	}
	if !strings.Contains(out.String(), "TLS handshake failed") {
		t.Errorf("the handshake's failure is not in the log:\n%s", &out)
	}
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := newCollector(t, &memory{}, func(cfg *Config) { cfg.Registerer = registry })
	r := report()
	r.Windows[0].Series = append(r.Windows[0].Series, &wire.Series{Metric: 9999})
	body := compress(t, encode(t, r))
	serve(c, postReport(newKey(t), body))
	serve(c, httptest.NewRequest("GET", wire.PathForget, nil))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "evergreen_collect_")
			for _, l := range m.GetLabel() {
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
		"requests_total ok report": 1, "requests_total method forget": 1,
		"request_seconds report": 1, "request_seconds forget": 1, "append_seconds": 1,
		"body_bytes_total": float64(len(body)), "windows_total": 1, "dropped_metrics_total": 1,
		"in_flight": 0, "senders": 1, "report_every_seconds": 600,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := New(Config{Log: &memory{}, Registerer: registry}); err == nil {
		t.Error("registering twice is no error")
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a collector without a log is no error")
	}
}

// FuzzReport gives any bytes, rightly signed, to the whole of the collector.
func FuzzReport(f *testing.F) {
	plain := encode(f, report())
	asJSON, err := wire.EncodeJSON(report())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain, false, false)
	f.Add(compress(f, plain), true, false)
	f.Add(asJSON, false, true)
	f.Add(compress(f, asJSON), true, true)
	incidents, err := wire.EncodeJSON(attacked())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encode(f, attacked()), false, false)
	f.Add(incidents, false, true)
	f.Add(compress(f, make([]byte, 8<<20)), true, false)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd}, true, false)
	key := newKey(f)
	log := &memory{}
	// Without rate limits: fuzzing is what they are against.
	c := newCollector(f, log, func(cfg *Config) {
		cfg.Limits = Limits{Sender: 1e9, SenderBurst: 1e9, Global: 1e9, GlobalBurst: 1e9}
	})
	f.Fuzz(func(t *testing.T, body []byte, compressed, isJSON bool) {
		mediaType := wire.TypeProtobuf
		if isJSON {
			mediaType = wire.TypeJSON
		}
		before := log.len()
		res := serve(c, post(key, wire.PathReports, wire.PurposeReport, mediaType, compressed, body))
		if res.StatusCode >= 500 {
			t.Fatal(res.Status)
		}
		if stored := log.len() > before; stored != (res.StatusCode == 200) {
			t.Fatalf("%s, but stored is %t", res.Status, stored)
		}
		if res.StatusCode != 200 {
			return
		}
		// Whatever was acknowledged can be aggregated.
		rec := log.last(t)
		r, err := rec.Report()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Clean(); err != nil || r.Number != rec.Number {
			t.Fatal(err, strconv.FormatUint(rec.Number, 10))
		}
		for _, w := range r.Windows {
			for _, in := range w.Incidents {
				for _, n := range in.Networks {
					if len(n.Prefix) > 0 {
						t.Fatalf("a prefix is stored: %x", n.Prefix)
					}
				}
			}
		}
	})
}
