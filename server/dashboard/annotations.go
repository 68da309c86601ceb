package dashboard

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Annotations is what /api/v1/annotations gives: what happened in a span that
// may explain a change in a chart, or a lack of numbers.
type Annotations struct {
	From        time.Time    `json:"from"`
	To          time.Time    `json:"to"`
	Annotations []Annotation `json:"annotations"` // by time
	// More is how many releases and campaigns were left out.
	More int `json:"more,omitempty"`
}

// An Annotation is a moment, or a stretch of time if it has an End.
type Annotation struct {
	Time  time.Time  `json:"time"`
	End   *time.Time `json:"end,omitempty"`
	Kind  string     `json:"kind"` // of annotationKinds
	Title string     `json:"title"`
	Href  string     `json:"href,omitempty"` // a page that has more of it
}

// Kinds of annotations.
const (
	noteRelease  = "release"  // of Caddy
	noteIncident = "incident" // hours with far more incidents than usual
	noteCampaign = "campaign" // an attack that many instances saw
	noteGap      = "gap"      // no instance's report is there
)

// maxNotes is how many of a kind are given.
const maxNotes = 50

// caddyModule is the module whose releases are told.
const caddyModule = "github.com/caddyserver/caddy/v2"

func (d *Dashboard) apiAnnotations(w http.ResponseWriter, r *http.Request) error {
	s, err := d.spanOf(r)
	if err != nil {
		return err
	}
	as, err := d.annotations(r.Context(), s)
	if err != nil {
		return err
	}
	return d.writeJSON(w, r, as, false)
}

// annotations are those of a span, or what they were a moment ago.
func (d *Dashboard) annotations(ctx context.Context, s span) (*Annotations, error) {
	if s.points(d.cfg.Timing) > maxPoints {
		return nil, tooMuch("%d periods of a %s are more than %d: choose a shorter range or a coarser grain.", s.points(d.cfg.Timing), s.grain, maxPoints)
	}
	key := fmt.Sprint(s.grain, s.from.Unix(), s.to.Unix())
	return d.notes.get(ctx, key, queryTimeout, func(ctx context.Context) (*Annotations, error) { return d.annotationsIn(ctx, s) })
}

func (d *Dashboard) annotationsIn(ctx context.Context, s span) (*Annotations, error) {
	as := &Annotations{From: s.from, To: s.to, Annotations: []Annotation{}}
	d.releasesIn(as)
	campaigns, err := d.campaignsIn(ctx, s)
	if err != nil {
		return nil, err
	}
	for i, c := range campaigns.Campaigns {
		if i == maxNotes {
			as.More += len(campaigns.Campaigns) - i
			break
		}
		a := Annotation{Time: c.Begin, End: &c.End, Kind: noteCampaign, Title: "Campaign: " + strings.ToLower(sentence(c.Kind)), Href: "/attacks#campaigns"}
		as.Annotations = append(as.Annotations, a)
	}
	if err := d.incidentsIn(ctx, s, as); err != nil {
		return nil, err
	}
	if err := d.gapsIn(ctx, s, as); err != nil {
		return nil, err
	}
	slices.SortStableFunc(as.Annotations, func(x, y Annotation) int {
		return cmp.Or(x.Time.Compare(y.Time), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Title, y.Title))
	})
	return as, nil
}

// releasesIn adds Caddy's releases, when they were found or tagged.
func (d *Dashboard) releasesIn(as *Annotations) {
	if d.cfg.Updates == nil {
		return
	}
	found, _ := d.cfg.Updates().Recent(caddyModule, "", "", maxUpdates)
	n := 0
	for _, r := range found {
		at := r.Time.UTC()
		if at.Before(as.From) || !at.Before(as.To) {
			continue
		}
		if n++; n > maxNotes {
			as.More++
			continue
		}
		title := "Caddy " + r.Version
		if r.Severity == wire.SeverityCritical {
			title += " (critical)"
		}
		as.Annotations = append(as.Annotations, Annotation{Time: at, Kind: noteRelease, Title: title, Href: "/releases?module=" + caddyModule})
	}
}

// gapsIn adds the periods without any instance's report, from the first that
// has one to the last that is complete.
func (d *Dashboard) gapsIn(ctx context.Context, s span, as *Annotations) error {
	ans, err := d.answer(ctx, d.cfg.Store, "", question{span: s, metric: wire.MetricByID(wire.InstancesActive), byTime: true, limit: defaultSeries}) // as the chart asks
	if err != nil || len(ans.Rows) == 0 {
		return err
	}
	each := length(s.grain, d.cfg.Timing)
	gap := func(from, to time.Time) {
		if from.Before(to) {
			as.Annotations = append(as.Annotations, Annotation{Time: from, End: &to, Kind: noteGap, Title: "Nothing was collected"})
		}
	}
	next := ans.Rows[0].Time.Add(each)
	for _, r := range ans.Rows[1:] {
		gap(next, *r.Time)
		next = r.Time.Add(each)
	}
	if ans.Complete.Before(s.to) {
		gap(next, ans.Complete)
	} else {
		gap(next, s.to)
	}
	return nil
}

// maxIncidentSpan is the longest span that incidents are judged in, hour by hour.
const maxIncidentSpan = 31 * 24 * time.Hour

// incidentsIn adds the complete hours in which instances had far more incidents
// than is usual at that hour of the week (package watch), neighbours as one.
func (d *Dashboard) incidentsIn(ctx context.Context, s span, as *Annotations) error {
	if s.to.Sub(s.from) > maxIncidentSpan {
		return nil
	}
	until := complete(d.cfg.Timing, d.cfg.Now()).Truncate(time.Hour)
	over := span{grain: store.Hour, from: s.from.Add(-watch.Lookback).Truncate(time.Hour), to: s.to.Add(time.Hour - 1).Truncate(time.Hour)}
	ans, err := d.answer(ctx, d.cfg.Store, "", question{span: over, metric: wire.MetricByID(wire.AttackIncidents), byTime: true, limit: 1})
	if err != nil || len(ans.Rows) == 0 {
		return err
	}
	counts := map[time.Time]uint64{}
	for _, r := range ans.Rows {
		counts[*r.Time] += r.Count
	}
	var readings []watch.Reading // of every hour since the first
	for at := *ans.Rows[0].Time; at.Before(over.to) && at.Before(until); at = at.Add(time.Hour) {
		readings = append(readings, watch.Reading{Time: at.Add(time.Hour), Value: float64(counts[at]), Of: counts[at]})
	}
	w := watch.Watch{Measure: watch.Count, Direction: watch.Above, Sensitivity: watch.Normal}
	var open *Annotation
	var most float64
	for i, r := range readings {
		begin := r.Time.Add(-time.Hour)
		if !r.Time.After(s.from) {
			continue
		}
		j := watch.Judge(w, r, readings[max(0, i-watch.MaxReadings):i])
		if !j.Known || j.Side != watch.Over || r.Value < leastIncidents {
			open = nil
			continue
		}
		if open == nil {
			if len(as.Annotations) >= 4*maxNotes {
				as.More++
				continue
			}
			as.Annotations = append(as.Annotations, Annotation{Time: begin, Kind: noteIncident, Href: "/attacks#incidents"})
			open, most = &as.Annotations[len(as.Annotations)-1], 0
		}
		end := r.Time
		open.End = &end
		if times := r.Value / max(j.Usual, 1); times > most {
			most = times
			open.Title = "Incidents: " + digits(times) + " times the usual"
			if j.Usual < 1 {
				open.Title = "Incidents: " + whole(uint64(r.Value)) + " in an hour, where there are few"
			}
		}
	}
	return nil
}

// leastIncidents is how many in an hour are worth a mark.
const leastIncidents = 5
