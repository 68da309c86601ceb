package dashboard

import (
	"context"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A framing is what all charts of a page have around them.
type framing struct {
	d      *Dashboard
	at     url.Values // the page's parameters
	filter filter
	span   span
	// active is how many different instances reported in the span: those that
	// the filter keeps, and all.
	active, all uint64
	hidden      bool // those that the filter keeps are too few to be told
}

// surroundings are what is around one chart. Page is "" where nothing is.
type surroundings struct {
	Page       string // the chart on its own
	CSV, SVG   string
	at         url.Values // how its page is asked for; nil where a chart has no picture
	Notes      string     // annotations of the time, in the API
	Before     string     // the data of the time before; "" unless that is compared with
	Unfiltered string     // why the page's filter does nothing here
	Badge      string     // how sure the numbers are, in a word or two
	Sure       string     // the same in a sentence
	Thin       bool       // few instances are behind it
	Behind     string     // how many instances
	Change     string     // against the time before
	before     *Answer
}

// fewInstances is below which a chart warns that a single instance may matter.
const fewInstances = 100

// framing reads the parameters that pageSpan gives.
func (d *Dashboard) framing(ctx context.Context, at url.Values) (*framing, error) {
	fr := &framing{d: d, at: at}
	var err error
	if fr.filter, err = parseFilter(at.Get("filter")); err != nil {
		return nil, err
	}
	if fr.span, err = d.parseSpan(at); err != nil {
		return nil, err
	}
	a := question{span: fr.span, metric: wire.MetricByID(wire.InstancesActive), byTime: true, limit: defaultSeries} // as the chart asks
	ans, err := d.answer(ctx, d.cfg.Store, "", a)
	if err != nil {
		return nil, err
	}
	fr.active, fr.all = ans.Total, ans.Total
	if fr.filter.on() {
		if ans, err = d.answer(ctx, d.cfg.Store, "", fr.filter.of(a)); err != nil {
			return nil, err
		}
		fr.active, fr.hidden = ans.Total, ans.Suppressed > 0
	}
	return fr, nil
}

// surround adds to f what is around it.
func (fr *framing) surround(ctx context.Context, f *figure, a question, ask func(context.Context, chart, question) (*Answer, error)) error {
	f.Page = "/chart/" + f.ID + "?" + fr.at.Encode()
	f.CSV = csvPath(f.Href)
	f.setPictures(fr.at)
	f.Unfiltered = f.unfiltered(fr.at.Get("filter"))
	if f.overTime() || f.Form == timeline {
		f.Notes = "/api/v1/annotations?" + without(fr.at, frameParams...).Encode()
	}
	fr.sure(f, a)
	if f.Empty && fr.filter.on() && f.Unfiltered == "" {
		f.Reason = fr.reason(f)
	}
	if fr.at.Get("compare") == "" {
		return nil
	}
	before := a
	before.span = fr.span.before()
	ans, err := ask(ctx, f.chart, before)
	if err != nil {
		return err
	}
	f.before = ans
	if f.overTime() {
		f.Before = f.path("/api/v1", before.span.values(fr.at))
	}
	f.compare(a, ans, fr.before())
	return nil
}

// before names the time that is compared with.
func (fr *framing) before() string {
	if r, ok := rangeByName(fr.span.name); ok && r.length > 0 {
		return "the " + r.Short + " before"
	}
	return "the same time before"
}

// reason says why a filtered chart is empty.
func (fr *framing) reason(f *figure) string {
	switch {
	case f.Answer.Suppressed > 0 || fr.hidden:
		return "All that was counted in this range for " + fr.filter.name() + " is in groups too small to be shown."
	case fr.active == 0:
		return "No instance that the filter keeps (" + fr.filter.name() + ") reported in this range."
	}
	return f.Reason
}

// sure says how sure a chart's numbers are, and of how many instances.
func (fr *framing) sure(f *figure, a question) {
	active := fr.active
	if f.Unfiltered != "" {
		active = fr.all
	}
	switch {
	case f.Form == likely:
		f.Badge, f.Sure = "95\u202f% interval", "Estimated from verdicts whose errors were measured; the interval has the true share 19 times in 20."
	case a.metric.Kind == wire.KindDistinct:
		f.Badge, f.Sure = "±\u202f4.5\u202f%", "Estimated: in 19 of 20 cases the true number of different instances is within 4.5 % of it."
	case a.quantiles != nil && !f.Mean:
		f.Badge, f.Sure = "±\u202f9\u202f%", "Quantiles are exact to the width of a bucket, which is 19 % wide."
	default:
		f.Badge, f.Sure = "Counted", "Every event at every instance that reported, added up: nothing is sampled."
	}
	if f.Thin = active < fewInstances; f.Thin {
		f.Badge = "Few instances"
		f.Sure = "Fewer than 100 instances: a single one can move this. " + f.Sure
	}
	f.Behind = "of " + about(active)
}

// about writes an estimated number of instances with the half of its 95 % interval.
func about(n uint64) string {
	if n == 1 {
		return "1 instance"
	}
	if margin := uint64(math.Round(1.96 * standardError * float64(n))); margin > 0 {
		return whole(n) + "\u202f±\u202f" + whole(margin) + " instances"
	}
	return whole(n) + " instances"
}

// compare tells how f differs from the answer of the time before.
func (f *figure) compare(a question, before *Answer, when string) {
	if a.quantiles == nil && f.Form != likely && f.Form != share && f.Form != portion && before.Total > 0 && f.Answer.Total > 0 {
		f.Change = growth(float64(f.Answer.Total), float64(before.Total)) + " against " + when
	} else if before.Total == 0 && len(f.Answer.Rows) > 0 {
		f.Change = "nothing to compare with in " + when
	}
	if f.Form != rank || f.Empty || before.Total == 0 {
		return
	}
	was := map[string]uint64{}
	for _, r := range before.Rows {
		was[title(a.words(), r, a.facet)] += r.Count
	}
	shares := !severalGroups[a.metric.ID] && f.Base == 0
	f.Head = append(slices.Clone(f.Head), "Change")
	now := map[string]uint64{}
	for _, r := range f.Answer.Rows {
		now[title(a.words(), r, a.facet)] += r.Count
	}
	for i := range f.Rows {
		r := &f.Rows[i]
		n, w := now[r.Name], was[r.Name]
		cell := "new"
		switch {
		case w == 0 && r.Faint:
			cell = "–"
		case w == 0:
		case shares:
			cell = points(100 * (float64(n)/float64(max(f.Answer.Total, 1)) - float64(w)/float64(before.Total)))
		default:
			cell = growth(float64(n), float64(w))
		}
		r.Cells = append(slices.Clone(r.Cells), cell)
	}
}

// growth writes by how much now differs from before, which is not 0.
func growth(now, before float64) string {
	c := 100 * (now - before) / before
	if c > 999 {
		return "×" + digits(now/before)
	}
	return signed(c) + "\u202f%"
}

// points writes a difference of percentages.
func points(c float64) string { return signed(c) + "\u202fpp" }

func signed(c float64) string {
	s := strconv.FormatFloat(math.Abs(c), 'f', 1, 64)
	switch {
	case s == "0.0":
		return "±0.0"
	case c < 0:
		return "−" + s
	}
	return "+" + s
}

// A frameView is what a page has to choose its filter with and to compare.
type frameView struct {
	Path    string
	Keep    []param // the span, as hidden fields
	Clear   string  // the page without filter and comparison; "" if it has none
	Compare bool
	Notice  string // what the filter means
	Choices []filterChoices
}

// A param is a parameter of a form that is not to be seen.
type param struct{ Name, Value string }

// filterChoices are a facet's values to filter by.
type filterChoices struct {
	Title  string
	Values []filterChoice
}

type filterChoice struct {
	Value, Title string // FACET:VALUE, and for people
	Selected     bool
}

const (
	maxChoices   = 300 // of a facet
	choicesTTL   = 2 * time.Minute
	choicesStale = time.Hour
)

// frameView makes the form of a page with pageSpan's parameters.
func (d *Dashboard) frameView(ctx context.Context, path string, at url.Values) (*frameView, error) {
	f, err := parseFilter(at.Get("filter"))
	if err != nil {
		return nil, err
	}
	all, err := d.choices.get(ctx, "", queryTimeout, d.filterChoices)
	if err != nil {
		return nil, err
	}
	v := &frameView{Path: path, Compare: at.Get("compare") != ""}
	for _, k := range spanParams {
		for _, s := range at[k] {
			v.Keep = append(v.Keep, param{k, s})
		}
	}
	if f.on() || v.Compare {
		v.Clear = path + "?" + without(at, frameParams...).Encode()
	}
	for i, facet := range filterFacets {
		group := filterChoices{Title: all[i].Title, Values: slices.Clone(all[i].Values)}
		if f.facet == facet {
			at := slices.IndexFunc(group.Values, func(c filterChoice) bool { return c.Value == f.String() })
			if at < 0 {
				at = len(group.Values)
				group.Values = append(group.Values, filterChoice{Value: f.String(), Title: f.name()})
			}
			group.Values[at].Selected = true
		}
		if len(group.Values) > 0 {
			v.Choices = append(v.Choices, group)
		}
	}
	if f.on() {
		v.Notice = "Only instances of " + f.facet.String() + " " + f.name() + ". Sums are kept by one property of an instance at a time, and not of every metric: a chart that can’t be filtered says so."
	}
	return v, nil
}

// filterChoices are the values of each of filterFacets that instances had in
// the last week, as far as they may be shown, by name.
func (d *Dashboard) filterChoices(ctx context.Context) ([]filterChoices, error) {
	week, _ := rangeByName("7d")
	out := make([]filterChoices, len(filterFacets))
	return out, each(ctx, len(filterFacets), func(ctx context.Context, i int) error {
		facet := filterFacets[i]
		a := question{span: week.at(dayGrain, d.cfg.Timing, d.cfg.Now()), metric: wire.MetricByID(wire.InstancesActive), facet: facet, byValue: true, limit: maxChoices}
		ans, err := d.answer(ctx, d.cfg.Store, "", a)
		if err != nil {
			return err
		}
		out[i].Title = capital(facet.String())
		for _, r := range ans.Rows {
			if !r.Rest && !r.Suppressed {
				f := filter{facet, r.Group["value"]}
				out[i].Values = append(out[i].Values, filterChoice{Value: f.String(), Title: capital(f.name())})
			}
		}
		if facet == wire.Country {
			slices.SortStableFunc(out[i].Values, func(x, y filterChoice) int { return strings.Compare(x.Title, y.Title) })
		}
		return nil
	})
}
