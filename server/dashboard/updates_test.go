package dashboard_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/wire"
)

// known is what a service of releases knows.
type known struct {
	releases   []wire.Release
	advisories []wire.Advisory
	asOf       time.Time
}

func (k known) AsOf() time.Time { return k.asOf }

func (k known) Recent(path string, severity wire.Severity, _ wire.Channel, _ int) (rs []wire.Release, all int) {
	for _, r := range k.releases {
		if (path == "" || r.Path == path) && (severity == "" || r.Severity == severity) {
			rs = append(rs, r)
		}
	}
	return rs, len(rs)
}

func (k known) RecentAdvisories(path string, severity wire.Severity, _ int) (as []wire.Advisory, all int) {
	for _, a := range k.advisories {
		if (path == "" || a.Path == path) && (severity == "" || a.Severity == severity) {
			as = append(as, a)
		}
	}
	return as, len(as) + 7
}

// cells are the rows of a page's table.
func cells(doc *html.Node) (rows []string) {
	for _, tr := range find(doc, func(n *html.Node) bool { return n.Data == "tr" }) {
		var row []string
		for _, td := range find(tr, func(n *html.Node) bool { return n.Data == "td" }) {
			row = append(row, strings.Join(strings.Fields(text(td)), " "))
		}
		if len(row) > 0 {
			rows = append(rows, strings.Join(row, " | "))
		}
	}
	return rows
}

func TestUpdatesPages(t *testing.T) {
	day := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	k := known{
		releases: []wire.Release{
			{Path: "github.com/x/y", Version: "v1.2.3", Severity: wire.SeverityCritical, Channel: wire.ChannelStable, Tagged: true, By: "ann, bob", Time: day,
				Notes: "Fixes <script>alert(1)</script>\nand more.", Links: []string{"https://example.com/y"}},
			{Path: "github.com/x/z", Version: "v2.0.0-rc.1", Severity: wire.SeverityFeature, Channel: wire.ChannelBeta, Time: day, Yanked: "loses data"},
		},
		advisories: []wire.Advisory{
			{ID: "GO-2026-0001", Path: "github.com/x/y", Severity: wire.SeverityUnrated, Summary: "A request is believed", Published: day,
				Ranges: []wire.Range{{Fixed: "v1.2.3"}, {Introduced: "v2.0.0", Fixed: "v2.0.1"}}},
			{ID: "GHSA-1", Path: "stdlib", Severity: wire.SeverityCritical, Published: day, Ranges: []wire.Range{{}}},
		},
		asOf: time.Date(2026, 8, 21, 0, 0, 0, 0, time.UTC),
	}
	s, l := openStore(t), openLog(t)
	h := serve(t, dashboard.Config{Store: s, Reports: l, Updates: func() dashboard.Updates { return k }})
	yz := []string{
		"Critical | github.com/x/y | v1.2.3 | 2026-11-21 | ann, bob | Fixes <script>alert(1)</script>",
		"Feature | github.com/x/z | v2.0.0-rc.1 (beta) | 2026-11-21 | nobody | Withdrawn: loses data",
	}
	ab := []string{
		"Unrated | github.com/x/y | GO-2026-0001 | 2026-11-21 | v1.2.3, v2.0.1 | A request is believed",
		"Critical | stdlib | GHSA-1 | 2026-11-21 | not fixed |",
	}
	for path, want := range map[string][]string{
		"/releases": yz, "/releases?severity=feature": yz[1:], "/releases?module=github.com%2Fx%2Fy": {strings.Replace(yz[0], "github.com/x/y | ", "", 1)}, "/releases?module=none": nil,
		"/advisories": ab, "/advisories?severity=unrated": ab[:1], "/advisories?module=stdlib&severity=critical": {strings.Replace(ab[1], "stdlib | ", "", 1)},
	} {
		doc := parsed(t, h, path)
		var got []string
		for _, row := range cells(doc) {
			got = append(got, strings.TrimSpace(row))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		if len(find(doc, func(n *html.Node) bool { return n.Data == "script" })) != 0 {
			t.Errorf("%s: what a maintainer wrote is a script", path)
		}
		current := find(doc, func(n *html.Node) bool { return attr(n, "aria-current") == "page" })
		if own, _, _ := strings.Cut(path, "?"); len(current) != 1 || attr(current[0], "href") != own {
			t.Errorf("%s: the navigation says %v", path, current)
		}
	}
	if got := text(parsed(t, h, "/advisories")); !strings.Contains(got, "of 21 August 2026: what was published later is not known") {
		t.Error("it is not said how old the database is")
	}
	if got := text(parsed(t, h, "/advisories")); !strings.Contains(got, "and 7 more") {
		t.Error("it is not said how many are not listed")
	}
	for path, want := range map[string]string{
		"/releases?severity=unrated": "severity is", "/advisories?severity=criticle": "critical", "/releases?modul=x": "module",
	} {
		if w := get(t, h, path); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d, which should be refused with %q", path, w.Code, want)
		}
	}
	// All links lead somewhere.
	for _, path := range []string{"/releases", "/advisories"} {
		for _, a := range find(parsed(t, h, path), func(n *html.Node) bool { return n.Data == "a" }) {
			href := attr(a, "href")
			if strings.HasPrefix(href, "/releases") || strings.HasPrefix(href, "/advisories") {
				if w := get(t, h, href); w.Code != http.StatusOK {
					t.Errorf("%s links to %s: %d", path, href, w.Code)
				}
			}
		}
	}

	without := serve(t, dashboard.Config{Store: s, Reports: l})
	if w := get(t, without, "/releases"); w.Code != http.StatusNotFound {
		t.Errorf("without releases there is a page of them: %d", w.Code)
	}
	if strings.Contains(get(t, without, "/").Body.String(), "/advisories") {
		t.Error("without advisories they are in the navigation")
	}
	for _, builds := range []bool{false, true} {
		h := serve(t, dashboard.Config{Store: s, Reports: l, Builds: builds})
		if got := strings.Contains(get(t, h, "/privacy").Body.String(), `href="/build"`); got != builds {
			t.Errorf("builds %v: the page to build is in the navigation: %v", builds, got)
		}
	}
	none := serve(t, dashboard.Config{Store: s, Reports: l, Updates: func() dashboard.Updates { return known{} }})
	if got := text(parsed(t, none, "/advisories")); !strings.Contains(got, "no database") {
		t.Error("without a database, it is not said that nothing is known")
	}
}
