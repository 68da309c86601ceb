package alerts_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/alerts"
	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

var began = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// A world has a clock, numbers and a webhook.
type world struct {
	mu     sync.Mutex
	now    time.Time
	value  float64
	broken bool // the source
	status int  // of the webhook
	got    []alerts.Message
	heads  []http.Header
	bodies [][]byte
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) change(f func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

func (w *world) CheckWatch(wt *watch.Watch, own bool) (string, error) {
	if strings.Contains(wt.Query, "nothing") {
		return "", errors.New("there is no such metric")
	}
	if wt.Name == "" {
		wt.Name = "Requests"
	}
	return "", nil
}

func (w *world) HourlyReadings(_ context.Context, _ *wire.InstanceID, _ watch.Watch, from time.Time) (rs []watch.Reading, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for h := from.Truncate(time.Hour); !h.Add(time.Hour).After(w.now); h = h.Add(time.Hour) {
		rs = append(rs, watch.Reading{Time: h.Add(time.Hour), Value: 1000 + float64(h.Hour())})
	}
	return rs, nil
}

func (w *world) LatestReading(context.Context, *wire.InstanceID, watch.Watch) (*watch.Reading, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken {
		return nil, errors.New("the store does not answer")
	}
	return &watch.Reading{Time: w.now, Value: w.value}, nil
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	var m alerts.Message
	_ = json.Unmarshal(b, &m)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got, w.heads, w.bodies = append(w.got, m), append(w.heads, r.Header.Clone()), append(w.bodies, b)
	rw.WriteHeader(w.status)
}

func (w *world) types() (ts []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.got {
		ts = append(ts, m.Type)
	}
	return ts
}

func newWorld() *world { return &world{now: began, value: 1000, status: http.StatusNoContent} }

// start opens the service on a state, and the API.
func start(t *testing.T, w *world, file string, change func(*alerts.Config)) (*alerts.Service, http.Handler) {
	t.Helper()
	db, err := control.Open(t.Context(), "sqlite:"+file)
	if err != nil {
		t.Fatal(err)
	}
	cfg := alerts.Config{
		DB: db, Source: w, Now: w.clock, Private: true, URL: "https://evergreen.example", Logger: slog.New(slog.DiscardHandler),
		Public: []watch.Watch{{Name: "All requests", Query: "metric=http.requests"}},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := alerts.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	mux := http.NewServeMux()
	s.Register(mux)
	return s, mux
}

func ask(t *testing.T, h http.Handler, method, path, body string, into any, header ...string) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if into != nil && w.Code < 300 {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
		}
	}
	return w.Code
}

// TestDeparture goes from subscribing to a webhook and a feed that tell of a
// departure and of its end.
func TestDeparture(t *testing.T) {
	w := newWorld()
	hook := httptest.NewServer(w)
	defer hook.Close()
	s, h := start(t, w, filepath.Join(t.TempDir(), "control.db"), nil)
	var c watch.Created
	if code := ask(t, h, "POST", alerts.PathAlerts, `{"name":"Mine","url":"`+hook.URL+`/x?key=1","watches":[{"query":"metric=http.requests","direction":"above"}]}`, &c); code != http.StatusCreated {
		t.Fatal(code)
	}
	step := func(value float64, looks int) {
		t.Helper()
		for range looks {
			w.change(func(w *world) { w.now, w.value = w.now.Add(6*time.Minute), value })
			if err := s.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.Deliver(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	step(1000, 3)
	step(5000, 4)
	step(1000, 5)
	if d := cmp.Diff([]string{"alert.subscribed", "alert.departed", "alert.returned"}, w.types()); d != "" {
		t.Fatal(d)
	}
	for i := range w.bodies {
		at := time.Unix(0, 0)
		if n, err := time.ParseDuration(w.heads[i].Get("Webhook-Timestamp") + "s"); err == nil {
			at = at.Add(n)
		}
		if err := alerts.Verify(c.Secret, w.heads[i], w.bodies[i], at); err != nil {
			t.Errorf("message %d: %v", i, err)
		}
		if alerts.Verify(c.Secret, w.heads[i], append(w.bodies[i], ' '), at) == nil {
			t.Errorf("message %d is taken though it was changed", i)
		}
		if alerts.Verify(c.Secret, w.heads[i], w.bodies[i], at.Add(time.Hour)) == nil {
			t.Errorf("message %d is taken again an hour later", i)
		}
	}
	gone := w.got[1].Data
	if gone.Subscription != c.ID || gone.Name != "Mine" || gone.Judgement.Value != 5000 || gone.Judgement.Side != watch.Over || gone.Page != "https://evergreen.example/alerts/"+c.ID {
		t.Errorf("%+v", gone)
	}
	if !strings.Contains(gone.Text, "unusually high, 5000; usual at this time is 10") {
		t.Errorf("it says %q", gone.Text)
	}
	var sub watch.Subscription
	if code := ask(t, h, "GET", alerts.PathAlerts+"/"+c.ID, "", &sub); code != http.StatusOK {
		t.Fatal(code)
	}
	if len(sub.Events) != 3 || sub.Events[0].Type != watch.Returned || sub.Events[0].Delivery != "delivered" || sub.State != "active" || sub.Host != "127.0.0.1" {
		t.Errorf("%+v", sub)
	}
	// Whoever may read it is not told where the webhook is.
	if b, err := json.Marshal(sub); err != nil || strings.Contains(string(b), "key=1") {
		t.Errorf("%s (%v)", b, err)
	}

	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", c.Feed, nil))
	var feed struct {
		XMLName xml.Name `xml:"http://www.w3.org/2005/Atom feed"`
		ID      string   `xml:"id"`
		Entries []struct {
			ID    string `xml:"id"`
			Title string `xml:"title"`
		} `xml:"entry"`
	}
	if err := xml.Unmarshal(rec.Body.Bytes(), &feed); err != nil || len(feed.Entries) != 3 || !strings.HasPrefix(feed.ID, "urn:uuid:") {
		t.Errorf("the feed: %v %s", err, rec.Body)
	}
	again := httptest.NewRequestWithContext(t.Context(), "GET", c.Feed, nil)
	again.Header.Set("If-None-Match", rec.Header().Get("ETag"))
	rec = httptest.NewRecorder()
	if h.ServeHTTP(rec, again); rec.Code != http.StatusNotModified {
		t.Errorf("an unchanged feed: %d", rec.Code)
	}

	// The public subscription watched the same, and has a feed of its own.
	var public watch.Subscription
	if code := ask(t, h, "GET", alerts.PathAlerts, "", &public); code != http.StatusOK || len(public.Events) != 2 || public.Watches[0].Name != "All requests" {
		t.Errorf("%d %+v", code, public)
	}

	for auth, want := range map[string]int{"": http.StatusForbidden, "Bearer x": http.StatusForbidden, "Bearer " + c.ID: http.StatusForbidden, "Bearer " + c.Token: http.StatusNoContent} {
		if auth == "Bearer "+c.Token {
			continue // last
		}
		if code := ask(t, h, "DELETE", alerts.PathAlerts+"/"+c.ID, "", nil, "Authorization", auth); code != want {
			t.Errorf("ended with %q: %d", auth, code)
		}
	}
	if code := ask(t, h, "DELETE", alerts.PathAlerts+"/"+alerts.PublicID, "", nil, "Authorization", "Bearer "+c.Token); code != http.StatusForbidden {
		t.Errorf("everybody's subscription was ended: %d", code)
	}
	if code := ask(t, h, "DELETE", alerts.PathAlerts+"/"+c.ID, "", nil, "Authorization", "Bearer "+c.Token); code != http.StatusNoContent {
		t.Errorf("%d", code)
	}
	if code := ask(t, h, "GET", alerts.PathAlerts+"/"+c.ID, "", nil); code != http.StatusNotFound {
		t.Errorf("it is there after its end: %d", code)
	}
	step(9000, 4)
	if n := len(w.types()); n != 3 {
		t.Errorf("%d messages, some after the end", n)
	}
}

// TestRetries: a webhook that fails is asked again, one that never answers or is
// gone is given up, and a restart in the middle loses nothing.
func TestRetries(t *testing.T) {
	w := newWorld()
	w.status = http.StatusServiceUnavailable
	hook := httptest.NewServer(w)
	defer hook.Close()
	file := filepath.Join(t.TempDir(), "control.db")
	s, h := start(t, w, file, nil)
	var c watch.Created
	body := `{"url":"` + hook.URL + `","watches":[{"query":"metric=http.requests"}]}`
	if code := ask(t, h, "POST", alerts.PathAlerts, body, &c); code != http.StatusCreated {
		t.Fatal(code)
	}
	deliver := func(s *alerts.Service, after time.Duration) {
		t.Helper()
		w.change(func(w *world) { w.now = w.now.Add(after) })
		if err := s.Deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	state := func() watch.Subscription {
		t.Helper()
		var sub watch.Subscription
		ask(t, h, "GET", alerts.PathAlerts+"/"+c.ID, "", &sub)
		return sub
	}
	deliver(s, 0)
	deliver(s, 0) // it is not due
	if sub := state(); sub.State != "pending" || sub.Events[0].Delivery != "answered 503; it is tried again" || len(w.types()) != 1 {
		t.Fatalf("%+v %v", sub, w.types())
	}
	s, h = start(t, w, file, nil)
	w.change(func(w *world) { w.status = http.StatusOK })
	deliver(s, 10*time.Second)
	if sub := state(); sub.State != "active" || sub.Events[0].Delivery != "delivered" {
		t.Fatalf("%+v", sub)
	}
	if a, b := w.heads[0].Get("Webhook-Id"), w.heads[1].Get("Webhook-Id"); a != b {
		t.Errorf("the same message is called %s and %s", a, b)
	}

	// It fails from now on, for days.
	w.change(func(w *world) { w.status = http.StatusInternalServerError })
	alarm := func() {
		t.Helper()
		for _, v := range []float64{1000, 1000, 1000, 1000, 9000, 9000} {
			w.change(func(w *world) { w.now, w.value = w.now.Add(6*time.Minute), v })
			if err := s.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := len(w.types())
	alarm()
	for range 400 {
		deliver(s, time.Hour)
	}
	if n := len(w.types()) - before; n < 8 || n > 30 {
		t.Errorf("%d attempts in two weeks", n)
	}
	alarm()
	deliver(s, time.Hour)
	if sub := state(); sub.State != "ended" || !strings.Contains(sub.Why, "five days") {
		t.Errorf("%+v", sub)
	}

	// One that says that it is gone gets nothing more.
	w.change(func(w *world) { w.status = http.StatusGone })
	if code := ask(t, h, "POST", alerts.PathAlerts, body, &c); code != http.StatusCreated {
		t.Fatal(code)
	}
	deliver(s, 0)
	if sub := state(); sub.State != "ended" || !strings.Contains(sub.Why, "gone") {
		t.Errorf("%+v", sub)
	}
}

// TestBroken: what can't be read holds up nothing and is told as nothing.
func TestBroken(t *testing.T) {
	w := newWorld()
	s, h := start(t, w, filepath.Join(t.TempDir(), "control.db"), nil)
	w.broken = true
	if err := s.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.change(func(w *world) { w.broken, w.now = false, w.now.Add(10*time.Minute) })
	if err := s.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	var public watch.Subscription
	ask(t, h, "GET", alerts.PathAlerts, "", &public)
	if public.Watches[0].State != watch.Usual || len(public.Events) != 0 {
		t.Errorf("%+v", public)
	}
}

// TestInstance: an instance's subscriptions take its link, and end with it.
func TestInstance(t *testing.T) {
	w := newWorld()
	s, h := start(t, w, filepath.Join(t.TempDir(), "control.db"), nil)
	key := ed25519.NewKeyFromSeed([]byte("thirty-two bytes that are a seed"))
	id := wire.IDOf(key.Public().(ed25519.PublicKey))
	other := ed25519.NewKeyFromSeed([]byte("thirty-two bytes of another seed"))
	link := "https://evergreen.example" + wire.Link(key, w.now.Add(time.Hour))
	wish := func(link string) string {
		b, _ := json.Marshal(map[string]any{"link": link, "watches": []watch.Watch{{Measure: watch.Silence}}})
		return string(b)
	}
	var c watch.Created
	for name, x := range map[string]struct {
		link string
		want int
	}{
		"no link":    {"x", http.StatusForbidden},
		"cut off":    {link[:len(link)-3], http.StatusForbidden},
		"expired":    {wire.Link(key, w.now.Add(-time.Hour)), http.StatusGone},
		"of another": {strings.Replace(wire.Link(other, w.now.Add(time.Hour)), wire.IDOf(other.Public().(ed25519.PublicKey)).String(), id.String(), 1), http.StatusForbidden},
	} {
		if code := ask(t, h, "POST", alerts.PathAlerts, wish(x.link), nil); code != x.want {
			t.Errorf("%s: %d", name, code)
		}
	}
	if code := ask(t, h, "POST", alerts.PathAlerts, `{"watches":[{"measure":"silence"}]}`, nil); code != http.StatusUnprocessableEntity {
		t.Errorf("everybody's silence: %d", code)
	}
	for i := range 11 {
		want := http.StatusCreated
		if i == 10 {
			want = http.StatusConflict
		}
		if code := ask(t, h, "POST", alerts.PathAlerts, wish(link), &c); code != want {
			t.Errorf("subscription %d: %d", i, code)
		}
	}
	subs, err := s.OfInstance(t.Context(), id)
	if err != nil || len(subs) != 10 || subs[0].Instance != id.String() {
		t.Fatalf("%v %+v", err, subs)
	}
	if err := s.EndOf(t.Context(), wire.IDOf(other.Public().(ed25519.PublicKey)), c.ID); err == nil {
		t.Error("another instance's link ended it")
	}
	if err := s.EndOf(t.Context(), id, c.ID); err != nil {
		t.Error(err)
	}
	if err := s.Forget(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if subs, err = s.OfInstance(t.Context(), id); err != nil || len(subs) != 0 {
		t.Errorf("%v %+v", err, subs)
	}
}

// TestPrivateAddresses: no webhook is a way into a network.
func TestPrivateAddresses(t *testing.T) {
	w := newWorld()
	hook := httptest.NewTLSServer(w)
	defer hook.Close()
	s, h := start(t, w, filepath.Join(t.TempDir(), "control.db"), func(c *alerts.Config) { c.Private = false })
	for _, url := range []string{
		"http://example.com/", hook.URL, "https://localhost/", "https://10.0.0.1/", "https://[::1]/", "https://[fd00::1]/", "https://169.254.169.254/latest",
		"https://[::ffff:127.0.0.1]/", "https://user:pass@example.com/", "https://example.com/#x", "https://example.com:0/", "https://intranet/",
		"https://db.internal/", "https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://[64:ff9b::a00:1]/", "https://[2002:7f00:1::]/", "ftp://example.com/",
		"https://example.com/" + strings.Repeat("x", 600), "https://100.64.0.1/", "https://[fe80::1%25eth0]/", "//example.com/",
	} {
		b, _ := json.Marshal(map[string]any{"url": url, "watches": []watch.Watch{{Query: "metric=http.requests"}}})
		if code := ask(t, h, "POST", alerts.PathAlerts, string(b), nil); code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", url, code)
		}
	}
	// A name that leads to this machine passes for one, and is refused when it is connected to.
	if err := alerts.Dial(t.Context(), hook.Listener.Addr().String()); err == nil || !strings.Contains(err.Error(), "public") {
		t.Errorf("connected to %s: %v", hook.Listener.Addr(), err)
	}
	if err := s.Deliver(t.Context()); err != nil || len(w.types()) != 0 {
		t.Errorf("%v, %v", err, w.types())
	}
}

func TestRefused(t *testing.T) {
	w := newWorld()
	_, h := start(t, w, filepath.Join(t.TempDir(), "control.db"), func(c *alerts.Config) {
		n := 0
		c.Limit = func(*http.Request) time.Duration {
			if n++; n > 8 {
				return 90 * time.Second
			}
			return 0
		}
	})
	for _, body := range []string{
		``, `{}`, `{"watches":[]}`, `{"watches":[{"query":"x"}],"extra":1}`, `{"watches":[{"query":"x","measure":"y"}]}`,
		`{"watches":[{"query":"x"}]}{}`, `{"name":"a\nb","watches":[{"query":"x"}]}`,
		`{"watches":[` + strings.TrimSuffix(strings.Repeat(`{"query":"x"},`, 13), ",") + `]}`,
	} {
		if code := ask(t, h, "POST", alerts.PathAlerts, body, nil); code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", body, code)
		}
	}
	if code := ask(t, h, "POST", alerts.PathAlerts, `{"watches":[{"query":"x"}]}`, nil); code != http.StatusTooManyRequests {
		t.Errorf("too often: %d", code)
	}
	for _, path := range []string{"/" + strings.Repeat("0", 32), "/x%00", "/x/feed.atom"} {
		if code := ask(t, h, "GET", alerts.PathAlerts+path, "", nil); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func FuzzParseWish(f *testing.F) {
	key := ed25519.NewKeyFromSeed([]byte("thirty-two bytes that are a seed"))
	f.Add([]byte(`{"watches":[{"query":"metric=http.requests","measure":"count"}],"url":"https://example.com"}`))
	f.Add([]byte(`{"link":"` + wire.Link(key, began.Add(time.Hour)) + `","watches":[]}`))
	f.Add([]byte(`{"link":"/instance/zz?expires=-1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		wish, err := alerts.ParseWish(b, began)
		var told interface{ Problem() wire.Problem }
		if err != nil && !errors.As(err, &told) {
			t.Errorf("%q: the asker is not told of %v", b, err)
		}
		if err == nil && (wish.Link == "") != (wish.Instance == nil) {
			t.Errorf("%q: %+v", b, wish)
		}
	})
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"https://example.com/", "https://[::1]/", "https://127.0.0.1:443", "https://a.b.c.d.", "https://1.2.3.4.5/", "https://[2606:4700::1]/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := alerts.CheckURL(s, false)
		if err == nil && (host == "" || strings.HasPrefix(host, "127.") || !strings.HasPrefix(strings.ToLower(s), "https:")) {
			t.Errorf("%q is taken, at %q", s, host)
		}
	})
}
