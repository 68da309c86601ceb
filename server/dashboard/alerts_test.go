package dashboard_test

import (
	"context"
	"crypto/ed25519"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/alerts"
	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A clock that tests turn.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// late has alerts that are opened after the pages that show them.
type late struct{ *alerts.Service }

// alerting serves pages with real alerts of their numbers.
func alerting(t testing.TB, cfg dashboard.Config, c *clock) (*late, *dashboard.Dashboard, http.Handler) {
	t.Helper()
	cfg.Now = c.now
	l := &late{}
	cfg.Alerts = l
	d, err := dashboard.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	d.Register(mux)
	return l, d, l.open(t, d, c.now, mux)
}

// open opens the alerts of d's numbers, and serves them beside pages.
func (l *late) open(t testing.TB, d *dashboard.Dashboard, now func() time.Time, pages http.Handler) http.Handler {
	t.Helper()
	db, err := control.Open(context.Background(), "sqlite:"+filepath.Join(t.TempDir(), "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	l.Service, err = alerts.Open(context.Background(), alerts.Config{DB: db, Source: d, Public: dashboard.PublicWatches(), Now: now, Private: true, Every: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	l.Register(mux)
	return mux
}

// post sends a form.
func post(t testing.TB, h http.Handler, path string, f url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(f.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// looks runs the service until what is asked for is so.
func looks(t testing.TB, s *late, c *clock, until func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for range 600 {
		if until() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("it is not so after half a minute")
}

// TestReadings: what is watched is what the pages show.
func TestReadings(t *testing.T) {
	s, l := openStore(t), openLog(t)
	plausible(t, s, now, 4*time.Hour)
	for i := range uint64(36) { // 36 hours, in reports of an hour
		appendReport(t, l, report(i+1, now.Add(-time.Duration(36-i)*time.Hour).Truncate(time.Hour), 12))
	}
	c := &clock{at: now}
	_, d, h := alerting(t, dashboard.Config{Store: s, Reports: l}, c)
	own := wire.IDOf(ownKey.Public().(ed25519.PublicKey))
	for _, w := range dashboard.PublicWatches() {
		if err := w.Complete(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.CheckWatch(&w, false); err != nil {
			t.Errorf("%s: %v", w.Name, err)
			continue
		}
		hours, err := d.HourlyReadings(t.Context(), nil, w, now.Add(-24*time.Hour))
		if err != nil {
			t.Errorf("%s: %v", w.Name, err)
		}
		if len(hours) < 3 && w.Measure != watch.Share && w.Measure != watch.Quantile {
			t.Errorf("%s has %d hours", w.Name, len(hours))
		}
		if w.Measure == watch.Share {
			continue
		}
		v, _ := url.ParseQuery(w.Query)
		v.Set("grain", "hour")
		v.Set("by", "time")
		v.Set("range", "7d")
		path := "/api/v1/query?"
		if w.Measure == watch.Quantile {
			path = "/api/v1/quantiles?"
		}
		ans := getJSON[dashboard.Answer](t, h, path+v.Encode())
		shown := map[time.Time]float64{}
		for _, r := range ans.Rows {
			shown[r.Time.Add(time.Hour)] = float64(r.Count)
			if w.Measure == watch.Quantile {
				shown[r.Time.Add(time.Hour)] = r.Quantiles[0]
			}
		}
		for _, r := range hours {
			if shown[r.Time] != r.Value {
				t.Errorf("%s at %s is %g, the page shows %g", w.Name, r.Time, r.Value, shown[r.Time])
			}
		}
	}
	for _, w := range dashboard.OwnWatches() {
		if err := w.Complete(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.CheckWatch(&w, true); err != nil {
			t.Errorf("%s: %v", w.Name, err)
		}
	}
	requests := watch.Watch{Query: "metric=http.requests", Measure: watch.Count}
	hours, err := d.HourlyReadings(t.Context(), &own, requests, now.Add(-28*24*time.Hour))
	if err != nil || len(hours) != 36 {
		t.Fatalf("%d hours of the instance (%v)", len(hours), err)
	}
	reading, err := d.LatestReading(t.Context(), &own, requests)
	if err != nil || reading == nil || !reading.Time.Equal(now.Truncate(time.Hour)) || reading.Value != hours[35].Value {
		t.Errorf("the last hour is %+v (%v), was %+v", reading, err, hours[35])
	}
	silence, err := d.LatestReading(t.Context(), &own, watch.Watch{Measure: watch.Silence})
	if err != nil || silence.Value < 23 || silence.Value > 24 {
		t.Errorf("silent for %+v (%v)", silence, err)
	}
	for q, m := range map[string]watch.Measure{
		"metric=nothing": watch.Count, "metric=http.requests&by=time": watch.Count, "metric=http.requests&range=1h": watch.Count,
		"metric=http.requests": watch.Share, "metric=http.first_byte": watch.Count + "x", "metric=http.first_byte&q=0.1,0.2": watch.Quantile,
		"metric=http.requests&facet=country": watch.Count, "metric=http.requests&facet=country&value=DE&value=FR": watch.Count, "%zz": watch.Count,
		"metric=instances.version": watch.Count,
	} {
		w := watch.Watch{Query: q, Measure: m}
		if w.Complete() != nil {
			continue
		}
		if _, err := d.CheckWatch(&w, false); err == nil {
			t.Errorf("%s of %q is taken", m, q)
		}
	}
	for _, q := range []string{"metric=instances.active", "metric=http.requests&facet=country&value=DE"} {
		if _, err := d.CheckWatch(&watch.Watch{Query: q, Measure: watch.Count}, true); err == nil {
			t.Errorf("%q of one instance is taken", q)
		}
	}
}

// TestSuppressedWatch: a group that no page shows is not told of either.
func TestSuppressedWatch(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 4*time.Hour)
	c := &clock{at: now}
	w := watch.Watch{Query: "metric=instances.active&facet=country&value=DE", Measure: watch.Count}
	for _, privacy := range []dashboard.Privacy{{}, {MinInstances: 1 << 40, MinEvents: 1 << 40, MaxShare: 0.25}} {
		_, d, _ := alerting(t, dashboard.Config{Store: s, Reports: openLog(t), Privacy: privacy}, c)
		hours, err := d.HourlyReadings(t.Context(), nil, w, now.Add(-3*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		reading, err := d.LatestReading(t.Context(), nil, w)
		if err != nil {
			t.Fatal(err)
		}
		if shown := privacy == (dashboard.Privacy{}); shown != (len(hours) > 0) || shown != (reading != nil) {
			t.Errorf("%+v: %d hours, now %+v", privacy, len(hours), reading)
		}
	}
}

// steady counts requests of some instances in a day and a half, the same in each window.
func steady(t testing.TB, s store.Store) {
	ro := rollup{}
	for w := now.Add(-36 * time.Hour).Truncate(5 * time.Minute); w.Before(now); w = w.Add(5 * time.Minute) {
		ro.count(w, wire.HTTPRequests, dims(wire.HTTPRequests, "http/2", "200", "site"), 1000, 10)
		for id := range uint64(10) {
			ro.active(w, id, wire.All, "")
		}
	}
	ro.commit(t, s)
}

// TestAlertPages goes from the form to the end of a subscription, without a script.
func TestAlertPages(t *testing.T) {
	s, l := openStore(t), openLog(t)
	steady(t, s)
	appendReport(t, l, report(1, now.Add(-time.Hour).Truncate(5*time.Minute), 6))
	c := &clock{at: now}
	service, _, h := alerting(t, dashboard.Config{Store: s, Reports: l}, c)
	looks(t, service, c, func() bool {
		c.add(2 * time.Second)
		return strings.Contains(get(t, h, "/alerts").Body.String(), "As usual")
	})
	described := description(t)
	conform(t, described, "/api/v1/alerts", getJSON[any](t, h, "/api/v1/alerts"), object{"$ref": "#/components/schemas/AlertSubscription"})
	w := get(t, h, "/alerts")
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self'") {
		t.Errorf("its form can't be sent: %s", csp)
	}
	doc := parsed(t, h, "/alerts")
	if n := len(find(doc, func(n *html.Node) bool { return n.Data == "input" && attr(n, "type") == "checkbox" })); n != len(dashboard.PublicWatches()) {
		t.Errorf("%d numbers are offered", n)
	}
	code := func(w *httptest.ResponseRecorder, id string) string {
		t.Helper()
		doc, err := html.Parse(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range find(doc, func(n *html.Node) bool { return attr(n, "id") == id }) {
			return text(n)
		}
		t.Fatalf("%d: there is no %s", w.Code, id)
		return ""
	}
	w = post(t, h, "/alerts/subscribe", url.Values{"watch": {"1", "2"}, "name": {"<b>Mine</b>"}, "sensitivity": {"high"}})
	if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "private, no-store" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	body := w.Body.String()
	page := body[strings.Index(body, `href="/alerts/`)+6:]
	page = page[:strings.IndexByte(page, '"')]
	token := code(w, "token")
	shown := get(t, h, page)
	if shown.Code != http.StatusOK || !strings.Contains(shown.Body.String(), "&lt;b&gt;Mine&lt;/b&gt;") || !strings.Contains(shown.Body.String(), "Requests") {
		t.Errorf("%d %s", shown.Code, shown.Body)
	}
	if w := get(t, h, "/api/v1"+page+"/feed.atom"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "http://www.w3.org/2005/Atom") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := post(t, h, page+"/end", url.Values{"token": {"wrong"}}); w.Code != http.StatusForbidden {
		t.Errorf("ended by a wrong token: %d", w.Code)
	}
	if w := post(t, h, page+"/end", url.Values{"token": {token}}); w.Code != http.StatusSeeOther {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := get(t, h, page); w.Code != http.StatusNotFound {
		t.Errorf("it is there after its end: %d", w.Code)
	}

	// An instance's, on its own page.
	link := wire.Link(ownKey, now.Add(24*time.Hour))
	w = post(t, h, "/alerts/subscribe", url.Values{"link": {"https://evergreen.example" + link}, "watch": {"0", "1"}})
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	own := get(t, h, link).Body.String()
	if !strings.Contains(own, "Alerts of my Caddy") {
		t.Error("the instance's page does not list it")
	}
	path := own[strings.Index(own, `action="/alerts/`)+8:]
	path = path[:strings.IndexByte(path, '"')]
	other := ed25519.NewKeyFromSeed([]byte("a key of some other instance 32b"))
	if w := post(t, h, path, url.Values{"link": {wire.Link(other, now.Add(time.Hour))}}); w.Code != http.StatusForbidden {
		t.Errorf("ended by another instance's link: %d", w.Code)
	}
	if w := post(t, h, path, url.Values{"link": {link}}); w.Code != http.StatusSeeOther {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for name, f := range map[string]url.Values{
		"unknown": {"x": {"1"}}, "none": {}, "no number": {"watch": {"x"}}, "not offered": {"watch": {"99"}}, "twice": {"watch": {"1"}, "name": {"a", "b"}},
		"no metric": {"query": {"metric=x"}}, "no link": {"link": {"/instance/x"}, "watch": {"1"}}, "ftp": {"watch": {"1"}, "url": {"ftp://x.example/"}},
	} {
		if w := post(t, h, "/alerts/subscribe", f); w.Code < 400 || w.Code >= 500 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

// TestYourPage: the way to one's own page.
func TestYourPage(t *testing.T) {
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t)})
	if w := get(t, h, "/instance"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "caddy evergreen link") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	link := wire.Link(ownKey, now.Add(time.Hour))
	w := get(t, h, "/instance?link="+url.QueryEscape("https://evergreen.example"+link))
	if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/instance/") {
		t.Errorf("%d %s", w.Code, w.Header())
	}
	if w := get(t, h, "/instance?link=https://elsewhere.example/"); w.Code != http.StatusForbidden {
		t.Errorf("%d", w.Code)
	}
	if w := get(t, h, "/instance?x=1"); w.Code != http.StatusBadRequest {
		t.Errorf("%d", w.Code)
	}
}
