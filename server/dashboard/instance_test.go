package dashboard_test

import (
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/wire"
)

// apiOf turns a link to an instance's page into one to its part of the API.
func apiOf(link, rest, query string) string {
	path, signature, _ := strings.Cut(link, "?")
	return "/api/v1" + path + rest + "?" + query + "&" + signature
}

func TestInstanceLink(t *testing.T) {
	l := openLog(t)
	appendReport(t, l, report(1, now.Add(-time.Hour).Truncate(5*time.Minute), 6))
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: l})
	other := ed25519.NewKeyFromSeed([]byte("a key of some other instance 32b"))
	good := wire.Link(ownKey, now.Add(time.Hour))
	id := wire.IDOf(ownKey.Public().(ed25519.PublicKey)).String()
	foreign := strings.Replace(wire.Link(other, now.Add(time.Hour)), wire.IDOf(other.Public().(ed25519.PublicKey)).String(), id, 1)
	for name, c := range map[string]struct {
		link   string
		status int
		says   string
	}{
		"good":         {good, http.StatusOK, "Your instance"},
		"another key":  {foreign, http.StatusForbidden, "caddy evergreen link"},
		"no signature": {good[:strings.Index(good, "?")], http.StatusForbidden, "caddy evergreen link"},
		"cut off":      {good[:len(good)-4], http.StatusForbidden, "cut off"},
		"no id":        {"/instance/xyz?" + strings.SplitN(good, "?", 2)[1], http.StatusForbidden, "caddy evergreen link"},
		"expired":      {wire.Link(ownKey, now.Add(-time.Second)), http.StatusGone, "caddy evergreen link"},
		"for too long": {wire.Link(ownKey, now.Add(10*365*24*time.Hour)), http.StatusGone, "caddy evergreen link"},
		"postponed":    {strings.Replace(good, "expires="+good[strings.Index(good, "expires=")+8:strings.Index(good, "&")], "expires=1999999999", 1), http.StatusForbidden, "caddy evergreen link"},
		"bad range":    {good + "&range=2d", http.StatusBadRequest, "range is"},
		"unknown":      {good + "&metric=http.requests", http.StatusBadRequest, "no parameter here"},
	} {
		for _, path := range []string{c.link, apiOf(c.link, "", "")} {
			if name == "no signature" && strings.HasPrefix(path, "/api") {
				path = strings.TrimRight(path, "?&")
			}
			path = strings.Replace(path, "?&", "?", 1)
			w := get(t, h, path)
			if w.Code != c.status {
				t.Errorf("%s: %s: %d %s", name, path, w.Code, w.Body)
			}
			if strings.HasPrefix(path, "/instance") && !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("%s doesn't say %q", name, c.says)
			}
			for header, want := range map[string]string{
				"Cache-Control": "private, no-store", "X-Robots-Tag": "noindex, nofollow", "Referrer-Policy": "no-referrer",
				"ETag": "", "Access-Control-Allow-Origin": "",
			} {
				if got := w.Header().Get(header); got != want {
					t.Errorf("%s: %s is %q", name, header, got)
				}
			}
		}
	}
}

// TestInstanceNumbers: an own page's numbers are those of the reports, each
// counted once.
func TestInstanceNumbers(t *testing.T) {
	l := openLog(t)
	first := now.Add(-3 * time.Hour).Truncate(time.Hour)
	var requests, http3 uint64
	byHour := map[time.Time]uint64{}
	for i := range uint64(4) {
		r := report(i+1, first.Add(time.Duration(i)*30*time.Minute), 6)
		appendReport(t, l, r)
		if i == 2 {
			appendReport(t, l, r) // sent again because the answer got lost
		}
		for _, w := range r.Windows {
			for j, v := range w.Series[0].Values {
				requests += v
				byHour[time.Unix(w.Start, 0).UTC().Truncate(time.Hour)] += v
				if j == 1 {
					http3 += v
				}
			}
		}
	}
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: l})
	link := wire.Link(ownKey, now.Add(time.Hour))

	ans := getJSON[dashboard.Answer](t, h, apiOf(link, "/query", "metric=http.requests&by=protocol&range=24h"))
	want := []dashboard.Row{
		{Group: map[string]string{"protocol": "http/2"}, Count: requests - http3},
		{Group: map[string]string{"protocol": "http/3"}, Count: http3},
	}
	if diff := cmp.Diff(want, ans.Rows); diff != "" {
		t.Error(diff)
	}
	ans = getJSON[dashboard.Answer](t, h, apiOf(link, "/query", "metric=http.requests&by=time&grain=hour&range=24h"))
	for _, r := range ans.Rows {
		if r.Count != byHour[*r.Time] {
			t.Errorf("%s: %d, want %d", r.Time, r.Count, byHour[*r.Time])
		}
		delete(byHour, *r.Time)
	}
	if len(byHour) > 0 {
		t.Errorf("missing: %v", byHour)
	}
	ans = getJSON[dashboard.Answer](t, h, apiOf(link, "/query", "metric=http.requests&where.status=404&from=2026-11-21T07:30:00Z&to=2026-11-21T07:35:00Z"))
	n := 100 + uint64(first.Add(30*time.Minute).Unix()/300%50)
	if len(ans.Rows) != 1 || ans.Rows[0].Count != n/4 {
		t.Errorf("one window's 404: %+v, want %d", ans.Rows, n/4)
	}
	q := getJSON[dashboard.Answer](t, h, apiOf(link, "/quantiles", "metric=http.first_byte&q=0.5"))
	if len(q.Rows) != 1 || q.Rows[0].Count != requests-http3 {
		t.Errorf("%+v", q.Rows)
	}
	if p := q.Rows[0].Quantiles[0]; p < 1300 || p > 2000 {
		t.Errorf("the median is %g", p)
	}
	peak := getJSON[dashboard.Answer](t, h, apiOf(link, "/quantiles", "metric=http.requests.peak&by=time&q=0.5"))
	if len(peak.Rows) != 24 {
		t.Errorf("%d windows have a peak", len(peak.Rows))
	}

	all := getJSON[struct {
		Instance  string
		From, To  time.Time
		Reports   []dashboard.ReportInfo
		Versions  []dashboard.Change
		Incidents []dashboard.OwnIncident
		Latest    json.RawMessage
	}](t, h, apiOf(link, "", "range=24h"))
	if len(all.Reports) != 4 || all.Reports[0].Number != 4 || all.Reports[0].Country != "DE" || len(all.Versions) != 1 {
		t.Errorf("%+v", all)
	}
	if r, err := wire.DecodeJSON(all.Latest); err != nil || r.Number != 4 || len(r.Windows) != 6 {
		t.Errorf("the newest report comes out as %s (%v)", all.Latest, err)
	}

	for _, refused := range []string{"metric=instances.active", "metric=http.requests&facet=country&by=value"} {
		if w := get(t, h, apiOf(link, "/query", refused)); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", refused, w.Code)
		}
	}

	// The page says the same, and all of its links work.
	w := get(t, h, link+"&range=24h")
	doc, err := html.Parse(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range find(doc, func(n *html.Node) bool { return n.Data == "figure" }) {
		a := find(f, func(n *html.Node) bool { return n.Data == "a" && attr(n, "class") == "source" })[0]
		ans := getJSON[dashboard.Answer](t, h, attr(a, "href"))
		if ans.Q == nil && len(ans.Rows) > 0 {
			inTable(t, f, ans)
		}
	}
	for _, a := range find(doc, func(n *html.Node) bool { return n.Data == "a" }) {
		href := attr(a, "href")
		href, _, _ = strings.Cut(href, "#")
		if href == "" {
			continue
		}
		if w := get(t, h, href); w.Code != http.StatusOK {
			t.Errorf("%s: %d", href, w.Code)
		}
	}
}

// TestLinks: every link of the public pages leads somewhere.
func TestLinks(t *testing.T) {
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t)})
	for _, page := range []string{"/", "/dictionary", "/privacy"} {
		doc, err := html.Parse(get(t, h, page).Body)
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for _, n := range find(doc, func(n *html.Node) bool { return attr(n, "id") != "" }) {
			if ids[attr(n, "id")] {
				t.Errorf("%s has two %s", page, attr(n, "id"))
			}
			ids[attr(n, "id")] = true
		}
		seen := map[string]bool{}
		for _, n := range find(doc, func(n *html.Node) bool { return n.Data == "a" }) {
			href := attr(n, "href")
			if seen[href] {
				continue
			}
			seen[href] = true
			u, err := url.Parse(href)
			if err != nil {
				t.Fatal(err)
			}
			if u.Path == "" {
				if !ids[u.Fragment] {
					t.Errorf("%s links to %s, which isn't there", page, href)
				}
			} else if w := get(t, h, strings.TrimSuffix(href, "#"+u.Fragment)); w.Code != http.StatusOK {
				t.Errorf("%s links to %s: %d", page, href, w.Code)
			}
		}
	}
}
