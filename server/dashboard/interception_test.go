package dashboard_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/interception"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// verdicts counts connections of a family of clients in a window, by all
// servers and by those of a country.
func (ro rollup) verdicts(at time.Time, country, family string, consistent, inconsistent, unknown, instances uint64) {
	for verdict, n := range map[string]uint64{"consistent": consistent, "inconsistent": inconsistent, "unknown": unknown} {
		if n == 0 {
			continue
		}
		d := dims(wire.TLSInterception, verdict, family)
		ro.count(at, wire.TLSInterception, d, n, instances)
		for _, g := range store.Grains {
			r := ro.row(g, at, wire.TLSInterception, wire.Country, country, d, "")
			r.Count += n
			r.Reports += uint32(instances)
			r.Top = max(r.Top, n/instances)
		}
	}
}

// TestInterception: the shares are those of package interception, of browsers
// alone, and by client and country.
func TestInterception(t *testing.T) {
	s := openStore(t)
	ro := rollup{}
	first, second := now.Add(-2*time.Hour).Truncate(time.Hour), now.Add(-time.Hour).Truncate(time.Hour)
	ro.verdicts(first, "DE", "chromium", 9_000, 1_000, 500, 10)
	ro.verdicts(second, "FR", "firefox", 4_990, 10, 0, 10)
	ro.verdicts(second, "DE", "safari", 0, 0, 70, 10)
	ro.verdicts(second, "DE", "curl", 50, 50, 0, 10) // nobody knows how often it is judged wrongly
	ro.commit(t, s)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})

	estimate := func(flagged, judged uint64) *dashboard.InterceptionEstimate {
		e, err := interception.Prevalence(flagged, judged, interception.Measured(), 0.95)
		if err != nil {
			t.Fatal(err)
		}
		return &dashboard.InterceptionEstimate{Share: e.Share, Low: e.Low, High: e.High}
	}
	group := func(s string) *string { return &s }
	const day = "?from=2026-11-21T08:00:00Z&to=2026-11-21T10:00:00Z&grain=hour"
	for _, c := range []struct {
		by   string
		want []dashboard.InterceptionRow
	}{
		{"", []dashboard.InterceptionRow{
			{Consistent: 13_990, Inconsistent: 1_010, Unknown: 570, Estimate: estimate(1_010, 15_000)}}},
		{"time", []dashboard.InterceptionRow{
			{Time: &first, Consistent: 9_000, Inconsistent: 1_000, Unknown: 500, Estimate: estimate(1_000, 10_000)},
			{Time: &second, Consistent: 4_990, Inconsistent: 10, Unknown: 70, Estimate: estimate(10, 5_000)}}},
		{"client_family", []dashboard.InterceptionRow{
			{Group: group("chromium"), Consistent: 9_000, Inconsistent: 1_000, Unknown: 500, Estimate: estimate(1_000, 10_000)},
			{Group: group("firefox"), Consistent: 4_990, Inconsistent: 10, Estimate: estimate(10, 5_000)},
			{Group: group("curl"), Consistent: 50, Inconsistent: 50},
			{Group: group("safari"), Unknown: 70}}},
		{"country", []dashboard.InterceptionRow{
			{Group: group("DE"), Consistent: 9_000, Inconsistent: 1_000, Unknown: 570, Estimate: estimate(1_000, 10_000)},
			{Group: group("FR"), Consistent: 4_990, Inconsistent: 10, Estimate: estimate(10, 5_000)}}},
	} {
		url := "/api/v1/interception" + day
		if c.by != "" {
			url += "&by=" + c.by
		}
		got := getJSON[dashboard.Interception](t, h, url)
		if diff := cmp.Diff(c.want, got.Rows, cmpopts.EquateApprox(1e-3, 0)); diff != "" {
			t.Errorf("by %q (-want +got):\n%s", c.by, diff)
		}
		q := interception.Measured()
		judgement := dashboard.Judgement{Sensitivity: q.Sensitivity, SensitivityOf: q.SensitivityOf, Specificity: q.Specificity, SpecificityOf: q.SpecificityOf}
		if diff := cmp.Diff(judgement, got.Judgement); diff != "" || got.By != c.by || got.Confidence != 0.95 {
			t.Errorf("by %q: %q with %g (-want +got):\n%s", c.by, got.By, got.Confidence, diff)
		}
	}
	for _, url := range []string{"?by=network", "?by=verdict", "?metric=http.requests", "?limit=3"} {
		if w := get(t, h, "/api/v1/interception"+url); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", url, w.Code, w.Body)
		}
	}

	body := get(t, h, "/interception"+day).Body.String()
	for _, want := range []string{"not every mismatch is an interception", "CDN", "not measured"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	e := estimate(1_010, 15_000)
	if tile := element(t, body, "tile-intercepted"); !strings.Contains(tile, strconv.FormatFloat(100*e.Share, 'f', 1, 64)) ||
		!strings.Contains(tile, strconv.FormatFloat(100*e.High, 'f', 1, 64)) {
		t.Errorf("the tile has not %+v: %s", e, tile)
	}
}

// TestInterceptionSuppression: a country of which one count is hidden has no
// share, from which that count could be worked out.
func TestInterceptionSuppression(t *testing.T) {
	s := openStore(t)
	ro := rollup{}
	at := now.Add(-time.Hour).Truncate(time.Hour)
	ro.verdicts(at, "DE", "chromium", 90_000, 10_000, 0, 60)
	ro.verdicts(at, "FR", "chromium", 90_000, 9_000, 0, 60)
	ro.verdicts(at, "AD", "chromium", 90_000, 40, 0, 60)
	for id := range uint64(180) {
		ro.active(at, id, wire.Country, []string{"DE", "FR", "AD"}[id%3])
	}
	ro.commit(t, s)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t), Privacy: dashboard.Privacy{MinInstances: 10, MinEvents: 5_000, MaxShare: 0.25}})
	// A window's worth, which is all that there is.
	url := "/api/v1/interception?by=country&grain=window&from=" + at.Format(time.RFC3339) + "&to=" + at.Add(5*time.Minute).Format(time.RFC3339)
	got := getJSON[dashboard.Interception](t, h, url)
	var groups []string
	for _, r := range got.Rows {
		groups = append(groups, *r.Group)
	}
	// The 40 alone would show in the total: another count is hidden with them.
	if diff := cmp.Diff([]string{"DE"}, groups); diff != "" || got.Suppressed != 2 {
		t.Errorf("%d suppressed (-want +got):\n%s", got.Suppressed, diff)
	}
	page := get(t, h, "/interception"+strings.TrimPrefix(strings.Replace(url, "by=country&", "", 1), "/api/v1/interception")).Body.String()
	if f := element(t, page, "chart-intercepted-countries"); strings.Contains(f, "Andorra") || !strings.Contains(f, "2 more have too few to show") {
		t.Errorf("the page shows what the API doesn't: %s", f)
	}
}

// inEstimates compares the counts and intervals of a figure's table with the API's.
func inEstimates(t *testing.T, f *html.Node, in dashboard.Interception) {
	t.Helper()
	rows := find(f, func(n *html.Node) bool { return n.Data == "tr" })[1:]
	if len(rows) == 0 || len(rows) > len(in.Rows) {
		t.Fatalf("%s has %d rows, the API %d", attr(f, "id"), len(rows), len(in.Rows))
	}
	for i, tr := range rows {
		r := in.Rows[i]
		cells := find(tr, func(n *html.Node) bool { return n.Data == "td" })
		want := []string{"not measured", spaced(r.Consistent + r.Inconsistent)}
		if e := r.Estimate; e != nil {
			tenth := func(f float64) string { return strconv.FormatFloat(100*f, 'f', 1, 64) }
			want[0] = tenth(e.Low) + "–" + tenth(e.High) + "\u202f%"
		}
		if diff := cmp.Diff(want, []string{text(cells[1]), text(cells[3])}); diff != "" {
			t.Errorf("%s, row %d (-API +page):\n%s", attr(f, "id"), i, diff)
		}
	}
}
