//go:build e2e

package dashboard_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestE2ENumbers: what a chart's address of the API gives, and so what is drawn
// and in its table, is what the store has: each counter's sums are worked out
// once more from all of the store's rows, as they are exported.
func TestE2ENumbers(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 27*time.Hour)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	sums := map[store.Grain]map[wire.MetricID][]store.Row{}
	for _, g := range store.Grains {
		sums[g] = map[wire.MetricID][]store.Row{}
		for r, err := range s.Export(t.Context(), g, now.Add(-90*24*time.Hour), now.Add(24*time.Hour)) {
			if err != nil {
				t.Fatal(err)
			}
			if wire.MetricByID(r.Metric).Kind == wire.KindCounter {
				sums[g][r.Metric] = append(sums[g][r.Metric], r)
			}
		}
	}
	seen, compared := map[string]bool{}, 0
	for _, page := range chartPages(t, h) {
		if len(find(parsed(t, h, page), func(n *html.Node) bool { return n.Data == "figure" })) == 0 {
			continue
		}
		for _, span := range []string{"range=1h", "range=7d", "from=2026-11-20T12:00:00Z&to=2026-11-21T06:00:00Z&grain=hour"} {
			for _, a := range find(parsed(t, h, page+"?"+span), func(n *html.Node) bool { return n.Data == "a" && attr(n, "class") == "source" }) {
				href := attr(a, "href")
				if seen[href] || !strings.HasPrefix(href, "/api/v1/query?") {
					continue
				}
				seen[href] = true
				ans := getJSON[dashboard.Answer](t, h, href)
				m := wire.MetricByName(ans.Metric)
				if m.Kind != wire.KindCounter {
					continue
				}
				u, err := url.Parse(href)
				if err != nil {
					t.Fatal(err)
				}
				want := recount(t, m, u.Query(), ans, sums)
				got := map[string]uint64{}
				for _, r := range ans.Rows {
					got[rowKey(ans.By, r)] += r.Count
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%s: the store has (-), the API gives (+):\n%s", href, d)
				}
				compared++
			}
		}
	}
	if compared < 40 {
		t.Errorf("only %d charts were compared", compared)
	}
}

// recount adds up the store's rows that an answer is of, by the answer's groups.
func recount(t *testing.T, m *wire.Metric, q url.Values, ans dashboard.Answer, sums map[store.Grain]map[wire.MetricID][]store.Row) map[string]uint64 {
	t.Helper()
	named := map[string]bool{}
	for _, r := range ans.Rows {
		if !r.Rest {
			r.Time = nil
			named[rowKey(ans.By, r)] = true
		}
	}
	want := map[string]uint64{}
	for _, g := range store.Grains {
		if g.String() != ans.Grain {
			continue
		}
		for _, r := range sums[g][m.ID] {
			at := time.Unix(r.Start, 0).UTC()
			if at.Before(ans.From) || !at.Before(ans.To) || r.Facet.String() != ans.Facet || q.Has("value") && !slices.Contains(q["value"], r.Value) || q.Has("label") && !slices.Contains(q["label"], r.Label) {
				continue
			}
			group, skip := map[string]string{"value": r.Value, "label": r.Label}, false
			for i, d := range m.Dims {
				group[d.Name] = d.ValueName(r.Dims[i])
				skip = skip || q.Has("where."+d.Name) && !slices.Contains(q["where."+d.Name], group[d.Name])
			}
			if skip {
				continue
			}
			row := dashboard.Row{Group: group}
			if !named[rowKey(ans.By, row)] {
				row = dashboard.Row{Rest: true}
			}
			if slices.Contains(ans.By, "time") {
				row.Time = &at
			}
			want[rowKey(ans.By, row)] += r.Count
		}
	}
	return want
}

func rowKey(by []string, r dashboard.Row) string {
	var parts []string
	if r.Time != nil {
		parts = append(parts, r.Time.UTC().Format(time.RFC3339))
	}
	if r.Rest {
		return strings.Join(append(parts, "(rest)"), " ")
	}
	for _, b := range by {
		if b != "time" {
			parts = append(parts, b+"="+r.Group[b])
		}
	}
	return strings.Join(parts, " ")
}

// chartPages are the pages that the list of pages leads to, with those beside them.
func chartPages(t *testing.T, h http.Handler) []string {
	t.Helper()
	pages := []string{"/"}
	add := func(of, class string) (added []string) {
		for _, nav := range find(parsed(t, h, of), func(n *html.Node) bool { return n.Data == "nav" && attr(n, "class") == class }) {
			for _, a := range find(nav, func(n *html.Node) bool { return n.Data == "a" }) {
				if p := attr(a, "href"); !slices.Contains(pages, p) && !strings.ContainsAny(p, "?#.") {
					pages, added = append(pages, p), append(added, p)
				}
			}
		}
		return added
	}
	for _, p := range add("/", "main-nav") {
		add(p, "beside")
	}
	return pages
}
