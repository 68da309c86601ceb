package evergreen

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/caddy-evergreen/evergreen/reporter"
	"github.com/caddy-evergreen/evergreen/wire"
)

// scripted is an instance whose answers a test sets.
type scripted struct {
	status  Status
	report  *wire.Report
	history []reporter.Send
	fail    error
	calls   []string
	ttl     time.Duration
}

func (s *scripted) Status() Status           { return s.status }
func (s *scripted) NextReport() *wire.Report { return s.report }
func (s *scripted) History() []reporter.Send { return s.history }

func (s *scripted) Link(ttl time.Duration) (string, time.Time, error) {
	s.calls, s.ttl = append(s.calls, "link"), ttl
	return "https://telemetry.example/instance/ab?expires=1&key=2", moment.Add(ttl), s.fail
}

func (s *scripted) ResetIdentity() error {
	s.calls = append(s.calls, "reset-identity")
	if s.fail == nil {
		s.status.Reporter.Instance = strings.Repeat("cd", 16)
	}
	return s.fail
}

func (s *scripted) Forget(context.Context) error {
	s.calls = append(s.calls, "forget")
	return s.fail
}

var moment = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// reporting is an instance in the middle of its life.
func reporting() *scripted {
	return &scripted{
		status: Status{
			Version: "v0.1.0", Telemetry: "on", Label: "my-fleet", Window: 5 * time.Minute,
			MetricsOff: []string{"clients"}, Fallbacks: []string{"TLS handshakes of HTTP/3 are not counted"},
			Reporter: reporter.Status{
				Instance: strings.Repeat("ab", 16), Endpoint: "https://telemetry.example", State: reporter.StateRetrying,
				FirstSend: moment.Add(-24 * time.Hour), NextSend: moment.Add(150 * time.Second), NextNumber: 13, StoredThrough: 11,
				SpoolReports: 1, SpoolBytes: 2345, DroppedReports: 1, DroppedWindows: 2, ReportEvery: 10 * time.Minute,
				LastError: "the server answered 503",
			},
		},
		report: &wire.Report{
			Dictionary: wire.DictionaryVersion, Number: 13, Created: moment.Unix(),
			Facts: &wire.Facts{CaddyVersion: "v2.11.9", Os: "linux"},
			Windows: []*wire.Window{{Start: moment.Unix(), Seconds: 300, Series: []*wire.Series{
				{Metric: uint32(wire.HTTPPanics), Cells: []uint64{2}, Values: []uint64{3}}}}},
		},
		history: []reporter.Send{
			{Time: moment, Number: 12, Bytes: 2345, Status: 503, Error: "the server answered 503"},
			{Time: moment.Add(-10 * time.Minute), Number: 11, Bytes: 2000, Status: 200, StoredThrough: 11},
		},
	}
}

func switchedOffScripted() *scripted {
	return &scripted{status: Status{Version: "v0.1.0", Telemetry: "off", Reason: "DO_NOT_TRACK is set"}}
}

func localOnly() *scripted {
	s := reporting()
	s.status.Reporter = reporter.Status{State: reporter.StateNoEndpoint}
	s.history = nil
	return s
}

// serveAdmin does with routes what Caddy's admin endpoint does.
func serveAdmin(routes []caddy.AdminRoute) http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.HandleFunc(r.Pattern, func(w http.ResponseWriter, req *http.Request) {
			err := r.Handler.ServeHTTP(w, req)
			if err == nil {
				return
			}
			var api caddy.APIError
			if !errors.As(err, &api) {
				api = caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
			}
			if api.Message == "" {
				api.Message = api.Err.Error()
			}
			w.WriteHeader(api.HTTPStatus)
			_ = json.NewEncoder(w).Encode(api)
		})
	}
	return mux
}

func adminOf(in instance) http.Handler {
	return serveAdmin(adminAPI{func() (instance, bool) { return in, in != nil }, func() updatesInstance { return updatesOff("EVERGREEN_UPDATES is off") }}.routes())
}

func TestAdminAPI(t *testing.T) {
	failing := reporting()
	failing.fail = errors.New("the server is not there")
	noReport := reporting()
	noReport.report = nil
	for name, test := range map[string]struct {
		in           instance
		method, path string
		body         string
		status       int
		contains     string
	}{
		"history":                 {reporting(), "GET", "history", "", 200, `"number":11`},
		"history, none":           {localOnly(), "GET", "history", "", 200, "[]"},
		"HEAD":                    {reporting(), "HEAD", "status", "", 200, ""},
		"no instance":             {nil, "GET", "status", "", 503, "Caddy's log says why"},
		"wrong method":            {reporting(), "POST", "report", "", 405, "takes GET"},
		"changes need POST":       {reporting(), "GET", "forget", "", 405, "takes POST"},
		"unknown":                 {reporting(), "GET", "reprot", "", 404, `did you mean \"report\"?`},
		"index":                   {reporting(), "GET", "", "", 404, "known are status"},
		"report while off":        {switchedOffScripted(), "GET", "report", "", 409, "telemetry is off (DO_NOT_TRACK is set)"},
		"no report":               {noReport, "GET", "report", "", 503, "can't be told"},
		"link while off":          {switchedOffScripted(), "POST", "link", "", 409, "telemetry is off"},
		"link without endpoint":   {localOnly(), "POST", "link", "", 409, "no endpoint is set"},
		"link, other field":       {reporting(), "POST", "link", `{"tll":"1h"}`, 400, `did you mean \"ttl\"?`},
		"link, not JSON":          {reporting(), "POST", "link", `ttl=1h`, 400, "not a JSON object"},
		"link, null":              {reporting(), "POST", "link", `null`, 400, "not a JSON object"},
		"link, number":            {reporting(), "POST", "link", `{"ttl":24}`, 400, "not a text"},
		"link, no duration":       {reporting(), "POST", "link", `{"ttl":"long"}`, 400, "not a duration"},
		"link, too long":          {reporting(), "POST", "link", `{"ttl":"366d"}`, 400, "out of bounds"},
		"link, too short":         {reporting(), "POST", "link", `{"ttl":"-1h"}`, 400, "out of bounds"},
		"link, endless":           {reporting(), "POST", "link", `{"ttl":"` + strings.Repeat("1", maxRequest) + `"}`, 400, "too long"},
		"link fails":              {failing, "POST", "link", "", 500, "making a link: the server is not there"},
		"reset-identity":          {reporting(), "POST", "reset-identity", "", 200, strings.Repeat("cd", 16)},
		"reset-identity fails":    {failing, "POST", "reset-identity", "", 500, "the server is not there"},
		"reset-identity off":      {switchedOffScripted(), "POST", "reset-identity", "", 409, "telemetry is off"},
		"forget":                  {reporting(), "POST", "forget", "", 200, "deleted"},
		"forget fails":            {failing, "POST", "forget", "", 502, "the server is not there"},
		"forget without endpoint": {localOnly(), "POST", "forget", "", 409, "no endpoint is set"},
		"forget while off":        {switchedOffScripted(), "POST", "forget", "", 409, "switch telemetry on"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			adminOf(test.in).ServeHTTP(w, httptest.NewRequest(test.method, apiBase+test.path, strings.NewReader(test.body)))
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.contains) {
				t.Errorf("got %d %s, want %d with %q", w.Code, w.Body, test.status, test.contains)
			}
			if s, ok := test.in.(*scripted); ok && w.Code != 200 && s.fail == nil && len(s.calls) > 0 {
				t.Errorf("refused, but did %v", s.calls)
			}
			if w.Code == 405 && w.Header().Get("Allow") == "" {
				t.Error("Allow is missing")
			}
		})
	}
}

func TestAdminStatus(t *testing.T) {
	w := httptest.NewRecorder()
	adminOf(reporting()).ServeHTTP(w, httptest.NewRequest("GET", apiBase+"status", nil))
	var got, want map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["caddy_version"] == "" {
		t.Error("caddy_version is empty")
	}
	delete(got, "caddy_version") // whatever this was tested with
	const document = `{
		"version": "v0.1.0", "telemetry": "on", "instance": "abababababababababababababababab", "endpoint": "https://telemetry.example",
		"state": "retrying", "first_send": "2026-11-20T10:00:00Z", "next_send": "2026-11-21T10:02:30Z",
		"last_send": {"time": "2026-11-21T10:00:00Z", "number": 12, "bytes": 2345, "status": 503, "stored_through": 0, "error": "the server answered 503"},
		"last_error": "the server answered 503", "next_number": 13, "stored_through": 11, "spool_reports": 1, "spool_bytes": 2345,
		"dropped_reports": 1, "dropped_windows": 2, "memory_only": false, "window_seconds": 300, "report_every_seconds": 600,
		"fallbacks": ["TLS handshakes of HTTP/3 are not counted"], "metrics_off": ["clients"], "label": "my-fleet",
		"updates": {"state": "idle", "off": "EVERGREEN_UPDATES is off", "running": ""}}`
	if err := json.Unmarshal([]byte(document), &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestAdminReportIsExact(t *testing.T) {
	in := reporting()
	w := httptest.NewRecorder()
	adminOf(in).ServeHTTP(w, httptest.NewRequest("GET", apiBase+"report", nil))
	got, err := wire.DecodeJSON(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in.report, got, protocmp.Transform()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestAdminLink(t *testing.T) {
	for body, want := range map[string]time.Duration{
		"": 24 * time.Hour, " \n": 24 * time.Hour, "{}": 24 * time.Hour, `{"ttl":"90m"}`: 90 * time.Minute, `{"ttl": "7d"}`: 7 * 24 * time.Hour,
	} {
		in := reporting()
		w := httptest.NewRecorder()
		adminOf(in).ServeHTTP(w, httptest.NewRequest("POST", apiBase+"link", strings.NewReader(body)))
		var d linkDocument
		if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || in.ttl != want || !d.Expires.Equal(moment.Add(want)) || d.URL == "" {
			t.Errorf("%q: got %s (ttl %s, %v), want ttl %s", body, w.Body, in.ttl, err, want)
		}
		if !strings.Contains(w.Body.String(), "&key=") {
			t.Errorf("the link can't be copied from %s", w.Body)
		}
	}
}

func FuzzLinkRequest(f *testing.F) {
	for _, s := range []string{"", "{}", `{"ttl":"24h"}`, `{"ttl":"1d1h"}`, `{"ttl":null}`, `[]`, `{"TTL":"1h"}`, "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if ttl, err := linkTTL(strings.NewReader(body)); err == nil && (ttl < minLinkTTL || ttl > maxLinkTTL) {
			t.Errorf("%q: ttl %s", body, ttl)
		}
	})
}
