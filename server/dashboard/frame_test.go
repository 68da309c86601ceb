package dashboard_test

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/csv"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/dataset"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// byCountry is a store with a hundred instances: 60 in Germany, 38 in France and
// two in Andorra, and what they answered, by country and in all.
func byCountry(t testing.TB) store.Store {
	t.Helper()
	s := openStore(t)
	ro := rollup{}
	w := now.Add(-40 * time.Minute).Truncate(5 * time.Minute)
	for i := range 3 { // the third after a gap
		at := w.Add(time.Duration(i+i/2) * 5 * time.Minute)
		for id := range uint64(100) {
			ro.active(at, id, wire.All, "")
			ro.active(at, id, wire.Country, map[bool]string{true: "AD", false: map[bool]string{true: "FR", false: "DE"}[id >= 60]}[id >= 98])
		}
		for _, c := range []struct {
			country   string
			instances uint64
		}{{"DE", 60}, {"FR", 38}, {"AD", 2}} {
			for class, n := range map[string]uint64{"2xx": 1000, "4xx": 10} {
				d := dims(wire.HTTPRequestsMethod, "GET", class, "site")
				ro.count(at, wire.HTTPRequestsMethod, d, n*c.instances, c.instances)
				for _, g := range store.Grains {
					r := ro.row(g, at, wire.HTTPRequestsMethod, wire.Country, c.country, d, "")
					r.Count += n * c.instances
					r.Reports += uint32(c.instances)
					r.Top = n
				}
			}
		}
	}
	ro.commit(t, s)
	return s
}

func TestFilter(t *testing.T) {
	h := serve(t, dashboard.Config{Store: byCountry(t), Reports: openLog(t)})
	const q = "/api/v1/query?metric=http.requests.method&range=1h&by=time,status_class"
	want := getJSON[dashboard.Answer](t, h, q+",value&facet=country&value=DE")
	for i := range want.Rows {
		delete(want.Rows[i].Group, "value")
	}
	want.By, want.Filter = []string{"time", "status_class"}, "country:DE"
	if diff := cmp.Diff(want, getJSON[dashboard.Answer](t, h, q+"&filter=country:DE")); diff != "" || len(want.Rows) != 6 {
		t.Errorf("a filter is not its facet's value: %d rows, %s", len(want.Rows), diff)
	}
	for bad, tells := range map[string]string{
		q + "&filter=contry:DE":                                "Did you mean",
		q + "&filter=country":                                  "after a colon",
		q + "&filter=network:1":                                "There are: country",
		q + "&filter=platform:linux/amd64":                     "not kept by platform",
		q + "&filter=country:DE&facet=country":                 "go together",
		q + "&filter=country:DE&value=DE":                      "say which by facet",
		"/api/v1/interception?by=country&filter=country:DE":    "go together",
		"/api/v1/query.csv?metric=http.request&filter=country": "Did you mean",
	} {
		if w := get(t, h, bad); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), tells) {
			t.Errorf("%s: %d %s", bad, w.Code, w.Body)
		}
	}
	for _, bad := range []string{"/traffic?filter=x", "/traffic?compare=after", "/chart/classes?filter=country"} {
		if w := get(t, h, bad); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, w.Code)
		}
	}
	in := getJSON[dashboard.Instances](t, h, "/api/v1/instances?range=1h&filter=country:AD")
	if in.Count != 2 {
		t.Errorf("%d instances in Andorra, want 2", in.Count)
	}

	// The page asks the same, says what can't be filtered, and keeps the
	// filter when another range is chosen.
	doc := parsed(t, h, "/chart/classes?range=1h&filter=country:DE")
	f := find(doc, func(n *html.Node) bool { return n.Data == "figure" })[0]
	ans := getJSON[dashboard.Answer](t, h, attr(f, "data-chart"))
	if ans.Filter != "country:DE" || ans.Total != 3*60*1010 {
		t.Errorf("the chart is of %q and counts %d", ans.Filter, ans.Total)
	}
	if behind := text(find(f, func(n *html.Node) bool { return attr(n, "class") == "behind" })[0]); !strings.Contains(behind, "60") || !strings.Contains(behind, "Few instances") {
		t.Errorf("behind it: %s", behind)
	}
	for _, a := range find(find(doc, func(n *html.Node) bool { return attr(n, "class") == "ranges" })[0], func(n *html.Node) bool { return n.Data == "a" }) {
		if !strings.Contains(attr(a, "href"), "filter=country%3ADE") {
			t.Errorf("%s loses the filter", attr(a, "href"))
		}
	}
	for id, says := range map[string]string{"countries": "compares every country", "sites": "", "request-size": "http.request.size is not kept by country", "versions": "by version already"} {
		f := find(parsed(t, h, "/chart/"+id+"?range=1h&filter=country:DE"), func(n *html.Node) bool { return n.Data == "figure" })[0]
		note := find(f, func(n *html.Node) bool { return attr(n, "class") == "unfiltered" })
		if (len(note) > 0) != (says != "") || says != "" && !strings.Contains(text(note[0]), says) {
			t.Errorf("%s says %v, want %q", id, note, says)
		}
	}
	// Headline numbers that it can't be applied to say so.
	for path, want := range map[string]bool{"/adoption?range=1h&filter=country:DE": false, "/adoption?range=1h&filter=platform:linux/amd64": true} {
		tile := find(parsed(t, h, path), func(n *html.Node) bool { return attr(n, "id") == "tile-ipv6" })
		if len(tile) != 1 || strings.Contains(text(tile[0]), "not filtered") != want {
			t.Errorf("%s: %v", path, tile)
		}
	}
	selected := find(doc, func(n *html.Node) bool {
		return n.Data == "option" && strings.HasPrefix(attr(n, "value"), "country:") && strings.Contains(render(t, n), "selected")
	})
	if len(selected) != 1 || text(selected[0]) != "Germany" {
		t.Errorf("%d countries are chosen", len(selected))
	}
}

func render(t *testing.T, n *html.Node) string {
	t.Helper()
	var b strings.Builder
	if err := html.Render(&b, n); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestFilterHides: through a filter, nobody sees what is hidden without.
func TestFilterHides(t *testing.T) {
	h := serve(t, dashboard.Config{Store: byCountry(t), Reports: openLog(t), Privacy: dashboard.Privacy{MinInstances: 10}})
	const q = "/api/v1/query?metric=http.requests.method&range=1h&by=status_class&filter=country:"
	for country, rows := range map[string]int{"DE": 2, "AD": 0, "XX": 0} {
		if ans := getJSON[dashboard.Answer](t, h, q+country); len(ans.Rows) != rows {
			t.Errorf("%s: %+v", country, ans)
		}
	}
	// France is what would give Andorra away.
	for _, metric := range []string{"http.requests.method", "instances.active"} {
		fr := getJSON[dashboard.Answer](t, h, "/api/v1/query?metric="+metric+"&range=1h&filter=country:FR")
		if len(fr.Rows) != 0 || fr.Total != 0 || fr.Suppressed != 1 {
			t.Errorf("%s of France: %+v", metric, fr)
		}
	}
	if body := get(t, h, "/chart/classes?range=1h&filter=country:AD").Body.String(); !strings.Contains(body, "for Andorra is in groups too small") {
		t.Error("the page does not say why it is empty")
	}
	// What one may choose from names nobody either.
	if body := get(t, h, "/traffic?range=1h").Body.String(); strings.Contains(body, "country:AD") || strings.Contains(body, "country:FR") || !strings.Contains(body, "country:DE") {
		t.Error("the choices are not those that may be shown")
	}
}

// TestSingleInstance: an instance that is alone in its country is in no answer by
// country, however many cells it fills.
func TestSingleInstance(t *testing.T) {
	s := openStore(t)
	ro := rollup{}
	at := now.Add(-40 * time.Minute).Truncate(5 * time.Minute)
	for id := range uint64(201) {
		ro.active(at, id, wire.All, "")
		ro.active(at, id, wire.Country, map[bool]string{true: "AD", false: map[bool]string{true: "FR", false: "DE"}[id >= 140]}[id == 200])
	}
	for _, status := range wire.MetricByID(wire.HTTPRequests).Dims[1].Values[1:60] {
		d := dims(wire.HTTPRequests, "http/2", status, "site")
		for country, instances := range map[string]uint64{"DE": 140, "FR": 60, "AD": 1} {
			for _, g := range store.Grains {
				r := ro.row(g, at, wire.HTTPRequests, wire.Country, country, d, "")
				r.Count, r.Reports, r.Top = 1000*instances, uint32(instances), 1000
			}
		}
	}
	ro.commit(t, s)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t), Privacy: dashboard.Public})
	ans := getJSON[dashboard.Answer](t, h, "/api/v1/query?metric=http.requests&range=1h&facet=country&by=value")
	if len(ans.Rows) != 2 || ans.Rows[0].Group["value"] != "DE" || !ans.Rows[1].Suppressed || ans.Suppressed != 2 {
		t.Errorf("%+v", ans)
	}
	for country, rows := range map[string]int{"DE": 1, "FR": 0, "AD": 0} {
		if ans := getJSON[dashboard.Answer](t, h, "/api/v1/query?metric=http.requests&range=1h&filter=country:"+country); len(ans.Rows) != rows {
			t.Errorf("%s: %+v", country, ans)
		}
	}
}

func TestCompare(t *testing.T) {
	s := openStore(t)
	ro := rollup{}
	at := now.Truncate(time.Hour).Add(-time.Hour) // 09:00
	for i, n := range []uint64{200, 300} {
		w := at.Add(time.Duration(i-1) * time.Hour)
		ro.count(w, wire.HTTPRequestsMethod, dims(wire.HTTPRequestsMethod, "GET", "2xx", "site"), 2*n, 1)
		ro.count(w, wire.HTTPRequestsMethod, dims(wire.HTTPRequestsMethod, "POST", "2xx", "site"), 400, 1)
	}
	ro.count(at, wire.HTTPRequestsMethod, dims(wire.HTTPRequestsMethod, "PUT", "2xx", "site"), 100, 1)
	ro.commit(t, s)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	const span = "?from=2026-11-21T09:00:00Z&to=2026-11-21T10:00:00Z&grain=window&compare=before"
	page := parsed(t, h, "/chart/methods"+span)
	f := find(page, func(n *html.Node) bool { return n.Data == "figure" })[0]
	if diff := cmp.Diff([]string{"600 | 54.5 % | +4.5 pp", "400 | 36.4 % | −13.6 pp", "100 | 9.1 % | new"}, cells(f)); diff != "" {
		t.Error(diff)
	}
	if got := text(find(f, func(n *html.Node) bool { return attr(n, "class") == "change" })[0]); got != "+37.5\u202f% against the same time before" {
		t.Errorf("the change is %q", got)
	}
	f = find(parsed(t, h, "/chart/classes"+span), func(n *html.Node) bool { return n.Data == "figure" })[0]
	was := getJSON[dashboard.Answer](t, h, attr(f, "data-before"))
	if was.Total != 800 || !was.To.Equal(at) || !was.From.Equal(at.Add(-time.Hour)) {
		t.Errorf("before is %+v", was)
	}
	f = find(parsed(t, h, "/chart/classes"+strings.TrimSuffix(span, "&compare=before")), func(n *html.Node) bool { return n.Data == "figure" })[0]
	if attr(f, "data-before") != "" {
		t.Error("nobody asked for a comparison")
	}
}

func TestAnnotations(t *testing.T) {
	k := known{releases: []wire.Release{
		{Path: "github.com/caddyserver/caddy/v2", Version: "v2.11.9", Severity: wire.SeverityCritical, Time: now.Add(-20 * time.Minute)},
		{Path: "github.com/caddyserver/caddy/v2", Version: "v2.11.8", Time: now.Add(-48 * time.Hour)},
		{Path: "github.com/x/y", Version: "v1.0.0", Time: now.Add(-20 * time.Minute)},
	}}
	h := serve(t, dashboard.Config{Store: byCountry(t), Reports: openLog(t), Campaigns: listed{campaign}, Updates: func() dashboard.Updates { return k }})
	got := getJSON[dashboard.Annotations](t, h, "/api/v1/annotations?range=1h")
	clock := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339, "2026-11-21T"+s+":00Z")
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	end := func(at time.Time) *time.Time { return &at }
	want := dashboard.Annotations{From: clock("09:25"), To: clock("10:25"), Annotations: []dashboard.Annotation{
		{Time: campaign0(), End: end(campaign0().Add(3 * time.Hour)), Kind: "campaign", Title: "Campaign: scan", Href: "/attacks#campaigns"},
		{Time: clock("09:50"), End: end(clock("09:55")), Kind: "gap", Title: "Nothing was collected"},
		{Time: clock("10:00"), End: end(clock("10:10")), Kind: "gap", Title: "Nothing was collected"},
		{Time: now.Add(-20 * time.Minute), Kind: "release", Title: "Caddy v2.11.9 (critical)", Href: "/releases?module=github.com/caddyserver/caddy/v2"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if body := get(t, h, "/chart/classes?range=1h").Body.String(); !strings.Contains(body, "Caddy v2.11.9 (critical)") || !strings.Contains(body, "Nothing was collected") {
		t.Error("the chart's page does not tell of them")
	}
}

// TestIncidentNotes: two hours with ten times the incidents are one mark; the
// hour that is not over is none.
func TestIncidentNotes(t *testing.T) {
	s := openStore(t)
	ro := rollup{}
	hour := now.Truncate(time.Hour)
	for i := range 24 * 15 {
		n := uint64(20 + i%3)
		if i == 0 || i == 5 || i == 6 {
			n *= 10
		}
		at := hour.Add(-time.Duration(i) * time.Hour)
		ro.active(at, 1, wire.All, "")
		ro.count(at, wire.AttackIncidents, dims(wire.AttackIncidents, "scan"), n, 10)
	}
	ro.commit(t, s)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	got := getJSON[dashboard.Annotations](t, h, "/api/v1/annotations?range=24h&grain=hour")
	end := hour.Add(-4 * time.Hour)
	want := []dashboard.Annotation{{Time: hour.Add(-6 * time.Hour), End: &end, Kind: "incident", Title: "Incidents: 10.5 times the usual", Href: "/attacks#incidents"}}
	if diff := cmp.Diff(want, got.Annotations); diff != "" {
		t.Error(diff)
	}
}

func campaign0() time.Time { return time.Unix(campaign.Begin, 0).UTC() }

// TestCSV: the same rows as in JSON, and nothing that a spreadsheet would run.
func TestCSV(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 2*time.Hour)
	ro := rollup{}
	ro.fact(now.Add(-time.Hour).Truncate(5*time.Minute), wire.InstancesPlugins, wire.Dims{}, `=HYPERLINK("http://x","y")`, 9999)
	b := store.Batch{Log: "formula", To: 1}
	for _, r := range ro {
		b.Rows = append(b.Rows, *r)
	}
	if err := s.Commit(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	lines := func(path string) [][]string {
		t.Helper()
		w := get(t, h, path)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/csv; charset=utf-8" || !strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment") {
			t.Fatalf("%s: %d %v", path, w.Code, w.Header())
		}
		all, err := csv.NewReader(w.Body).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return all
	}
	got := lines("/api/v1/quantiles.csv?metric=http.first_byte&by=time,protocol&q=0.5,0.99&limit=2&range=1h")
	ans := getJSON[dashboard.Answer](t, h, "/api/v1/quantiles?metric=http.first_byte&by=time,protocol&q=0.5,0.99&limit=2&range=1h")
	want := [][]string{{"time", "protocol", "row", "count", "sum", "p50", "p99"}}
	num := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	for _, r := range ans.Rows {
		want = append(want, []string{r.Time.Format(time.RFC3339), r.Group["protocol"], map[bool]string{true: "rest"}[r.Rest],
			strconv.FormatUint(r.Count, 10), strconv.FormatUint(*r.Sum, 10), num(r.Quantiles[0]), num(r.Quantiles[1])})
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) < 10 {
		t.Errorf("%d lines, %s", len(got), diff)
	}
	if got := lines("/api/v1/query.csv?metric=instances.active&facet=country&by=value&range=1h"); got[0][0] != "country" || len(got) < 10 {
		t.Errorf("%v", got[0])
	}
	if got := lines("/api/v1/query.csv?metric=instances.plugins&by=label&range=24h"); got[0][0] != "plugin" || got[1][0] != `'=HYPERLINK("http://x","y")` {
		t.Errorf("%v", got[:2])
	}
	in := getJSON[dashboard.Interception](t, h, "/api/v1/interception?by=client_family&range=1h")
	if got := lines("/api/v1/interception.csv?by=client_family&range=1h"); len(got) != len(in.Rows)+1 || got[1][4] != num(in.Rows[0].Estimate.Share) {
		t.Errorf("%v", got)
	}
}

// TestChartPages: each chart has a page of its own, with links that lead to the
// same numbers.
func TestChartPages(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 5*time.Hour)
	folder := t.TempDir()
	p, err := dataset.Open(dataset.Config{
		Store: s, Folder: folder, State: t.TempDir(), Key: ed25519.NewKeyFromSeed(make([]byte, 32)), Rule: dataset.Rule{MinInstances: 2, MinEvents: 1, MaxShare: 1},
		Window: 5 * time.Minute, Name: "test", Now: func() time.Time { return now }, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("SET TimeZone = 'America/New_York'"); err != nil { // whoever asks
		t.Fatal(err)
	}
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t), DataSet: os.DirFS(folder)})
	// Hours that are published, in whole.
	const span = "?from=2026-11-21T06:00:00Z&to=2026-11-21T09:00:00Z&grain=hour"
	counted := 0
	for _, id := range dashboard.Charts() {
		doc := parsed(t, h, "/chart/"+id+span)
		if n := find(doc, func(n *html.Node) bool { return n.Data == "figure" }); len(n) != 1 || attr(n[0], "id") != "chart-"+id {
			t.Fatalf("%s has %d figures", id, len(n))
		}
		code := func(id string) string {
			t.Helper()
			n := find(doc, func(n *html.Node) bool { return attr(n, "id") == id })
			if len(n) != 1 {
				t.Fatalf("%d elements %s", len(n), id)
			}
			return text(n[0])
		}
		source := attr(find(doc, func(n *html.Node) bool { return attr(n, "class") == "source" })[0], "href")
		link, err := url.Parse(code("link-fixed"))
		if err != nil || link.Host != "example.com" {
			t.Fatalf("%s: %v, %v", id, link, err)
		}
		again := attr(find(parsed(t, h, link.RequestURI()), func(n *html.Node) bool { return attr(n, "class") == "source" })[0], "href")
		if diff := cmp.Diff(get(t, h, source).Body.String(), get(t, h, again).Body.String()); diff != "" {
			t.Errorf("%s: its link leads to other numbers: %s", id, diff)
		}
		if code("curl") != "curl 'http://example.com"+source+"'" {
			t.Errorf("%s: %s is not %s", id, code("curl"), source)
		}
		embed, err := html.Parse(strings.NewReader(code("embed")))
		if err != nil || len(find(embed, func(n *html.Node) bool {
			return n.Data == "iframe" && strings.HasPrefix(attr(n, "src"), "http://example.com/embed/"+id+"?")
		})) != 1 {
			t.Errorf("%s: %s", id, code("embed"))
		}
		if !dashboard.Derived(source) {
			here := find(doc, func(n *html.Node) bool { return n.Data == "a" && strings.HasPrefix(attr(n, "href"), "/data/sql#q=") })
			n := overData(t, db, folder, id, code("sql-text"), source, h)
			if n > 0 && len(here) != 1 {
				t.Errorf("%s can't be run in the browser", id)
			}
			counted += n
		}
	}
	if counted < 30 {
		t.Errorf("only %d charts' numbers are in the data set", counted)
	}
	if w := get(t, h, "/chart/none"); w.Code != http.StatusNotFound {
		t.Errorf("a chart that isn't: %d", w.Code)
	}
}

var publishedFile = regexp.MustCompile(`http://example\.com/dataset/(v1/[a-z0-9_./-]+\.parquet)`)

// overData runs a chart's SQL over the published files, and compares the sum of
// counts, which nothing is missing from, with the chart's total. It counts those
// that it could compare.
func overData(t *testing.T, db *sql.DB, folder, id, query, source string, h http.Handler) int {
	t.Helper()
	paths := publishedFile.FindAllStringSubmatch(query, -1)
	if len(paths) == 0 {
		t.Errorf("%s: %s names no file", id, query)
		return 0
	}
	for _, p := range paths {
		if found, err := filepath.Glob(filepath.Join(folder, p[1])); err != nil || len(found) == 0 {
			return 0 // nothing of this metric may be published
		}
	}
	query = publishedFile.ReplaceAllString(query, folder+"/$1")
	var rows, sum sql.NullFloat64
	if err := db.QueryRow("SELECT count(*), sum(COLUMNS('^(events|instances)$')) FROM ("+query+")").Scan(&rows, &sum); err != nil {
		t.Errorf("%s: %v:\n%s", id, err, query)
		return 0
	}
	if strings.Contains(source, "/interception?") || !strings.Contains(source, "metric=") {
		return 0
	}
	ans := getJSON[dashboard.Answer](t, h, source)
	if ans.Kind != "counter" && ans.Kind != "histogram" || ans.Facet != "all" || strings.Contains(source, "where.") {
		return 0 // estimates, and sums that some of is hidden
	}
	if rows.Float64 == 0 || sum.Float64 != float64(ans.Total) {
		t.Errorf("%s: the data set has %g in %g rows, the chart %d:\n%s", id, sum.Float64, rows.Float64, ans.Total, query)
	}
	return 1
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"", "country:DE", "country:", "platform:linux/amd64", "version:v2.11.9:x", "a", ":", "deployment:'; DROP TABLE x; --", "country:\x00\xff"} {
		f.Add(s)
	}
	s := openStore(f)
	h := serve(f, dashboard.Config{Store: s, Reports: openLog(f)})
	f.Fuzz(func(t *testing.T, filter string) {
		for _, path := range []string{"/api/v1/query?metric=http.requests&filter=", "/api/v1/query.csv?metric=instances.active&filter=", "/chart/versions?range=1h&filter="} {
			if w := get(t, h, path+url.QueryEscape(filter)); w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
				t.Errorf("%s%q: %d", path, filter, w.Code)
			}
		}
	})
}
