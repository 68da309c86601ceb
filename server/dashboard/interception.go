package dashboard

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-evergreen/evergreen/server/interception"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Interception is what /api/v1/interception gives: the share of connections that
// are likely to be intercepted, estimated from verdicts that may err
// (docs/interception.md). It is made of the answer that /api/v1/query gives of
// tls.interception, and tells nothing that is not in it.
type Interception struct {
	Metric   string    `json:"metric"`
	Grain    string    `json:"grain"`
	From     time.Time `json:"from"`     // inclusive
	To       time.Time `json:"to"`       // exclusive
	Complete time.Time `json:"complete"` // see Answer
	By       string    `json:"by"`       // "", time, client_family or country
	// Clients are the families that the judgement was measured with. Without
	// client_family in By no others are counted.
	Clients    []string          `json:"clients"`
	Confidence float64           `json:"confidence"` // that the interval has the true share, such as 0.95
	Judgement  Judgement         `json:"judgement"`
	Rows       []InterceptionRow `json:"rows"`
	// Suppressed is how many groups are left out since a verdict's count is
	// hidden, without which a share can't be told.
	Suppressed int `json:"suppressed,omitempty"`
}

// A Judgement is how well verdicts were measured to be: shares, and of how many
// known connections each.
type Judgement struct {
	Sensitivity   float64 `json:"sensitivity"` // of those intercepted, are flagged
	SensitivityOf int     `json:"sensitivity_of"`
	Specificity   float64 `json:"specificity"` // of others, are not
	SpecificityOf int     `json:"specificity_of"`
}

// An InterceptionRow is one group or period.
type InterceptionRow struct {
	Time         *time.Time `json:"time,omitempty"`
	Group        *string    `json:"group,omitempty"` // a family of clients, or a country; "" is an unknown one
	Consistent   uint64     `json:"consistent"`
	Inconsistent uint64     `json:"inconsistent"`
	Unknown      uint64     `json:"unknown"` // in no share
	// Estimate is null where nothing could be judged, and of clients that the
	// judgement was not measured with.
	Estimate *InterceptionEstimate `json:"estimate"`
}

// An InterceptionEstimate is a share of the connections that were judged,
// corrected by the judgement's errors, and its confidence interval; all from 0 to 1.
type InterceptionEstimate struct {
	Share float64 `json:"share"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

func (r *InterceptionRow) judged() uint64 { return r.Consistent + r.Inconsistent }

// confidence is that of all intervals.
const confidence = 0.95

// interceptionBy are the values of by.
var interceptionBy = []string{"time", "client_family", "country"}

// interceptionQuery turns the parameters of /api/v1/interception into those of
// the same question to /api/v1/query.
func interceptionQuery(q url.Values) (url.Values, error) {
	if err := strict(q, append([]string{"by", "filter"}, spanParams...)); err != nil {
		return nil, err
	}
	ask := url.Values{"metric": {wire.MetricByID(wire.TLSInterception).Name}}
	for _, k := range append([]string{"filter"}, spanParams...) {
		if q.Has(k) {
			ask[k] = q[k]
		}
	}
	measured := true
	switch by := q.Get("by"); by {
	case "":
		ask.Set("by", "verdict")
	case "time":
		ask.Set("by", "time,verdict")
	case "country":
		ask.Set("facet", "country")
		ask.Set("by", "value,verdict")
		ask.Set("limit", strconv.Itoa(maxLimit))
	case "client_family":
		ask.Set("by", "client_family,verdict")
		measured = false
	default:
		return nil, badParameter("by is %.40q.%s There are: %s.", by, guess(by, interceptionBy), oneOf(interceptionBy))
	}
	if measured {
		ask["where.client_family"] = interception.Families()
	}
	return ask, nil
}

// estimates makes estimates of the answer to an interceptionQuery.
func estimates(by string, ans *Answer) (*Interception, error) {
	quality := interception.Measured()
	out := &Interception{
		Metric: ans.Metric, Grain: ans.Grain, From: ans.From, To: ans.To, Complete: ans.Complete, By: by,
		Clients: interception.Families(), Confidence: confidence,
		Judgement: Judgement{quality.Sensitivity, quality.SensitivityOf, quality.Specificity, quality.SpecificityOf},
		Rows:      []InterceptionRow{},
	}
	type key struct {
		at    int64
		group string
	}
	index := map[key]int{}
	for _, r := range ans.Rows {
		if r.Rest || r.Suppressed {
			continue
		}
		var k key
		row := InterceptionRow{Time: r.Time}
		if r.Time != nil {
			k.at = r.Time.Unix()
		}
		if word := map[string]string{"client_family": "client_family", "country": "value"}[by]; word != "" {
			k.group = r.Group[word]
			row.Group = &k.group
		}
		i, ok := index[k]
		if !ok {
			i = len(out.Rows)
			index[k] = i
			out.Rows = append(out.Rows, row)
		}
		switch r.Group["verdict"] {
		case "consistent":
			out.Rows[i].Consistent += r.Count
		case "inconsistent":
			out.Rows[i].Inconsistent += r.Count
		default:
			out.Rows[i].Unknown += r.Count
		}
	}
	if ans.Suppressed > 0 {
		// What is missing may be none, or hidden.
		n := len(out.Rows)
		out.Rows = slices.DeleteFunc(out.Rows, func(r InterceptionRow) bool { return r.Consistent == 0 || r.Inconsistent == 0 })
		out.Suppressed = n - len(out.Rows)
	}
	for i := range out.Rows {
		r := &out.Rows[i]
		if r.judged() == 0 || by == "client_family" && !slices.Contains(out.Clients, *r.Group) {
			continue
		}
		e, err := interception.Prevalence(r.Inconsistent, r.judged(), quality, confidence)
		if err != nil {
			return nil, err
		}
		r.Estimate = &InterceptionEstimate{round(e.Share), round(e.Low), round(e.High)}
	}
	if by != "time" {
		slices.SortStableFunc(out.Rows, func(x, y InterceptionRow) int {
			if (x.Estimate == nil) != (y.Estimate == nil) {
				if x.Estimate == nil {
					return 1
				}
				return -1
			}
			return cmp.Compare(y.judged(), x.judged())
		})
	}
	return out, nil
}

func (d *Dashboard) apiInterception(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	s, err := d.interceptionIn(r.Context(), q)
	if err != nil {
		return err
	}
	return d.writeJSON(w, r, s, false)
}

// interceptionIn answers the parameters of /api/v1/interception.
func (d *Dashboard) interceptionIn(ctx context.Context, q url.Values) (*Interception, error) {
	ask, err := interceptionQuery(q)
	if err != nil {
		return nil, err
	}
	a, err := d.parseQuestion(ask, false)
	if err != nil {
		return nil, err
	}
	ans, err := d.answer(ctx, d.cfg.Store, "", a)
	if err != nil {
		return nil, err
	}
	return estimates(q.Get("by"), ans)
}

// maxEstimates is how many groups a page's table shows; the data has all.
const maxEstimates = 12

// estimates makes a table of intervals.
func (f *figure) estimates(a question) error {
	by := "client_family"
	if a.byValue {
		by = "country"
	}
	in, err := estimates(by, f.Answer)
	if err != nil {
		return err
	}
	f.Empty = len(in.Rows) == 0
	word := map[string]string{"client_family": "client_family", "country": "value"}[by]
	f.Head = []string{f.wordNoun(word, a), "Likely", "95\u202f% interval", "Flagged", "Judged"}
	shown := in.Rows[:min(len(in.Rows), maxEstimates)]
	var most float64
	for _, r := range shown {
		if r.Estimate != nil {
			most = max(most, r.Estimate.High)
		}
	}
	scale := scaleOf(most)
	f.Scale = strconv.FormatFloat(100*scale, 'f', -1, 64) + "\u202f%"
	for _, r := range shown {
		row := figureRow{Name: display(word, *r.Group, a.facet)}
		if e := r.Estimate; e != nil {
			row.Cells = []string{percent(e.Share), interval(*e)}
			at := func(v float64) string { return strconv.FormatFloat(100*v/scale, 'f', 2, 64) }
			row.Parts = []figurePart{{From: at(e.Low), Width: at(e.High - e.Low), Text: at(e.Share)}}
		} else {
			row.Faint = true
			row.Cells = []string{"–", "not measured"}
		}
		row.Cells = append(row.Cells, percent(float64(r.Inconsistent)/float64(r.judged())), whole(r.judged()))
		f.Rows = append(f.Rows, row)
	}
	switch hidden := in.Suppressed; {
	case hidden == 1:
		f.More = "One more has too few to show."
	case hidden > 1:
		f.More = strconv.Itoa(hidden) + " more have too few to show."
	}
	if n := len(in.Rows) - len(shown); n > 0 {
		f.More = "The data has " + strconv.Itoa(n) + " more. " + f.More
	}
	return nil
}

// scaleOf is the round share at or above f that an axis ends with.
func scaleOf(f float64) float64 {
	for _, s := range []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5} {
		if f <= s {
			return s
		}
	}
	return 1
}

// interval writes a confidence interval.
func interval(e InterceptionEstimate) string {
	tenth := func(f float64) string { return strconv.FormatFloat(100*f, 'f', 1, 64) }
	return tenth(e.Low) + "–" + tenth(e.High) + "\u202f%"
}

// interceptionTile is the estimate over all.
func (d *Dashboard) interceptionTile(ctx context.Context, s span, at url.Values) (tile, error) {
	var facets chart
	facets.Metric = wire.TLSInterception
	at = without(at, "compare")
	if facets.unfiltered(at.Get("filter")) != "" {
		at = without(at, "filter")
	}
	href := "/api/v1/interception?" + at.Encode()
	t := tile{ID: "intercepted", Title: "Likely intercepted", Number: "–", Note: "of browsers’ connections", Href: href, Good: -1}
	now, err := d.interceptionIn(ctx, at)
	if err != nil {
		return t, err
	}
	if len(now.Rows) == 0 || now.Rows[0].Estimate == nil {
		return t, nil
	}
	e := *now.Rows[0].Estimate
	t.Number, t.Unit = strconv.FormatFloat(100*e.Share, 'f', 1, 64), "%"
	t.Note = "95\u202f% interval " + interval(e)
	if before := s.before(); before.to.After(beginning) {
		was, err := d.interceptionIn(ctx, before.values(at))
		if err != nil {
			return t, err
		}
		if len(was.Rows) > 0 && was.Rows[0].Estimate != nil {
			t.points(100 * (e.Share - was.Rows[0].Estimate.Share))
		}
	}
	q := url.Values{"by": {"time"}}
	for k, v := range at {
		q[k] = v
	}
	over, err := d.interceptionIn(ctx, q)
	if err != nil {
		return t, err
	}
	values := map[time.Time]float64{}
	for _, r := range over.Rows {
		if r.Estimate != nil {
			values[*r.Time] = r.Estimate.Share
		}
	}
	t.Line, t.Area = spark(settled(&Answer{Complete: over.Complete}, values))
	return t, nil
}
