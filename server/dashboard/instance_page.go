package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-evergreen/evergreen/server/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// An instanceBody fills instance.html.
type instanceBody struct {
	ID        string
	Range     string
	Expires   string
	Data      string
	Facts     []factLine
	Modules   []*wire.Module
	Features  []string
	Changes   []Change
	Reports   []reportLine
	More      int
	Sections  []sectionView
	Short     bool // not all could be read
	Advice    *adviceView
	Similar   *similarView
	Incidents *incidentsView
	Alerts    *ownAlerts // nil: this server has none
}

type factLine struct{ Name, Value string }

type reportLine struct {
	ReportInfo
	When, Windows, Where, Size string
}

// ownAlerts are an instance's subscriptions and how to have one more.
type ownAlerts struct {
	Subscriptions []*alertsBody
	Form          *alertForm
	Trouble       string
}

const maxReportLines = 10

func (d *Dashboard) instancePage(w http.ResponseWriter, r *http.Request) error {
	all, err := query(r)
	if err != nil {
		return err
	}
	src, q, err := d.own(r)
	if err != nil {
		return err
	}
	if err := strict(q, append([]string{"with"}, spanParams...)); err != nil {
		return err
	}
	link := linkOf(all)
	extra := spanOf(q, src.span)
	keep := url.Values{}
	for k, v := range link {
		extra[k], keep[k] = v, v
	}
	if q.Has("with") {
		keep["with"] = q["with"]
	}
	base := "/api/v1/instance/" + src.id.String()
	body := instanceBody{ID: src.id.String(), Range: rangeTitle(src.span), Data: base + "?" + extra.Encode(), Changes: src.changes, Short: src.truncated}
	if at, err := parseTime("expires", link.Get("expires")); err == nil {
		body.Expires = at.Format("2 January 2006, 15:04 UTC")
	}
	err = each(r.Context(), 4, func(ctx context.Context, i int) (err error) {
		switch i {
		case 0:
			body.Sections, err = d.figuresFor(ctx, func(c chart) bool { return c.Own },
				func(c chart) string { return c.path(base, extra) },
				func(ctx context.Context, _ chart, a question) (*Answer, error) {
					a.span = src.span
					return d.compute(ctx, src, false, a)
				})
		case 1:
			body.Similar, err = d.similarTo(ctx, src, q.Get("with"), func(with string) string {
				at := spanOf(q, src.span)
				at.Set("with", with)
				for k, v := range link {
					at[k] = v
				}
				return r.URL.Path + "?" + at.Encode() + "#similar"
			})
		case 2:
			body.Advice = d.adviceFor(ctx, src.facts)
		case 3:
			body.Alerts = d.ownAlerts(ctx, src.id, r.URL.Path+"?"+link.Encode())
		}
		return err
	})
	if err != nil {
		return err
	}
	foldEmpty(body.Sections)
	body.Incidents = src.incidentsView()
	if src.facts != nil {
		body.Facts, body.Modules, body.Features = factLines(src.facts), src.facts.GetModules(), slices.Sorted(slices.Values(src.facts.GetFeatures()))
	}
	for _, rep := range src.reports[:min(len(src.reports), maxReportLines)] {
		body.Reports = append(body.Reports, newReportLine(rep))
	}
	body.More = len(src.reports) - len(body.Reports)
	return d.render(w, r, "instance.html", page{
		Title: "Your instance", Path: "/instance", Private: true, Live: true, Script: true,
		Ranges: switchTo(r.URL.Path, src.span, keep), Body: body,
	}, http.StatusOK)
}

// ownAlerts lists an instance's subscriptions. That they can't be had is said,
// and holds up nothing else of the page.
func (d *Dashboard) ownAlerts(ctx context.Context, id wire.InstanceID, link string) *ownAlerts {
	if d.cfg.Alerts == nil {
		return nil
	}
	own := &ownAlerts{Form: &alertForm{Action: "/alerts/subscribe", Link: link, Own: true, Choices: choices(OwnWatches(), true)}}
	subs, err := d.cfg.Alerts.OfInstance(ctx, id)
	if err != nil {
		d.cfg.Logger.Error("listing an instance's alerts", "err", err)
		own.Trouble = "The subscriptions can't be listed at the moment."
	}
	for _, s := range subs {
		b := newAlertsBody(s)
		b.Link = link
		own.Subscriptions = append(own.Subscriptions, b)
	}
	return own
}

// Alerting says how a subscription is, in words.
func (b *alertsBody) Alerting() string {
	switch {
	case b.State == "ended":
		return "ended: " + b.Why
	case b.State == "pending":
		return "waits for " + b.Host + " to answer"
	case b.Departed > 0:
		return "something is unusual"
	case slices.ContainsFunc(b.Watches, func(l watchLine) bool { return l.Class == string(watch.Usual) }):
		return "as usual"
	}
	return "learning"
}

// yourPage answers /instance: how to get to one's own page.
func (d *Dashboard) yourPage(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	if link := strings.TrimSpace(q.Get("link")); link != "" && len(q) == 1 {
		_, path, err := d.linked(link)
		if err != nil {
			return err
		}
		// It is in nobody's history or log but this one's: the link is what opens the page.
		http.Redirect(w, r, path, http.StatusSeeOther)
		return nil
	}
	q.Del("link")
	if err := strict(q, nil); err != nil {
		return err
	}
	return d.render(w, r, "yours.html", page{Title: "Your instance", Path: "/instance", Body: d.cfg.Alerts != nil}, http.StatusOK)
}
