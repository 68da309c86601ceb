package dashboard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

func TestTimeline(t *testing.T) {
	s := openStore(t)
	ro := rollup{}
	hour := now.Truncate(time.Hour)
	// Two incidents each hour, but for three hours, one day ago, and the last.
	for ago := range 72 {
		n := uint64(2)
		if ago >= 24 && ago < 27 || ago == 0 {
			n = 7
		}
		ro.count(hour.Add(-time.Duration(ago)*time.Hour), wire.AttackIncidents, dims(wire.AttackIncidents, "request_flood"), n, 1)
	}
	// Four at once are few, even where there are none else.
	ro.count(hour.Add(-10*time.Hour), wire.AttackIncidents, dims(wire.AttackIncidents, "handshake_flood"), 4, 1)
	ro.commit(t, s)
	cfg := dashboard.Config{Store: s, Reports: openLog(t), Campaigns: listed{
		{ID: "c1", Kind: wire.IncidentKind.Value("scan"), Networks: []uint32{64496}, Begin: hour.Add(-48 * time.Hour).Unix(), End: hour.Add(-46 * time.Hour).Unix(), Hours: []store.Sighting{{Hour: hour.Add(-48 * time.Hour).Unix(), Instances: 60, Events: 9000}}},
		{ID: "c2", Kind: wire.IncidentKind.Value("scan"), Begin: hour.Add(-1 * time.Hour).Unix(), End: hour.Unix(), Ongoing: true, Hours: []store.Sighting{{Hour: hour.Add(-1 * time.Hour).Unix(), Instances: 60, Events: 9000}}},
	}}
	h := serve(t, cfg)
	ans := getJSON[dashboard.Answer](t, h, "/api/v1/timeline?range=7d")
	at := func(ago int) time.Time { return hour.Add(-time.Duration(ago) * time.Hour) }
	to := func(ago int) *time.Time { u := at(ago); return &u }
	want := []dashboard.Span{
		{From: at(1), Lane: "Scan", Name: "Campaign", Kind: "campaign", Note: "60 instances at most, 9\u202f000 events"},
		{From: at(48), To: to(46), Lane: "Scan", Name: "Campaign: AS64496", Kind: "campaign", Note: "60 instances at most, 9\u202f000 events"},
	}
	// Over a week the median is none, so that five are far more.
	run := dashboard.Span{From: at(26), To: to(23), Lane: "Request flood", Name: "21 incidents", Kind: "unusual", Note: "at least 5 in each period"}
	last := dashboard.Span{From: at(0), Lane: "Request flood", Name: "7 incidents", Kind: "unusual", Note: "at least 5 in each period"}
	want = []dashboard.Span{last, want[0], run, want[1]}
	if diff := cmp.Diff(want, ans.Spans); diff != "" {
		t.Error(diff)
	}
	rows := table(t, parsed(t, h, "/attacks?range=7d"), "chart-timeline")
	if len(rows) != 4 || !strings.HasPrefix(rows[0], "Request flood | 7 incidents | 21 Nov, 10:00 | goes on") {
		t.Errorf("the table has %q", rows)
	}
	// Where the median is two, six are needed.
	ans = getJSON[dashboard.Answer](t, h, "/api/v1/timeline?from=2026-11-19T00:00:00Z&to=2026-11-21T00:00:00Z&grain=hour")
	if len(ans.Spans) != 2 || ans.Spans[0].Note != "at least 6 in each period" {
		t.Errorf("in two days there are %+v", ans.Spans)
	}
	doc := parsed(t, serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t)}), "/attacks?range=7d")
	if got := text(doc); !strings.Contains(got, "No campaign, and no time with far more incidents than usual") {
		t.Error("the empty timeline does not say so")
	}
}
