package dashboard_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
)

// TestCampaignsPage: the page of attacks lists what the API gives, as far as
// the thresholds let it be seen.
func TestCampaignsPage(t *testing.T) {
	s, l := openStore(t), openLog(t)
	for _, c := range []struct {
		name    string
		source  dashboard.Campaigns
		privacy dashboard.Privacy
		want    []string // of the first row; nil if there is none
	}{
		{"private", listed{campaign}, dashboard.Privacy{}, []string{"Scan for WordPress", "AS64496, AS64497", "21 Nov, 07:00", "goes on", "90", "20\u202f210", ""}},
		{"public", listed{campaign}, dashboard.Public, []string{"Scan for WordPress", "AS64496, AS64497", "21 Nov, 07:00", "goes on", "60", "8\u202f000", ""}},
		{"none", listed{}, dashboard.Privacy{}, nil},
	} {
		doc := parsed(t, serve(t, dashboard.Config{Store: s, Reports: l, Privacy: c.privacy, Campaigns: c.source}), "/attacks?range=24h")
		live := find(doc, func(n *html.Node) bool { return attr(n, "id") == "campaigns-live" })
		if len(live) != 1 {
			t.Fatalf("%s: %d lists", c.name, len(live))
		}
		var got []string
		for _, td := range find(live[0], func(n *html.Node) bool { return n.Data == "td" }) {
			got = append(got, strings.TrimSpace(text(td)))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if none := strings.Contains(text(live[0]), "No campaign"); none != (c.want == nil) {
			t.Errorf("%s: says that there is none: %t", c.name, none)
		}
	}
	without := parsed(t, serve(t, dashboard.Config{Store: s, Reports: l}), "/attacks?range=24h")
	if n := find(without, func(n *html.Node) bool { return attr(n, "id") == "campaigns" }); len(n) != 0 {
		t.Error("campaigns are listed where nothing looks for any")
	}
}
