package reporter

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

// hourly lets a report be sent at once.
var hourly = wire.Timing{Window: time.Hour, ReportEvery: time.Hour}

// ready is a rig with one window in its spool that may send at once.
func ready(t *testing.T, endpoint string, transport http.RoundTripper) *rig {
	t.Helper()
	r := newRig(t, filepath.Join(t.TempDir(), "evergreen"), endpoint, hourly, transport)
	r.save([]*wire.Window{testWindow(time.Now().Unix())})
	return r
}

func TestReportOverTheNetwork(t *testing.T) {
	for _, below := range []string{"", "/", "/below"} {
		sv := newService(t)
		server := httptest.NewServer(sv)
		defer server.Close()
		r := ready(t, server.URL+below, nil)
		if o := r.sendNext(t.Context()); o.verdict != accepted || o.err != nil || o.more || o.every != 300 {
			t.Errorf("%+v", o)
		}
		if o := r.sendNext(t.Context()); !o.empty {
			t.Errorf("%+v", o)
		}
		if h := r.History(); len(h) != 1 || h[0].Status != 200 || h[0].StoredThrough != 1 {
			t.Errorf("%+v", h)
		}
		if len(sv.all()) != 1 {
			t.Errorf("arrived: %+v", sv.all())
		}
	}
}

func TestConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	r := ready(t, "http://"+l.Addr().String(), nil)
	o := r.sendNext(t.Context())
	if o.verdict != later || o.err == nil {
		t.Errorf("%+v", o)
	}
	r.plan(o)
	if st := r.Status(); st.State != StateRetrying || st.SpoolReports != 1 || st.LastError == "" {
		t.Errorf("%+v", st)
	}
}

func TestHangingServerIsLeft(t *testing.T) {
	leave := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-leave }))
	defer server.Close()
	defer close(leave)
	r := ready(t, server.URL, nil)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if o := r.sendNext(ctx); o.verdict != later || !errors.Is(o.err, context.Canceled) {
		t.Errorf("%+v", o)
	}
}

func TestRedirects(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a report went elsewhere")
	}))
	defer elsewhere.Close()
	sv := newService(t)
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a report went unencrypted")
	}))
	defer plain.Close()
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	to := func(status int, target string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target, status) }
	}
	mux.Handle("/new/", sv)
	mux.Handle("/within/", to(308, server.URL+"/new"+wire.PathReports))
	mux.Handle("/as-get/", to(302, server.URL+"/new"+wire.PathReports))
	mux.Handle("/plain/", to(307, plain.URL+wire.PathReports))
	mux.Handle("/elsewhere/", to(307, strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)))
	mux.Handle("/loop/", to(307, server.URL+"/loop/"))
	for path, want := range map[string]verdict{"/within": accepted, "/as-get": later, "/plain": later, "/elsewhere": later, "/loop": later} {
		r := ready(t, server.URL+path, server.Client().Transport)
		if o := r.sendNext(t.Context()); o.verdict != want {
			t.Errorf("%s: %+v", path, o)
		}
	}
	if len(sv.all()) != 1 {
		t.Errorf("arrived: %+v", sv.all())
	}
}

func TestProxyOfTheEnvironmentIsUsed(t *testing.T) {
	transport, ok := newClient(nil).Transport.(*http.Transport)
	if !ok || transport == http.DefaultTransport || transport.Proxy == nil {
		t.Fatalf("%T", newClient(nil).Transport)
	}
	// As HTTPS_PROXY does, which net/http reads once in a process.
	sv := newService(t)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "telemetry.example" {
			t.Errorf("the proxy was asked for %s", r.URL)
		}
		sv.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport.Proxy = http.ProxyURL(u)
	r := ready(t, "http://telemetry.example", transport)
	if o := r.sendNext(t.Context()); o.verdict != accepted {
		t.Errorf("%+v", o)
	}
}

func TestJudge(t *testing.T) {
	for _, test := range []struct {
		status int
		media  string
		body   string
		want   verdict
		err    string
	}{
		{200, wire.TypeJSON, `{"stored_through":3,"report_every":300,"from_the_future":1}`, accepted, ""},
		{200, wire.TypeJSON, `{"stored_through":3}`, accepted, ""},
		{200, wire.TypeJSON, `{"stored_through":3} x`, later, "the server answered 200, but not as an Evergreen service does: something follows the JSON value"},
		{200, wire.TypeJSON, `{}`, later, "the server answered 200, but not as an Evergreen service does: stored_through is missing"},
		{200, wire.TypeJSON, ``, later, "the server answered 200, but not as an Evergreen service does: EOF"},
		{204, "", ``, later, "the server answered 204 No Content"},
		{400, wire.TypeProblem, `{"title":"bad","status":400,"detail":"worse\nand\u0007 worse"}`, rejected, "the server answered 400: bad: worse and  worse"},
		{413, "text/html", `too large`, rejected, "the server answered 413 Request Entity Too Large"},
		{422, wire.TypeProblem, `no JSON`, rejected, "the server answered 422 Unprocessable Entity"},
		{401, wire.TypeProblem, `{}`, rejected, "the server answered 401 Unauthorized"},
		{403, wire.TypeProblem + "; charset=utf-8", `{"title":"no"}`, rejected, "the server answered 403: no"},
		{403, "text/html", `<html>`, later, "the server answered 403 Forbidden"},
		{404, wire.TypeProblem, `{}`, later, "the server answered 404 Not Found"},
		{407, "", ``, later, "the server answered 407 Proxy Authentication Required"},
		{408, "", ``, later, "the server answered 408 Request Timeout"},
		{410, "", ``, gone, "the server answered 410 Gone"},
		{415, wire.TypeProblem, `{}`, rejected, "the server answered 415 Unsupported Media Type"},
		{429, wire.TypeProblem, `{}`, later, "the server answered 429 Too Many Requests"},
		{500, "", ``, later, "the server answered 500 Internal Server Error"},
		{503, "", ``, later, "the server answered 503 Service Unavailable"},
	} {
		a := &answer{test.status, http.Header{"Content-Type": {test.media}}, []byte(test.body)}
		v, ack, err := a.judge()
		text := ""
		if err != nil {
			text = err.Error()
		}
		if v != test.want || text != test.err || (v == accepted) != (ack.StoredThrough == 3) {
			t.Errorf("%d %s %s: %d, %+v, %q", test.status, test.media, test.body, v, ack, text)
		}
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(200, wire.TypeJSON, []byte(`{"stored_through":3,"report_every":300}`))
	f.Add(429, wire.TypeProblem, []byte(`{"title":"later","status":429}`))
	f.Add(403, "text/html", []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, media string, body []byte) {
		v, _, err := (&answer{status, http.Header{"Content-Type": {media}}, body}).judge()
		if (v == accepted) != (err == nil) || v == accepted && status != 200 {
			t.Errorf("%d, %v", v, err)
		}
	})
}

func TestCheckEndpoint(t *testing.T) {
	for _, good := range []string{"", "https://telemetry.example", "http://127.0.0.1:8080/", "https://[::1]:8443/evergreen"} {
		if err := CheckEndpoint(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"telemetry.example", "ftp://telemetry.example", "https://", "https://:443", "https://a.example/?x=1", "https://a.example/#x", "https://me:secret@a.example", "https://a.example:port", "/path", "\x00"} {
		err := CheckEndpoint(bad)
		if err == nil {
			t.Errorf("%q is good", bad)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

func TestUserAgent(t *testing.T) {
	for version, want := range map[string]string{
		"":                "evergreen/devel",
		"v1.2.3-rc.1+x":   "evergreen/v1.2.3-rc.1+x",
		"(devel)\r\nA: b": "evergreen/develAb",
	} {
		if got := userAgent(version); got != want {
			t.Errorf("%q: %q, want %q", version, got, want)
		}
	}
}

func TestLink(t *testing.T) {
	r := ready(t, "https://telemetry.example/", newService(t))
	link, expires, err := r.Link(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	id, err := wire.ParseInstanceID(r.Status().Instance)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := u.Scheme+"://"+u.Host+u.Path, "https://telemetry.example/instance/"+id.String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := wire.VerifyLink(id, u.Query(), expires); err != nil {
		t.Error(err)
	}
	if err := wire.VerifyLink(id, u.Query(), expires.Add(time.Second)); !errors.Is(err, wire.ErrExpired) {
		t.Error(err)
	}
	if _, expires, err := r.Link(0); err != nil || time.Until(expires) < 23*time.Hour {
		t.Error(expires, err)
	}
	for _, ttl := range []time.Duration{-time.Hour, time.Millisecond, wire.MaxLinkAge} {
		if _, _, err := r.Link(ttl); err == nil {
			t.Errorf("a link for %s", ttl)
		}
	}
}

func TestResetIdentity(t *testing.T) {
	sv := newService(t)
	r := ready(t, example, sv)
	if o := r.sendNext(t.Context()); o.err != nil {
		t.Fatal(o.err)
	}
	r.save([]*wire.Window{testWindow(time.Now().Unix() + 3600)})
	if err := r.ResetIdentity(); err != nil {
		t.Fatal(err)
	}
	if o := r.sendNext(t.Context()); !o.empty {
		t.Errorf("what belonged to the former identity is sent: %+v", o)
	}
	r.save([]*wire.Window{testWindow(time.Now().Unix() + 7200)})
	if o := r.sendNext(t.Context()); o.err != nil {
		t.Fatal(o.err)
	}
	if a, b := sv.all()[0], sv.all()[1]; a.instance == b.instance || b.number != 1 {
		t.Errorf("arrived: %+v", sv.all())
	}
	if diff := cmp.Diff(drops{"other": {1, 1}}, r.windows.added); diff != "" {
		t.Error(diff)
	}

	// The identity lasts, also for a process that has no endpoint and is asked
	// for another reset.
	off := newRig(t, r.c.Dir, "", hourly, sv)
	if err := off.ResetIdentity(); err != nil {
		t.Fatal(err)
	}
	r.save([]*wire.Window{testWindow(time.Now().Unix() + 10800)})
	if o := r.sendNext(t.Context()); o.err != nil || sv.all()[2].instance == sv.all()[1].instance || sv.all()[2].number != 1 {
		t.Errorf("%+v, arrived: %+v", o, sv.all())
	}
}

func TestForget(t *testing.T) {
	sv := newService(t, nil, answerWith(503, `{"title":"the server could not store it","status":503}`, "Content-Type", wire.TypeProblem))
	server := httptest.NewServer(sv)
	defer server.Close()
	r := ready(t, server.URL, nil)
	if o := r.sendNext(t.Context()); o.err != nil {
		t.Fatal(o.err)
	}
	id := r.Status().Instance
	if err := r.Forget(t.Context()); err == nil || !strings.Contains(err.Error(), "503: the server could not store it") {
		t.Error(err)
	}
	if r.Status().Instance != id {
		t.Error("the identity changed though the server did not forget it")
	}
	if err := r.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{id, id}, sv.forgot); diff != "" {
		t.Error(diff)
	}
	st := r.Status()
	if st.Instance == id || st.NextNumber != 1 || st.StoredThrough != 0 || len(r.History()) > 0 {
		t.Errorf("%+v", st)
	}
}

func TestNewRefuses(t *testing.T) {
	windows := newCounts(hourly)
	facts := func() *wire.Facts { return nil }
	for name, c := range map[string]Config{
		"no windows":   {Facts: facts},
		"no facts":     {Windows: windows},
		"endpoint":     {Facts: facts, Windows: windows, Endpoint: "x"},
		"no timing":    {Facts: facts, Windows: windows, Timing: wire.Timing{Notice: 1}},
		"early notice": {Facts: facts, Windows: windows, Timing: wire.Timing{Window: 1, ReportEvery: 1, Notice: -1}},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(Config{Facts: facts, Windows: windows}); err != nil {
		t.Error(err)
	}
}
