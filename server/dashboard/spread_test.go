package dashboard_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/wire"
)

// counted has a hundred instances take up v2.11.9 within four days.
func counted(t *testing.T) dashboard.Config {
	t.Helper()
	s := openStore(t)
	ro := rollup{}
	day := now.Truncate(24 * time.Hour)
	for ago, n := range map[int]uint64{5: 0, 4: 5, 3: 12, 2: 60, 1: 95} {
		at := day.AddDate(0, 0, -ago)
		if n > 0 {
			ro.fact(at, wire.InstancesVersion, wire.Dims{}, "v2.11.9", n)
		}
		if 99 > n {
			ro.fact(at, wire.InstancesVersion, wire.Dims{}, "v2.11.8", 99-n)
		}
		ro.fact(at, wire.InstancesVersion, wire.Dims{}, "other", 1)
		ro.fact(at, wire.InstancesVersion, wire.Dims{}, "v2.12.0-beta.1", 0)
	}
	ro.commit(t, s)
	return dashboard.Config{Store: s, Reports: openLog(t)}
}

func TestSpread(t *testing.T) {
	h := serve(t, counted(t))
	ans := getJSON[dashboard.Answer](t, h, "/api/v1/spread?range=90d")
	day := now.Truncate(24 * time.Hour)
	got := map[string]map[int]uint64{}
	for _, r := range ans.Rows {
		if got[r.Group["release"]] == nil {
			got[r.Group["release"]] = map[int]uint64{}
		}
		got[r.Group["release"]][int(day.Sub(*r.Time)/(24*time.Hour))] = r.Count
	}
	want := map[string]map[int]uint64{
		"all":     {5: 100, 4: 100, 3: 100, 2: 100, 1: 100},
		"v2.11.9": {4: 5, 3: 12, 2: 60, 1: 95},
		"v2.11.8": {5: 99, 4: 99, 3: 99, 2: 99, 1: 99},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// table is the text of the rows of the table in the section with an id.
func table(t *testing.T, doc *html.Node, id string) (rows []string) {
	t.Helper()
	for _, s := range find(doc, func(n *html.Node) bool { return attr(n, "id") == id }) {
		for _, body := range find(s, func(n *html.Node) bool { return n.Data == "tbody" }) {
			for _, tr := range find(body, func(n *html.Node) bool { return n.Data == "tr" }) {
				var cells []string
				for _, c := range find(tr, func(n *html.Node) bool { return n.Data == "td" || n.Data == "th" }) {
					cells = append(cells, strings.ReplaceAll(text(c), "\u202f", " "))
				}
				rows = append(rows, strings.Join(cells, " | "))
			}
		}
	}
	return rows
}

func TestReleasesOfCaddy(t *testing.T) {
	cfg := counted(t)
	day := now.Truncate(24 * time.Hour)
	cfg.Updates = func() dashboard.Updates {
		return known{releases: []wire.Release{
			{Path: wire.CaddyPath, Version: "v2.11.9", Severity: wire.SeverityCritical, Channel: wire.ChannelStable, Time: day.AddDate(0, 0, -4).Add(9 * time.Hour)},
			{Path: wire.CaddyPath, Version: "v2.11.8", Severity: wire.SeverityMinor, Channel: wire.ChannelStable, Time: day.AddDate(0, 0, -60), Yanked: "loses data"},
		}}
	}
	cfg.Rollouts = func(context.Context) ([]dashboard.Rollout, error) {
		return []dashboard.Rollout{
			{Path: wire.CaddyPath, Version: "v2.11.9", Share: 0.25, State: "paused"},
			{Path: "github.com/x/y", Version: "v1.0.0", Share: 1, State: "running", Created: day},
		}, nil
	}
	doc := parsed(t, serve(t, cfg), "/updates")
	want := []string{
		"v2.11.9 | Critical | 2026-11-17 | 25.0 %, paused | 95.0 % | 2 days | 3 days | 4 days",
		"v2.11.8 withdrawn | Minor | 2026-09-22 | to all | 99.0 % | – | – | –",
		"github.com/x/y | v1.0.0 | 100.0 % | Running | 2026-11-21",
	}
	if diff := cmp.Diff(want, table(t, doc, "releases")); diff != "" {
		t.Error(diff)
	}
	cfg.Rollouts = func(context.Context) ([]dashboard.Rollout, error) { return nil, errors.New("no disk") }
	doc = parsed(t, serve(t, cfg), "/updates")
	if rows := table(t, doc, "releases"); len(rows) != 2 || !strings.Contains(rows[0], "95.0 %") {
		t.Errorf("without rollouts the page says %q", rows)
	}
}

func TestAbout(t *testing.T) {
	cfg := dashboard.Config{Store: openStore(t), Reports: openLog(t)}
	if rows := table(t, parsed(t, serve(t, cfg), "/about"), "builds"); rows != nil {
		t.Errorf("where nothing is handed out it says %q", rows)
	}
	day := now.Truncate(24 * time.Hour)
	cfg.Handouts = func(_ context.Context, since time.Time) ([]dashboard.HandoutDay, error) {
		return []dashboard.HandoutDay{
			{Day: since, With: 1, Without: 1}, {Day: day.AddDate(0, 0, -8), With: 10, Without: 30},
			{Day: day.AddDate(0, 0, -6), With: 1000, Without: 0}, {Day: day, With: 500, Without: 500},
		}, nil
	}
	doc := parsed(t, serve(t, cfg), "/about")
	want := []string{"2026-11-15 | 1 500 | 500 | 75.0 %", "2026-11-08 | 10 | 30 | 25.0 %", "2026-08-23 | 1 | 1 | 50.0 %"}
	if diff := cmp.Diff(want, table(t, doc, "builds")); diff != "" {
		t.Error(diff)
	}
	if got := strings.ReplaceAll(text(doc), "\u202f", " "); !strings.Contains(got, "1 511 with telemetry compiled in, 531 without: 74.0 % can take part") {
		t.Error("it is not said how many take part")
	}
}
