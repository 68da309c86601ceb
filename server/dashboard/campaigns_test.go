package dashboard_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// listed is what a correlator found.
type listed []store.Campaign

func (l listed) Campaigns(_ context.Context, from, to time.Time) ([]store.Campaign, error) {
	var in []store.Campaign
	for _, c := range l {
		if c.Begin < to.Unix() && c.End > from.Unix() {
			in = append(in, c)
		}
	}
	return in, nil
}

var firstHour = now.Truncate(time.Hour).Add(-3 * time.Hour)

var campaign = store.Campaign{
	ID: "0123456789abcdef", Kind: wire.IncidentKind.Value("scan"), Scan: wire.ScanClass.Value("wordpress"), Networks: []uint32{64496, 64497},
	Begin: firstHour.Unix(), End: firstHour.Add(3 * time.Hour).Unix(), Ongoing: true, Instances: 90, Events: 20_210,
	Hours: []store.Sighting{
		{Hour: firstHour.Unix(), Instances: 60, Events: 8000, Top: 1000},
		{Hour: firstHour.Add(time.Hour).Unix(), Instances: 90, Events: 12_000, Top: 5000},
		{Hour: firstHour.Add(2 * time.Hour).Unix(), Instances: 7, Events: 210, Top: 100},
	},
}

func TestCampaigns(t *testing.T) {
	s, l := openStore(t), openLog(t)
	whole := dashboard.Campaign{
		ID: "0123456789abcdef", Kind: "scan", Scan: "wordpress", Fingerprints: []string{}, Networks: []string{"AS64496", "AS64497"},
		Begin: firstHour, End: firstHour.Add(3 * time.Hour), Ongoing: true, Instances: 90, Events: 20_210,
		Hours: []dashboard.CampaignHour{
			{Time: firstHour, Instances: 60, Events: 8000},
			{Time: firstHour.Add(time.Hour), Instances: 90, Events: 12_000},
			{Time: firstHour.Add(2 * time.Hour), Instances: 7, Events: 210},
		},
	}
	// Of the second hour, one instance gave more than a quarter.
	public := whole
	public.Instances, public.Events = 60, 8000
	public.Hours = []dashboard.CampaignHour{
		{Time: firstHour, Instances: 60, Events: 8000},
		{Time: firstHour.Add(time.Hour), Suppressed: true},
		{Time: firstHour.Add(2 * time.Hour), Suppressed: true},
	}
	for _, c := range []struct {
		name    string
		source  dashboard.Campaigns
		privacy dashboard.Privacy
		ask     string
		want    []dashboard.Campaign
	}{
		{"private", listed{campaign}, dashboard.Privacy{}, "range=24h", []dashboard.Campaign{whole}},
		{"public", listed{campaign}, dashboard.Public, "", []dashboard.Campaign{public}},
		{"too few", listed{campaign}, dashboard.Privacy{MinInstances: 100}, "", []dashboard.Campaign{}},
		{"another time", listed{campaign}, dashboard.Privacy{}, "from=2026-11-20T00:00:00Z&to=2026-11-21T00:00:00Z", []dashboard.Campaign{}},
		{"no source", nil, dashboard.Privacy{}, "", []dashboard.Campaign{}},
	} {
		w := get(t, serve(t, dashboard.Config{Store: s, Reports: l, Privacy: c.privacy, Campaigns: c.source}), "/api/v1/campaigns?"+c.ask)
		var got dashboard.CampaignList
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%s: %d %v", c.name, w.Code, err)
		}
		if d := cmp.Diff(c.want, got.Campaigns); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	if w := get(t, serve(t, dashboard.Config{Store: s, Reports: l}), "/api/v1/campaigns?grain=hour"); w.Code != http.StatusBadRequest {
		t.Errorf("an unknown parameter: %d", w.Code)
	}
}
