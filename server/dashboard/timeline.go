package dashboard

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A Span is what began and ended, on a timeline.
type Span struct {
	From time.Time  `json:"from"`
	To   *time.Time `json:"to,omitempty"` // nil: it goes on
	Lane string     `json:"lane"`
	Name string     `json:"name"`
	Kind string     `json:"kind"` // "campaign", "unusual"
	Note string     `json:"note,omitempty"`
}

// attackTimes are the times of campaigns, and those in which there were far
// more incidents of a kind than usual.
var attackTimes = &derivation{
	path: "/timeline", metric: wire.AttackIncidents, byTime: true, words: []string{"incident_kind"}, compute: computeTimeline,
}

const (
	// unusual is how many times the median period of a kind a period has to have.
	unusual = 3
	// fewIncidents is how many incidents are not unusual whatever the median.
	fewIncidents = 5
	maxTimeline  = 200
)

// computeTimeline answers with the incidents by kind over time, and with spans:
// a run of periods with at least three times the incidents that the median
// period has, and the campaigns.
func computeTimeline(ctx context.Context, d *Dashboard, src source, a question) (*Answer, error) {
	q := question{span: a.span, metric: a.metric, byTime: true, byDims: []int{a.metric.Dim("incident_kind")}, limit: maxLimit}
	by, err := d.compute(ctx, src, true, q)
	if err != nil {
		return nil, err
	}
	ans := d.express(a, nil, 0)
	ans.Rows, ans.Total = by.Rows, by.Total
	each := length(a.grain, d.cfg.Timing)
	counts := map[string]map[int64]uint64{}
	for _, r := range by.Rows {
		k := r.Group["incident_kind"]
		if counts[k] == nil {
			counts[k] = map[int64]uint64{}
		}
		counts[k][r.Time.Unix()] += r.Count
	}
	for kind, of := range counts {
		ans.Spans = append(ans.Spans, runs(kind, of, a.span, each)...)
	}
	list, err := d.campaignsIn(ctx, a.span)
	if err != nil {
		return nil, err
	}
	for _, c := range list.Campaigns {
		s := Span{From: c.Begin, Lane: sentence(c.Kind), Kind: "campaign", Name: campaignName(c), Note: whole(c.Instances) + " instances at most, " + whole(c.Events) + " events"}
		if !c.Ongoing {
			s.To = &c.End
		}
		ans.Spans = append(ans.Spans, s)
	}
	slices.SortFunc(ans.Spans, func(x, y Span) int {
		return cmp.Or(y.From.Compare(x.From), cmp.Compare(x.Lane, y.Lane), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Name, y.Name))
	})
	ans.Spans = ans.Spans[:min(len(ans.Spans), maxTimeline)]
	return ans, nil
}

// campaignName is what a campaign has in common, as far as there is room.
func campaignName(c Campaign) string {
	of := append(slices.Clone(c.Networks), c.Fingerprints...)
	if len(of) == 0 {
		return "Campaign"
	}
	name := "Campaign: " + strings.Join(of[:min(len(of), 2)], ", ")
	if len(of) > 2 {
		name += fmt.Sprintf(" and %d more", len(of)-2)
	}
	return name
}

// runs are the stretches of s in which each period has far more than the median
// of all of them; a period without any has none.
func runs(kind string, counts map[int64]uint64, s span, each time.Duration) (spans []Span) {
	var all []uint64
	for at := s.from; at.Before(s.to); at = at.Add(each) {
		all = append(all, counts[at.Unix()])
	}
	if len(all) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(all))
	least := max(unusual*sorted[len(sorted)/2], fewIncidents)
	for i := 0; i < len(all); i++ {
		if all[i] < least {
			continue
		}
		j, n := i, uint64(0)
		for ; j < len(all) && all[j] >= least; j++ {
			n += all[j]
		}
		run := Span{From: s.from.Add(time.Duration(i) * each), Lane: sentence(kind), Kind: "unusual", Name: whole(n) + " incidents", Note: "at least " + whole(least) + " in each period"}
		if j < len(all) {
			to := s.from.Add(time.Duration(j) * each)
			run.To = &to
		}
		spans = append(spans, run)
		i = j
	}
	return spans
}

// spans makes the table of a timeline, the latest first.
func (f *figure) spans(a question) {
	f.Empty = len(f.Answer.Spans) == 0
	f.Head = []string{"Kind", "What", "Began", "Ended", ""}
	for _, s := range f.Answer.Spans {
		end := "goes on"
		if s.To != nil {
			end = moment(*s.To, min(a.grain, 1))
		}
		f.Rows = append(f.Rows, figureRow{Name: s.Lane, Cells: []string{s.Name, moment(s.From, min(a.grain, 1)), end, s.Note}})
	}
}
