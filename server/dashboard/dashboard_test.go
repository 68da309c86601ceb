package dashboard_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/hll"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

func get(t testing.TB, h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func getJSON[T any](t testing.TB, h http.Handler, path string) T {
	t.Helper()
	w := get(t, h, path)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	var v T
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// TestPageIsAPIIsStore follows the data link of every figure of every page:
// what the table says has to be what the API gives, and that what the store
// has.
func TestPageIsAPIIsStore(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 5*time.Hour)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	for _, path := range append(dashboard.Topics(), "/") {
		doc := parsed(t, h, path+"?range=24h")
		figures := find(doc, func(n *html.Node) bool { return n.Data == "figure" })
		if len(figures) == 0 {
			t.Errorf("%s has no figures", path)
		}
		for _, f := range figures {
			id := path + " " + attr(f, "id")
			link := find(f, func(n *html.Node) bool { return n.Data == "a" && attr(n, "class") == "source" })
			if len(link) != 1 {
				t.Fatalf("%s has %d links to its data", id, len(link))
			}
			href := attr(link[0], "href")
			if c := attr(f, "data-chart"); c != "" && c != href {
				t.Errorf("%s is drawn from %s but links to %s", id, c, href)
			}
			if strings.Contains(attr(f, "class"), "likely") {
				inEstimates(t, f, getJSON[dashboard.Interception](t, h, href))
				continue
			}
			ans := getJSON[dashboard.Answer](t, h, href)
			if len(ans.Rows) == 0 {
				t.Errorf("%s: nothing at %s", id, href)
				continue
			}
			if !dashboard.Derived(href) { // TestChurn and TestWays have them
				inStore(t, s, href, ans)
			}
			switch {
			case strings.Contains(attr(f, "class"), "timeline"): // TestTimeline has it
			case strings.Contains(attr(f, "class"), "matrix"):
				inMatrix(t, f, ans)
			case strings.Contains(attr(f, "class"), "split"):
				inSplit(t, f, ans)
			case ans.Q == nil:
				inTable(t, f, ans)
			}
		}
	}
	// The headline numbers.
	doc := parsed(t, h, "/?range=24h")
	in := getJSON[dashboard.Instances](t, h, "/api/v1/instances?range=24h")
	tile := find(doc, func(n *html.Node) bool { return attr(n, "id") == "tile-now" })
	if got := text(find(tile[0], func(n *html.Node) bool { return n.Data == "strong" })[0]); got != spaced(in.Now) {
		t.Errorf("the page says that %s instances are there now, the API %d", got, in.Now)
	}
}

func parsed(t *testing.T, h http.Handler, path string) *html.Node {
	t.Helper()
	w := get(t, h, path)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	doc, err := html.Parse(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// inStore asks the store for the sum of all that an answer tells apart.
func inStore(t *testing.T, s store.Store, href string, ans dashboard.Answer) {
	t.Helper()
	m := wire.MetricByName(ans.Metric)
	f, _ := wire.ParseFacet(ans.Facet)
	grain := map[string]store.Grain{"window": store.Window, "hour": store.Hour, "day": store.Day}[ans.Grain]
	u, err := url.Parse(href)
	if err != nil {
		t.Fatal(err)
	}
	where := map[int][]wire.Value{}
	for i, d := range m.Dims {
		for _, v := range u.Query()["where."+d.Name] {
			where[i] = append(where[i], d.Value(v))
		}
	}
	rows, err := s.Query(context.Background(), store.Query{Metric: m.ID, Grain: grain, From: ans.From, To: ans.To, Facet: f, Where: where})
	if err != nil || len(rows) != 1 {
		t.Fatalf("%s: %v, %d rows", href, err, len(rows))
	}
	want := rows[0].Count
	if m.Kind == wire.KindDistinct {
		want = uint64(hll.Estimate(rows[0].Registers) + 0.5)
	} else {
		var sum uint64
		for _, r := range ans.Rows {
			sum += r.Count
		}
		if sum != want {
			t.Errorf("%s: rows add up to %d, in the store are %d", href, sum, want)
		}
	}
	if ans.Total != want {
		t.Errorf("%s: the total is %d, in the store are %d", href, ans.Total, want)
	}
}

// inTable compares the counts of a figure's table with those of the answer.
func inTable(t *testing.T, f *html.Node, ans dashboard.Answer) {
	t.Helper()
	id := attr(f, "id")
	body := find(f, func(n *html.Node) bool { return n.Data == "tbody" })
	if len(body) != 1 {
		t.Fatalf("%s has %d tables", id, len(body))
	}
	shown := map[string]int{}
	for _, td := range find(body[0], func(n *html.Node) bool { return n.Data == "td" }) {
		shown[text(td)]++
	}
	rows := ans.Rows
	if ans.By[0] == "time" { // the table has the newest periods
		latest := rows[len(rows)-1].Time
		rows = nil
		for _, r := range ans.Rows {
			if r.Time.Equal(*latest) {
				rows = append(rows, r)
			}
		}
	}
	if slices.Contains([]string{"instances.features", "instances.plugins", "instances.modules", "instances.cpu_features", "instances.protocols"}, ans.Metric) {
		rows = dropRest(rows)
	}
	for _, r := range rows {
		if shown[spaced(r.Count)] == 0 {
			t.Errorf("%s: the API gives %d for %v, which the table doesn't show", id, r.Count, r.Group)
		}
	}
}

// inSplit compares the sums of a split's rows with what the answer adds up to.
func inSplit(t *testing.T, f *html.Node, ans dashboard.Answer) {
	t.Helper()
	body := find(f, func(n *html.Node) bool { return n.Data == "tbody" })
	if len(body) != 1 || len(ans.By) != 2 {
		t.Fatalf("%s has %d tables, by %v", attr(f, "id"), len(body), ans.By)
	}
	var sum, want uint64
	for _, tr := range find(body[0], func(n *html.Node) bool { return n.Data == "tr" }) {
		cells := find(tr, func(n *html.Node) bool { return n.Data == "td" })
		n, err := strconv.ParseUint(strings.ReplaceAll(text(cells[0]), "\u202f", ""), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	for _, r := range dropRest(ans.Rows) {
		want += r.Count
	}
	if sum != want {
		t.Errorf("%s: rows add up to %d, the API's to %d", attr(f, "id"), sum, want)
	}
}

// inMatrix looks for the shares of a matrix's first row, worked out once more.
func inMatrix(t *testing.T, f *html.Node, ans dashboard.Answer) {
	t.Helper()
	body := find(f, func(n *html.Node) bool { return n.Data == "tbody" })
	if len(body) != 1 || len(ans.By) != 2 {
		t.Fatalf("%s has %d tables, by %v", attr(f, "id"), len(body), ans.By)
	}
	cells := find(find(body[0], func(n *html.Node) bool { return n.Data == "tr" })[0], func(n *html.Node) bool { return n.Data == "td" })
	all, err := strconv.ParseFloat(strings.ReplaceAll(text(cells[0]), "\u202f", ""), 64)
	if err != nil || len(cells) < 2 {
		t.Fatalf("%s: %d cells, %v", attr(f, "id"), len(cells), err)
	}
	for _, c := range cells[1:] {
		share, err := strconv.ParseFloat(strings.Trim(text(c), "<>\u202f%"), 64)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(ans.Rows, func(r dashboard.Row) bool {
			return math.Abs(min(100, 100*float64(r.Count)/all)-share) <= 0.11
		}) {
			t.Errorf("%s: %g %% of %g is nothing that the API gives", attr(f, "id"), share, all)
		}
	}
}

func dropRest(rows []dashboard.Row) []dashboard.Row {
	var out []dashboard.Row
	for _, r := range rows {
		if !r.Rest {
			out = append(out, r)
		}
	}
	return out
}

// spaced writes n as pages do.
func spaced(n uint64) string {
	b, _ := json.Marshal(n)
	s := string(b)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func find(n *html.Node, match func(*html.Node) bool) []*html.Node {
	var out []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && match(d) {
			out = append(out, d)
		}
	}
	return out
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

// TestAnswers checks small answers in full.
func TestAnswers(t *testing.T) {
	s := openStore(t)
	ro := rollup{}
	at := now.Truncate(time.Hour).Add(-time.Hour) // 09:00
	for i, n := range []uint64{100, 200} {
		w := at.Add(time.Duration(i) * 5 * time.Minute)
		ro.count(w, wire.HTTPRequests, dims(wire.HTTPRequests, "http/2", "200", "site"), n, 1)
		ro.count(w, wire.HTTPRequests, dims(wire.HTTPRequests, "http/3", "200", "site"), n/2, 1)
		ro.count(w, wire.HTTPRequests, dims(wire.HTTPRequests, "http/3", "404", "redirect"), 1, 1)
	}
	ro.commit(t, s)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	period := func(i int) *time.Time { w := at.Add(time.Duration(i) * 5 * time.Minute); return &w }
	g := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	const q = "/api/v1/query?metric=http.requests&from=2026-11-21T09:00:00Z&to=2026-11-21T10:00:00Z&grain=window"
	for name, c := range map[string]struct {
		url  string
		rows []dashboard.Row
	}{
		"all": {q, []dashboard.Row{{Count: 452}}},
		"by protocol": {q + "&by=protocol", []dashboard.Row{
			{Group: g("protocol", "http/2"), Count: 300}, {Group: g("protocol", "http/3"), Count: 152}}},
		"by time": {q + "&by=time", []dashboard.Row{{Time: period(0), Count: 151}, {Time: period(1), Count: 301}}},
		"limit": {q + "&by=time,protocol&limit=1", []dashboard.Row{
			{Time: period(0), Group: g("protocol", "http/2"), Count: 100}, {Time: period(0), Rest: true, Count: 51},
			{Time: period(1), Group: g("protocol", "http/2"), Count: 200}, {Time: period(1), Rest: true, Count: 101}}},
		"where": {q + "&by=role&where.status=404&where.status=500", []dashboard.Row{{Group: g("role", "redirect"), Count: 2}}},
		"hour": {strings.Replace(q, "grain=window", "grain=hour", 1) + "&by=protocol", []dashboard.Row{
			{Group: g("protocol", "http/2"), Count: 300}, {Group: g("protocol", "http/3"), Count: 152}}},
		"latest":    {q + "&by=protocol&period=latest", []dashboard.Row{{Group: g("protocol", "http/2"), Count: 200}, {Group: g("protocol", "http/3"), Count: 101}}},
		"half open": {strings.Replace(q, "to=2026-11-21T10:00:00Z", "to=2026-11-21T09:05:00Z", 1), []dashboard.Row{{Count: 151}}},
		"nothing":   {strings.ReplaceAll(q, "2026-11-21", "2026-11-20"), []dashboard.Row{}},
	} {
		if diff := cmp.Diff(c.rows, getJSON[dashboard.Answer](t, h, c.url).Rows); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestQuantiles(t *testing.T) {
	s := openStore(t)
	ro := rollup{}
	at := now.Truncate(time.Hour).Add(-time.Hour)
	ro.observe(at, wire.HTTPFirstByte, dims(wire.HTTPFirstByte, "http/2", "2xx"), 1000, 2000)
	ro.commit(t, s)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	ans := getJSON[dashboard.Answer](t, h, "/api/v1/quantiles?metric=http.first_byte&q=0.5,0.99&by=protocol")
	if len(ans.Rows) != 1 || ans.Rows[0].Count != 1000 {
		t.Fatalf("%+v", ans)
	}
	b := ro[store.Key{Grain: store.Hour, Start: at.Unix(), Metric: wire.HTTPFirstByte, Dims: dims(wire.HTTPFirstByte, "http/2", "2xx")}].Buckets
	for i, q := range []float64{0.5, 0.99} {
		want := wire.Quantile(b, q)
		if got := ans.Rows[0].Quantiles[i]; got < 0.999*want || got > 1.001*want {
			t.Errorf("q%g is %g, want %g", q, got, want)
		}
	}
}

func TestParameters(t *testing.T) {
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t)})
	for path, want := range map[string]string{
		"/api/v1/query":                                                           "metric is missing",
		"/api/v1/query?metric=http.request":                                       `Did you mean \"http.requests\"`,
		"/api/v1/query?metric=http.requests&grian=hour":                           `Did you mean \"grain\"`,
		"/api/v1/query?metric=http.requests&grain=hours":                          `Did you mean \"hour\"`,
		"/api/v1/query?metric=http.requests&grain=hour&grain=day":                 "is given 2 times",
		"/api/v1/query?metric=http.requests&range=24":                             `Did you mean \"24h\"`,
		"/api/v1/query?metric=http.requests&range=7d&from=2026-11-01":             "exclude each other",
		"/api/v1/query?metric=http.requests&to=2026-11-01":                        "to needs a from",
		"/api/v1/query?metric=http.requests&from=yesterday":                       "Unix seconds",
		"/api/v1/query?metric=http.requests&from=2026-11-21&to=2026":              "has to be before",
		"/api/v1/query?metric=http.requests&from=2027-11-21":                      "has to be before",
		"/api/v1/query?metric=http.requests&by=protocl":                           `Did you mean \"protocol\"`,
		"/api/v1/query?metric=http.requests&by=time,time":                         "twice",
		"/api/v1/query?metric=http.requests&by=value":                             "needs a facet",
		"/api/v1/query?metric=http.requests&facet=network":                        "is not kept by facet",
		"/api/v1/query?metric=http.requests&value=DE":                             "say which by facet",
		"/api/v1/query?metric=http.requests&where.status=99":                      "has no value",
		"/api/v1/query?metric=http.requests&where.statsu=200":                     `Did you mean \"where.status\"`,
		"/api/v1/query?metric=http.requests&label=x":                              "no label",
		"/api/v1/query?metric=http.requests&limit=0":                              "from 1 to 1000",
		"/api/v1/query?metric=http.requests&period=last":                          "latest",
		"/api/v1/query?metric=http.requests&period=latest&by=time":                "leave out time",
		"/api/v1/query?metric=http.requests&range=90d&grain=window":               "choose a shorter range",
		"/api/v1/query?metric=http.requests&%zz":                                  "can't be decoded",
		"/api/v1/query?metric=" + strings.Repeat("x", 400):                        "not in the dictionary",
		"/api/v1/quantiles?metric=http.requests":                                  "only histograms and peaks",
		"/api/v1/quantiles?metric=http.duration&q=1":                              "between 0 and 1",
		"/api/v1/quantiles?metric=http.duration&q=.1,.2,.3,.4,.5,.6,.7,.8,.9,.99": "9 is the most",
		"/api/v1/instances?metric=x":                                              "no parameter here",
		"/api/v1/new?limit=3":                                                     "no parameter here",
		"/api/v1/metrics?x":                                                       "takes no parameters",
		"/api/v1/openapi.json?x":                                                  "takes no parameters",
	} {
		w := get(t, h, path)
		if w.Code != http.StatusBadRequest || w.Header().Get("Content-Type") != wire.TypeProblem {
			t.Errorf("%.90s: %d %s %s", path, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%.90s says %s, want %s", path, w.Body, want)
		}
	}
	for _, path := range []string{"/?range=2h", "/?x=1", "/dictionary?x", "/privacy?x"} {
		w := get(t, h, path)
		if w.Code != http.StatusBadRequest || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
	}
	for path, mediaType := range map[string]string{"/nowhere": "text/html; charset=utf-8", "/api/v1/querry": wire.TypeProblem, "/assets/none.js": "text/html; charset=utf-8"} {
		if w := get(t, h, path); w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != mediaType {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
	}
	r := httptest.NewRequest("POST", "/api/v1/query", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %s", w.Code, w.Body)
	}
}

// FuzzQuery asks with any query: the answer is one, or says what is wrong.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{
		"metric=http.requests&by=time,protocol&limit=3", "metric=http.requests&from=0&to=99999999999&grain=day&by=time",
		"metric=instances.active&facet=country&by=value", "metric=instances.go&by=label&period=latest", "metric=http.requests&where.status=200&where.status=404",
		"metric=http.requests&range=all&by=time", "metric=x&%", "by=country&range=1h", "by=time&from=2026-11-20", "metric=http.requests&from=2026-11-21T10:22:00Z&grain=window",
	} {
		f.Add(q)
	}
	h := serve(f, dashboard.Config{Store: openStore(f), Reports: openLog(f)})
	f.Fuzz(func(t *testing.T, q string) {
		for _, path := range []string{"/api/v1/query", "/api/v1/interception"} {
			r := httptest.NewRequest("GET", path, nil)
			r.URL.RawQuery = q
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s: %s is no JSON", path, w.Body)
			}
		}
	})
}

func TestHeaders(t *testing.T) {
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t)})
	for _, path := range []string{"/", "/dictionary", "/privacy", "/nowhere", "/api/v1/metrics", "/api/v1/query?metric=http.requests", "/api/v1/query", "/assets/app.js", "/assets/style.css", "/assets/icon.svg"} {
		hd := get(t, h, path).Header()
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
			"X-Content-Type-Options":  "nosniff",
			"Referrer-Policy":         "no-referrer",
			"Set-Cookie":              "",
		} {
			if got := hd.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if got, want := hd.Get("Access-Control-Allow-Origin"), strings.HasPrefix(path, "/api/"); (got == "*") != want {
			t.Errorf("%s: Access-Control-Allow-Origin is %q", path, got)
		}
	}
	for path, want := range map[string]string{"app.js": "text/javascript; charset=utf-8", "style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"} {
		if got := get(t, h, "/assets/"+path).Header().Get("Content-Type"); got != want {
			t.Errorf("%s is %q", path, got)
		}
	}
}

func TestCaching(t *testing.T) {
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t)})
	for _, path := range []string{"/", "/dictionary", "/api/v1/metrics", "/api/v1/query?metric=http.requests", "/assets/app.js"} {
		w := get(t, h, path)
		tag := w.Header().Get("ETag")
		if tag == "" || w.Header().Get("Cache-Control") == "" {
			t.Errorf("%s has ETag %q, Cache-Control %q", path, tag, w.Header().Get("Cache-Control"))
		}
		if w := get(t, h, path, "If-None-Match", tag); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("%s again: %d with %d bytes", path, w.Code, w.Body.Len())
		}
	}
	// What a page loads may be kept for good.
	doc, err := html.Parse(get(t, h, "/").Body)
	if err != nil {
		t.Fatal(err)
	}
	scripts := find(doc, func(n *html.Node) bool { return n.Data == "script" || n.Data == "link" })
	for _, n := range scripts {
		href := attr(n, "src") + attr(n, "href")
		if cc := get(t, h, href).Header().Get("Cache-Control"); !strings.Contains(cc, "immutable") {
			t.Errorf("%s: Cache-Control is %q", href, cc)
		}
	}
	if len(scripts) < 3 {
		t.Errorf("the page loads %d files", len(scripts))
	}
	plain, zipped := get(t, h, "/dictionary"), get(t, h, "/dictionary", "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil || string(b) != plain.Body.String() || plain.Header().Get("ETag") == zipped.Header().Get("ETag") {
		t.Errorf("compressed and plain differ, or have one tag: %v", err)
	}
}

func TestEmpty(t *testing.T) {
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t), Name: "Fleet <1>"})
	body := get(t, h, "/").Body.String()
	for _, want := range []string{"No instance has reported in this range yet.", "Fleet &lt;1&gt;", "Nothing was counted in this range.", `aria-current="true">1 hour`} {
		if !strings.Contains(body, want) {
			t.Errorf("the empty overview lacks %q", want)
		}
	}
	for _, r := range []string{"1h", "24h", "7d", "30d", "90d", "all"} {
		if w := get(t, h, "/?range="+r); w.Code != http.StatusOK {
			t.Errorf("%s: %d", r, w.Code)
		}
	}
	if w := get(t, h, "/?from=2026-11-20&to=2026-11-21"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "from=2026-11-20") {
		t.Errorf("from and to: %d", w.Code)
	}
}

func TestNew(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 50*time.Hour)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	news := getJSON[dashboard.News](t, h, "/api/v1/new?range=24h")
	want := []dashboard.NewItem{{Metric: "clients.browsers", Facet: "all", Group: map[string]string{"browser": "chrome", "browser_version": "143"}}}
	ignore := cmp.FilterPath(func(p cmp.Path) bool {
		return p.Last().String() == ".Count" || p.Last().String() == ".title" || p.Last().String() == ".of"
	}, cmp.Ignore())
	if diff := cmp.Diff(want, news.Items, ignore); diff != "" {
		t.Error(diff)
	}
	if body := get(t, h, "/?range=24h").Body.String(); !strings.Contains(body, "Chrome 143") {
		t.Error("the page doesn't tell what is new")
	}
	if news := getJSON[dashboard.News](t, h, "/api/v1/new?range=90d"); len(news.Items) > 0 {
		t.Errorf("all is new when counting began, which is no news: %v", news.Items)
	}
}

// TestHostileNames: a hostile name in the store can't become markup.
func TestHostileNames(t *testing.T) {
	s := openStore(t)
	ro := rollup{}
	at := now.Add(-time.Hour).Truncate(5 * time.Minute)
	const hostile = `<script>alert("x")</script>' onload='x`
	ro.fact(at, wire.InstancesPlugins, wire.Dims{}, hostile, 3)
	ro.active(at, 1, wire.Version, hostile)
	ro.active(at, 1, wire.All, "")
	ro.commit(t, s)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	for _, path := range []string{"/", "/instances"} {
		doc := parsed(t, h, path+"?range=24h")
		if n := find(doc, func(n *html.Node) bool { return n.Data == "script" && attr(n, "src") == "" || attr(n, "onload") != "" }); len(n) > 0 {
			t.Errorf("%s: markup came out of a name", path)
		}
	}
	q := url.Values{"metric": {"instances.plugins"}, "by": {"label"}, "label": {hostile}}
	ans := getJSON[dashboard.Answer](t, h, "/api/v1/query?"+q.Encode())
	if len(ans.Rows) != 1 || ans.Rows[0].Group["label"] != hostile {
		t.Errorf("%+v", ans.Rows)
	}
}
