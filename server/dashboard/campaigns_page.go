package dashboard

import (
	"context"
	"html/template"
	"net/url"
	"strings"
)

// A campaignsView is the list of campaigns on the page of attacks.
type campaignsView struct {
	Lines []campaignLine
	More  int // that are not listed
	Href  string
}

// A campaignLine is a campaign as a row of a table.
type campaignLine struct {
	Kind, What, Begin, End string
	Instances, Events      string
	Line, Area             template.HTMLAttr // how it grew, in instances
}

const maxCampaigns = 20

// campaignsPage lists the campaigns of a span, nil where nothing looks for any.
func (d *Dashboard) campaignsPage(ctx context.Context, s span, at url.Values) (*campaignsView, error) {
	if d.cfg.Campaigns == nil {
		return nil, nil
	}
	list, err := d.campaignsIn(ctx, s)
	if err != nil {
		return nil, err
	}
	q := url.Values{}
	for _, k := range []string{"range", "from", "to"} {
		if at.Has(k) {
			q[k] = at[k]
		}
	}
	v := &campaignsView{Href: "/api/v1/campaigns?" + q.Encode(), More: max(0, len(list.Campaigns)-maxCampaigns)}
	const layout = "2 Jan, 15:04"
	for _, c := range list.Campaigns[:min(len(list.Campaigns), maxCampaigns)] {
		l := campaignLine{
			Kind: sentence(c.Kind), What: strings.Join(append(c.Networks, c.Fingerprints...), ", "),
			Begin: c.Begin.Format(layout), End: c.End.Format(layout), Instances: whole(c.Instances), Events: whole(c.Events),
		}
		if c.Scan != "" && c.Scan != "other" {
			l.Kind += " for " + sentence(c.Scan)
		}
		if c.Ongoing {
			l.End = "goes on"
		}
		var grew []float64
		for _, h := range c.Hours {
			if !h.Suppressed {
				grew = append(grew, float64(h.Instances))
			}
		}
		l.Line, l.Area = spark(grew)
		v.Lines = append(v.Lines, l)
	}
	return v, nil
}
