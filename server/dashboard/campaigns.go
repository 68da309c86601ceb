package dashboard

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Campaigns finds attacks that many instances saw at the same time.
type Campaigns interface {
	// Campaigns lists those that are in [from, to) at least in part, latest first.
	Campaigns(ctx context.Context, from, to time.Time) ([]store.Campaign, error)
}

// CampaignList is what /api/v1/campaigns gives.
type CampaignList struct {
	From      time.Time  `json:"from"`
	To        time.Time  `json:"to"`
	Campaigns []Campaign `json:"campaigns"`
}

// A Campaign is an attack that many instances saw at the same time.
type Campaign struct {
	ID           string    `json:"id"`
	Kind         string    `json:"kind"`
	Scan         string    `json:"scan,omitempty"` // what a scan was looking for
	Fingerprints []string  `json:"fingerprints"`
	Networks     []string  `json:"networks"` // such as AS64496
	Begin        time.Time `json:"begin"`
	End          time.Time `json:"end"` // of its last hour so far
	Ongoing      bool      `json:"ongoing"`
	Instances    uint64    `json:"instances"` // the most in an hour
	Events       uint64    `json:"events"`
	// Hours is how it grew. Numbers of an hour that too few instances
	// contribute to are 0 and in no sum.
	Hours []CampaignHour `json:"hours"`
}

// A CampaignHour is an hour of a campaign.
type CampaignHour struct {
	Time       time.Time `json:"time"`
	Instances  uint64    `json:"instances"`
	Events     uint64    `json:"events"`
	Suppressed bool      `json:"suppressed,omitempty"`
}

func (d *Dashboard) apiCampaigns(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	if err := strict(q, []string{"range", "from", "to"}); err != nil {
		return err
	}
	s, err := d.parseSpan(q)
	if err != nil {
		return err
	}
	list, err := d.campaignsIn(r.Context(), s)
	if err != nil {
		return err
	}
	return d.writeJSON(w, r, list, false)
}

// campaignsIn lists the campaigns of a span that may be shown.
func (d *Dashboard) campaignsIn(ctx context.Context, s span) (*CampaignList, error) {
	list := &CampaignList{From: s.from, To: s.to, Campaigns: []Campaign{}}
	if d.cfg.Campaigns == nil {
		return list, nil
	}
	found, err := d.cfg.Campaigns.Campaigns(ctx, s.from, s.to)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if c, ok := d.cfg.Privacy.campaign(f); ok {
			list.Campaigns = append(list.Campaigns, c)
		}
	}
	return list, nil
}

// campaign leaves out the numbers of hours that fall short, also of the sums,
// which would give them away. A campaign without any other hour is not shown.
func (p Privacy) campaign(f store.Campaign) (Campaign, bool) {
	c := Campaign{
		ID: f.ID, Kind: valueName(wire.IncidentKind, f.Kind), Fingerprints: []string{}, Networks: []string{},
		Begin: time.Unix(f.Begin, 0).UTC(), End: time.Unix(f.End, 0).UTC(), Ongoing: f.Ongoing, Hours: []CampaignHour{},
	}
	if f.Scan != wire.Other {
		c.Scan = valueName(wire.ScanClass, f.Scan)
	}
	for _, v := range f.Fingerprints {
		c.Fingerprints = append(c.Fingerprints, valueName(wire.Fingerprints(), v))
	}
	for _, n := range f.Networks {
		c.Networks = append(c.Networks, "AS"+strconv.FormatUint(uint64(n), 10))
	}
	shown := false
	for _, h := range f.Hours {
		at := CampaignHour{Time: time.Unix(h.Hour, 0).UTC()}
		if h.Instances < p.MinInstances || h.Events < p.MinEvents || p.MaxShare > 0 && float64(h.Top) > p.MaxShare*float64(h.Events) {
			at.Suppressed = true
		} else {
			shown = true
			at.Instances, at.Events = h.Instances, h.Events
			c.Instances = max(c.Instances, h.Instances)
			c.Events += h.Events
		}
		c.Hours = append(c.Hours, at)
	}
	return c, shown
}

// valueName is "other" for what a vocabulary, which may be nil, lacks.
func valueName(d *wire.Dimension, v wire.Value) string {
	if d == nil || int(v) >= len(d.Values) {
		return "other"
	}
	return d.Values[v]
}
