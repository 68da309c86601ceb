package dashboard_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
)

// TestSearch: what has a name on the pages is found by it, first, and leads to
// a page that is there.
func TestSearch(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 3*time.Hour)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	for q, want := range map[string]string{
		"http.requests": "metric http.requests",
		"v2.11.9":       "version v2.11.9",
		"2.11.9":        "version v2.11.9",
		"germany":       "country Germany",
		"DE":            "country Germany",
		"GERM":          "country Germany",
		"status_class":  "dimension status_class",
		"status codes":  "chart Status codes",
		"interception":  "page Clients: Interception",
		"tls":           "page TLS: Handshakes",
		"handshakes":    "page TLS: Handshakes",
	} {
		f := getJSON[dashboard.Found](t, h, "/api/v1/search?"+url.Values{"q": {q}}.Encode())
		if len(f.Hits) == 0 || f.Total < len(f.Hits) {
			t.Errorf("%s: %d of %d hits", q, len(f.Hits), f.Total)
			continue
		}
		if got := f.Hits[0].Kind + " " + f.Hits[0].Name; got != want {
			t.Errorf("%s: the first is %s, want %s", q, got, want)
		}
		page := parsed(t, h, "/search?"+url.Values{"q": {q}}.Encode())
		var shown, listed []string
		for _, li := range find(page, func(n *html.Node) bool {
			return n.Data == "li" && n.Parent != nil && attr(n.Parent, "class") == "found"
		}) {
			shown = append(shown, attr(find(li, func(n *html.Node) bool { return n.Data == "a" })[0], "href"))
		}
		for _, hit := range f.Hits {
			listed = append(listed, hit.Href)
		}
		if diff := cmp.Diff(listed, shown); diff != "" {
			t.Errorf("%s: the page has others than the API: %s", q, diff)
		}
	}
	for _, c := range []struct {
		q    string
		want dashboard.Found
	}{
		{"", dashboard.Found{Hits: []dashboard.Hit{}}},
		{"  ", dashboard.Found{Query: "  ", Hits: []dashboard.Hit{}}},
		{"germaniy", dashboard.Found{Query: "germaniy", Hits: []dashboard.Hit{}, Nearest: "Germany"}},
		{"<script>alert(1)</script>zzz", dashboard.Found{Query: "<script>alert(1)</script>zzz", Hits: []dashboard.Hit{}}},
	} {
		if diff := cmp.Diff(c.want, getJSON[dashboard.Found](t, h, "/api/v1/search?"+url.Values{"q": {c.q}}.Encode()), cmp.AllowUnexported(dashboard.Hit{})); diff != "" {
			t.Errorf("%q: %s", c.q, diff)
		}
	}
	if page := get(t, h, "/search?q=%3Cscript%3Ealert(1)%3C%2Fscript%3E").Body.String(); strings.Contains(page, "<script>alert") {
		t.Error("a query is written into the page as it is")
	}
	for _, bad := range []string{"q=a&limit=0", "q=a&limit=101", "q=a&q=b", "query=a", "q=" + strings.Repeat("a", 101), "q=a+b+c+d+e+f+g+h+i"} {
		if w := get(t, h, "/api/v1/search?"+bad); w.Code != 400 {
			t.Errorf("%s: %d", bad, w.Code)
		}
	}
}

// TestSearchLeadsSomewhere follows every link that search can give.
func TestSearchLeadsSomewhere(t *testing.T) {
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t)})
	ids := map[string]map[string]bool{}
	asked := map[string]bool{}
	for _, hit := range dashboard.Vocabulary() {
		path, anchor, _ := strings.Cut(hit.Href, "#")
		if strings.Contains(path, "filter=") {
			if asked["filter"] {
				continue // all countries' pages are made alike
			}
			asked["filter"] = true
		}
		if ids[path] == nil {
			ids[path] = map[string]bool{}
			for _, n := range find(parsed(t, h, path), func(n *html.Node) bool { return attr(n, "id") != "" }) {
				ids[path][attr(n, "id")] = true
			}
		}
		if anchor != "" && !ids[path][anchor] {
			t.Errorf("%s %s leads to %s, which is not there", hit.Kind, hit.Name, hit.Href)
		}
		if data, _, _ := strings.Cut(hit.Data, "&"); hit.Data != "" && !asked[data+hit.Kind] {
			asked[data+hit.Kind] = true
			if w := get(t, h, hit.Data); w.Code != 200 {
				t.Errorf("%s %s: its data, %s, is %d %s", hit.Kind, hit.Name, hit.Data, w.Code, w.Body)
			}
		}
	}
}
