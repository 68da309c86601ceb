package dashboard

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A filter has a page, or a question, count only instances of which a facet has
// one value. Rollups are kept by one facet at a time, so there is one filter at
// a time. It is written FACET:VALUE, such as country:DE; the zero filter is none.
type filter struct {
	facet wire.Facet
	value string
}

// filterFacets are those to filter by.
var filterFacets = []wire.Facet{wire.Country, wire.Platform, wire.Version, wire.Deployment}

// frameParams are what a page of charts takes beside its span.
var frameParams = []string{"filter", "compare"}

func (f filter) on() bool { return f.facet != wire.All }

func (f filter) String() string {
	if !f.on() {
		return ""
	}
	return f.facet.String() + ":" + f.value
}

// name is what a filter keeps, for people.
func (f filter) name() string {
	if f.value == "" {
		return "unknown " + f.facet.String()
	}
	return display("value", f.value, f.facet)
}

// parseFilter reads a filter, "" is none.
func parseFilter(s string) (filter, error) {
	if s == "" {
		return filter{}, nil
	}
	var names []string
	name, value, colon := strings.Cut(s, ":")
	for _, facet := range filterFacets {
		names = append(names, facet.String())
		if colon && facet.String() == name {
			return filter{facet, value}, nil
		}
	}
	if slices.Contains(names, name) {
		return filter{}, badParameter("filter is %.40q: write the %s after a colon, such as filter=%s:DE.", s, name, name)
	}
	return filter{}, badParameter("filter is %.40q: write it as a facet and a value, such as filter=country:DE.%s There are: %s.", s, guess(name, names), oneOf(names))
}

// parseFilter has a count only what q's filter keeps.
func (a *question) parseFilter(q url.Values) error {
	f, err := parseFilter(q.Get("filter"))
	if err != nil || !f.on() {
		return err
	}
	if a.facet != wire.All {
		return badParameter("facet=%s and filter=%s don't go together: sums are kept by one facet at a time.", a.facet, f)
	}
	if !slices.Contains(a.metric.Facets, f.facet) {
		return badParameter("%s is not kept by %s, so that it can't be filtered by it.", a.metric.Name, f.facet)
	}
	*a = f.of(*a)
	return nil
}

// of narrows a question that nothing else has narrowed.
func (f filter) of(a question) question {
	if f.on() {
		a.facet, a.values, a.filtered = f.facet, []string{f.value}, true
	}
	return a
}

// unfiltered says why a chart takes no notice of a filter, "" if it does.
func (c *chart) unfiltered(s string) string {
	f, err := parseFilter(s)
	if err != nil || !f.on() {
		return "" // a bad one is refused where it is asked with
	}
	by := c.facet()
	switch {
	case c.Derived != "":
		return "Not filtered: this is worked out of several sums, for all instances together."
	case by == f.facet:
		return fmt.Sprintf("Not filtered: this compares every %s.", f.facet)
	case by != wire.All:
		return fmt.Sprintf("Not filtered: this is by %s already, and sums are kept by one of these at a time.", by)
	}
	for _, id := range []wire.MetricID{c.Metric, c.Base, c.of} {
		if id != 0 && !slices.Contains(wire.MetricByID(id).Facets, f.facet) {
			return fmt.Sprintf("Not filtered: %s is not kept by %s.", wire.MetricByID(id).Name, f.facet)
		}
	}
	return ""
}

// facet is that of c's question.
func (c *chart) facet() wire.Facet {
	q, err := url.ParseQuery(c.Ask)
	if err != nil {
		return wire.All // a test walks the table
	}
	if c.Form == likely && q.Get("by") == "country" {
		return wire.Country
	}
	f, _ := wire.ParseFacet(q.Get("facet"))
	return f
}

// computeFiltered answers a filtered question where small groups are hidden.
// Which groups may be seen is decided among those of all values, over all of
// the time: else answers about some of them could be subtracted from each other.
// No sum of what is hidden is given, since it would be of the one value.
func (d *Dashboard) computeFiltered(ctx context.Context, src source, a question) (*Answer, error) {
	if len(a.labels) > 0 && !a.byLabel {
		return nil, badParameter("this deployment hides small groups, so that it can't add up chosen ones: add label to by.")
	}
	ask := store.Query{
		Metric: a.metric.ID, Grain: a.grain, From: a.from, To: a.to, Facet: a.facet, Where: a.where,
		ByValue: true, ByLabel: a.byLabel, ByDims: a.byDims, CountsOnly: a.metric.Kind != wire.KindDistinct, Limit: maxRows + 1,
	}
	every, err := d.rows(ctx, src, a, ask)
	if err != nil {
		return nil, err
	}
	known, err := d.members(ctx, src, a)
	if err != nil {
		return nil, err
	}
	shown, _ := d.cfg.Privacy.split(gather(a.metric, every), a.windows(d.cfg.Timing), a.metric, known)
	may := map[store.Key]bool{}
	for _, g := range shown {
		may[g.key] = true
	}
	ask.Values, ask.Labels, ask.ByTime, ask.CountsOnly = a.values, a.labels, a.byTime, !a.sketches()
	rows, err := d.rows(ctx, src, a, ask)
	if err != nil {
		return nil, err
	}
	groups := gather(a.metric, rows)
	all := len(groups)
	groups = slices.DeleteFunc(groups, func(g *group) bool { return !may[g.key] })
	return d.express(a, a.limited(groups), all-len(groups)), nil
}

// rows asks src, but not for more than can be answered.
func (d *Dashboard) rows(ctx context.Context, src source, a question, q store.Query) ([]store.Row, error) {
	rows, err := src.Query(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", a.metric.Name, err)
	}
	if len(rows) > maxRows {
		return nil, tooMuch("more than %d rows: choose a shorter range, a coarser grain, or fewer words in by.", maxRows)
	}
	return rows, nil
}

// frameOf are those parameters of a page that go on to its other ranges and to
// other pages: its filter, and whether it compares.
func frameOf(at url.Values) url.Values {
	v := maps.Clone(at)
	maps.DeleteFunc(v, func(k string, vs []string) bool { return !slices.Contains(frameParams, k) || vs[0] == "" })
	return v
}

// without are parameters less some.
func without(at url.Values, names ...string) url.Values {
	v := maps.Clone(at)
	maps.DeleteFunc(v, func(k string, _ []string) bool { return slices.Contains(names, k) })
	return v
}

// checkFrame refuses what frameParams can't be.
func checkFrame(q url.Values) error {
	if _, err := parseFilter(q.Get("filter")); err != nil {
		return err
	}
	if c := q.Get("compare"); c != "" && c != "before" {
		return badParameter("compare is %.40q. Did you mean \"before\"?", c)
	}
	return nil
}

// values asks for s, whatever span at asks for, and else what at does.
func (s span) values(at url.Values) url.Values {
	v := without(at, spanParams...)
	v.Set("from", s.from.Format(time.RFC3339))
	v.Set("to", s.to.Format(time.RFC3339))
	v.Set("grain", s.grain.String())
	return v
}
