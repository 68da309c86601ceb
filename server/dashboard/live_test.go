package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/senders"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A liveChange is what an event "change" holds.
type liveChange struct {
	Version string    `json:"version"`
	At      time.Time `json:"at"`
	Parts   []struct {
		ID   string `json:"id"`
		HTML string `json:"html"`
	} `json:"parts"`
	Charts []struct {
		ID   string            `json:"id"`
		Data map[string]string `json:"data"`
	} `json:"charts"`
}

// A liveServer is a dashboard behind a real connection.
type liveServer struct {
	*dashboard.Dashboard
	*httptest.Server
}

func liveOn(t *testing.T, cfg dashboard.Config) liveServer {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return now }
	}
	d, err := dashboard.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.Hurry()
	mux := http.NewServeMux()
	d.Register(mux)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	t.Cleanup(d.End)
	return liveServer{d, srv}
}

// events opens /live and gives what it sends: names and data.
func (s liveServer) events(t *testing.T, q url.Values, header ...string) (next func() (name string, data []byte), leave func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/live?"+q.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("/live: %s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	lines := bufio.NewReaderSize(resp.Body, 1<<20)
	return func() (name string, data []byte) {
		for {
			l, err := lines.ReadString('\n')
			if err != nil {
				return "", nil
			}
			l = strings.TrimSuffix(l, "\n")
			if v, ok := strings.CutPrefix(l, "event: "); ok {
				name = v
			}
			if v, ok := strings.CutPrefix(l, "data: "); ok {
				data = []byte(v)
			}
			if l == "" && name != "" {
				return name, data
			}
		}
	}, cancel
}

func changeOf(t *testing.T, next func() (string, []byte)) liveChange {
	t.Helper()
	name, data := next()
	if name != "change" {
		t.Fatalf("the event is %q %s", name, data)
	}
	var c liveChange
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// versionOf is a page's version, as it says itself.
func versionOf(t *testing.T, doc *html.Node) string {
	t.Helper()
	m := find(doc, func(n *html.Node) bool { return n.Data == "main" })
	if len(m) != 1 || len(attr(m[0], "data-version")) != 16 {
		t.Fatal("the page does not say its version")
	}
	return attr(m[0], "data-version")
}

// TestLive: an open page is told which of its parts changed, and becomes what
// a fresh one is.
func TestLive(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 2*time.Hour)
	srv := liveOn(t, dashboard.Config{Store: s, Reports: openLog(t)})
	const path = "/?range=1h"
	page := parsed(t, srv.Config.Handler, path)
	next, leave := srv.events(t, url.Values{"page": {path}, "version": {versionOf(t, page)}})
	if c := changeOf(t, next); c.Version != versionOf(t, page) || len(c.Parts)+len(c.Charts) > 0 {
		t.Errorf("nothing changed, but %d parts and %d charts did", len(c.Parts), len(c.Charts))
	}

	ro := rollup{}
	for _, p := range []string{"http/1.1", "http/3"} {
		ro.count(now.Truncate(5*time.Minute), wire.HTTPRequests, dims(wire.HTTPRequests, p, "200", "site"), 1_000_000, 200)
	}
	commitAs(t, s, ro, "more")
	srv.Tell()
	c := changeOf(t, next)
	fresh := get(t, srv.Config.Handler, path).Body.String()
	doc, err := html.Parse(strings.NewReader(fresh))
	if err != nil {
		t.Fatal(err)
	}
	if c.Version != versionOf(t, doc) {
		t.Errorf("the change leads to version %s, a fresh page is %s", c.Version, versionOf(t, doc))
	}
	var unchanged, changed int
	told := map[string]string{}
	for _, p := range c.Parts {
		told[p.ID] = p.HTML
		if !strings.Contains(fresh, p.HTML) {
			t.Errorf("%s is not what a fresh page has", p.ID)
		}
	}
	for _, n := range find(doc, func(n *html.Node) bool { _, ok := told[attr(n, "id")]; return ok || attr(n, "id") != "" }) {
		live := false
		for _, a := range n.Attr {
			live = live || a.Key == "data-live"
		}
		if !live {
			continue
		}
		old := find(page, func(o *html.Node) bool { return attr(o, "id") == attr(n, "id") })
		_, ok := told[attr(n, "id")]
		if same := len(old) == 1 && text(old[0]) == text(n); same && !ok {
			unchanged++
		} else if ok {
			changed++
		} else {
			t.Errorf("%s changed and is not told", attr(n, "id"))
		}
	}
	if changed == 0 || unchanged == 0 || len(c.Charts) == 0 {
		t.Errorf("%d parts changed, %d did not, %d charts did", changed, unchanged, len(c.Charts))
	}

	// A reader that comes back, and one that was away for too long.
	back, _ := srv.events(t, url.Values{"page": {path}, "version": {"gone"}}, "Last-Event-ID", versionOf(t, page))
	if diff := cmp.Diff(c, changeOf(t, back)); diff != "" {
		t.Errorf("who comes back is told something else: %s", diff)
	}
	late, _ := srv.events(t, url.Values{"page": {path}, "version": {"0123456789abcdef"}})
	if all := changeOf(t, late); len(all.Parts) != changed+unchanged {
		t.Errorf("who knows nothing is told %d of %d parts", len(all.Parts), changed+unchanged)
	}
	any, _ := srv.events(t, nil)
	if name, _ := any(); name != "rollups" {
		t.Errorf("without a page, the event is %q", name)
	}
	if readers, pages := srv.Open(); readers != 4 || pages != 2 {
		t.Errorf("%d readers of %d pages", readers, pages)
	}
	leave()
	for readers, _ := srv.Open(); readers > 3; readers, _ = srv.Open() {
		time.Sleep(time.Millisecond)
	}
	srv.End()
	if name, _ := late(); name != "" {
		t.Errorf("a server that ends sends %q", name)
	}
	for readers, pages := srv.Open(); readers+pages > 0; readers, pages = srv.Open() {
		time.Sleep(time.Millisecond)
	}
}

func commitAs(t *testing.T, s store.Store, ro rollup, name string) {
	t.Helper()
	b := store.Batch{Log: name, To: 1}
	for _, r := range ro {
		b.Rows = append(b.Rows, *r)
	}
	sortRows(b.Rows)
	if err := s.Commit(context.Background(), b); err != nil {
		t.Fatal(err)
	}
}

// TestLiveRefuses: what can't be followed is answered like any other question.
func TestLiveRefuses(t *testing.T) {
	sender := func(r *http.Request) netip.Addr { return senders.Parse(r.Header.Get("X-From")) }
	srv := liveOn(t, dashboard.Config{Store: openStore(t), Reports: openLog(t), Sender: sender})
	for q, status := range map[string]int{
		"page=/nowhere":                             400,
		"page=/dictionary":                          400,
		"page=/api/v1/metrics":                      400,
		"page=tls":                                  400,
		"page=//elsewhere.example/":                 400,
		"page=https://elsewhere.example/":           400,
		"page=/live":                                400,
		"page=/tls?range=1week":                     400,
		"page=/&page=/tls":                          400,
		"page=/&vesion=1":                           400,
		"page=/" + strings.Repeat("a", 3000):        400,
		"page=/instance/" + strings.Repeat("0", 64): 403,
		"page=%ff":                                  400,
		"page=/%00":                                 400,
	} {
		w := get(t, srv.Config.Handler, "/live?"+q)
		if w.Code != status || w.Header().Get("Content-Type") != wire.TypeProblem {
			t.Errorf("%.60s: %d %s", q, w.Code, w.Body)
		}
	}
	if readers, pages := srv.Open(); readers+pages != 0 {
		t.Errorf("%d readers of %d pages are left", readers, pages)
	}
	for range dashboard.MaxSenderReaders {
		srv.events(t, url.Values{"page": {"/"}}, "X-From", "192.0.2.1")
	}
	if w := get(t, srv.Config.Handler, "/live?page=/", "X-From", "192.0.2.1"); w.Code != http.StatusTooManyRequests {
		t.Errorf("one connection too many: %d", w.Code)
	}
	srv.events(t, url.Values{"page": {"/"}}, "X-From", "192.0.2.2")
}

// TestReadingIsLimited: a sender has a rate, of which answers say what is left.
func TestReadingIsLimited(t *testing.T) {
	clock := now
	sender := func(r *http.Request) netip.Addr { return senders.Parse(r.Header.Get("X-From")) }
	h := serve(t, dashboard.Config{
		Store: openStore(t), Reports: openLog(t), Sender: sender, Limits: dashboard.Limits{PerSecond: 2, Burst: 10},
		Now: func() time.Time { return clock },
	})
	type answer struct {
		Status               int
		Limit, Policy, Retry string
	}
	ask := func(path, from string) answer {
		w := get(t, h, path, "X-From", from)
		return answer{w.Code, w.Header().Get("RateLimit"), w.Header().Get("RateLimit-Policy"), w.Header().Get("Retry-After")}
	}
	const policy = `"reading";q=10;w=5`
	const api, page, asset = "/api/v1/openapi.json", "/privacy", "/assets/style.css"
	for i, step := range []struct {
		path, from string
		pass       time.Duration
		want       answer
	}{
		{api, "192.0.2.1", 0, answer{200, `"reading";r=9;t=1`, policy, ""}},
		{page, "192.0.2.1", 0, answer{200, `"reading";r=4;t=3`, policy, ""}},
		{page, "192.0.2.1", 0, answer{429, `"reading";r=4;t=3`, policy, "1"}},
		{api, "192.0.2.1", 0, answer{200, `"reading";r=3;t=4`, policy, ""}},
		{asset, "192.0.2.1", 0, answer{Status: 200}},
		{api, "192.0.2.2", 0, answer{200, `"reading";r=9;t=1`, policy, ""}},
		{api, "127.0.0.1", 0, answer{Status: 200}},
		{api, "", 0, answer{Status: 200}},
		{page, "192.0.2.1", time.Second, answer{200, `"reading";r=0;t=5`, policy, ""}},
	} {
		clock = clock.Add(step.pass)
		if diff := cmp.Diff(step.want, ask(step.path, step.from)); diff != "" {
			t.Errorf("%d. %s from %q: %s", i, step.path, step.from, diff)
		}
	}
}

// TestCORS: scripts of other origins may read what is public, with conditions.
func TestCORS(t *testing.T) {
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t)})
	r := httptest.NewRequest("OPTIONS", "/api/v1/query?metric=http.requests", nil)
	r.Header.Set("Origin", "https://elsewhere.example")
	r.Header.Set("Access-Control-Request-Headers", "if-none-match")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), "If-None-Match") {
		t.Errorf("a preflight is answered %d %v", w.Code, w.Header())
	}
	first := get(t, h, "/api/v1/query?metric=http.requests")
	if first.Header().Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(first.Header().Get("Access-Control-Expose-Headers"), "ETag") {
		t.Errorf("an answer's header is %v", first.Header())
	}
	if again := get(t, h, "/api/v1/query?metric=http.requests", "If-None-Match", first.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("the same answer again: %d, %d bytes", again.Code, again.Body.Len())
	}
	link := get(t, h, wire.Link(ownKey, now.Add(time.Hour)))
	if got := link.Header().Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("an instance's page may be read from %q", got)
	}
}

// TestLivePages: every page that says its version can be followed.
func TestLivePages(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 10*time.Minute)
	srv := liveOn(t, dashboard.Config{Store: s, Reports: openLog(t)})
	pages := []string{"/chart/protocols"}
	for _, p := range dashboard.Paths() {
		if p = strings.TrimSuffix(p, "{$}"); !strings.Contains(p, "{") && !strings.HasPrefix(p, "/api/") && p != "/live" {
			pages = append(pages, p)
		}
	}
	for _, p := range pages {
		w := get(t, srv.Config.Handler, p)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "<main") || !strings.Contains(w.Body.String(), "data-version=") {
			continue
		}
		next, leave := srv.events(t, url.Values{"page": {p}})
		if c := changeOf(t, next); len(c.Parts) == 0 && strings.Contains(w.Body.String(), " data-live") {
			t.Errorf("%s has no parts", p)
		}
		leave()
	}
}
