package dashboard

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Privacy decides which groups of an answer are shown, when the answer is
// split by what may point to few instances: a facet (country, network,
// version, …) or an open label (a plugin's version).
//
// A group is shown when at least MinInstances instances and MinEvents events
// are in it and none of them gave more than MaxShare of the events. All other
// groups are added up into one, marked as suppressed. If that sum itself falls
// short, the smallest group that could be shown goes into it, too, and so on:
// else the total would give it away (complementary suppression). A sum that
// falls short though all is in it is not given at all.
//
// The number of instances is estimated from below. A row knows how many
// windows of instances are in it; over n windows of time one instance gives at
// most n of them, so that there were at least Reports / n instances.
//
// In a metric with several dimensions, an instance gives a row for each of its
// cells, so that the estimate is too high once cells are added up. What must
// not happen is that a value of a facet (a country) is shown though few
// instances have it: it is shown only if it is among the instances that
// reported (instances.active), which are counted each once, by the same rule.
//
// Limits, which the published data set (a later issue) will not have: answers
// about different times or other dimensions can be subtracted from each other,
// and sums that are split by nothing but dimensions are always shown.
type Privacy struct {
	MinInstances uint64
	MinEvents    uint64
	MaxShare     float64 // 0 means 1
}

// Public is what a dashboard that anyone may read should have.
var Public = Privacy{MinInstances: 50, MinEvents: 5000, MaxShare: 0.25}

func (p Privacy) check() error {
	if p.MaxShare < 0 || p.MaxShare > 1 {
		return errors.New("the greatest share of one instance is a number from 0 to 1, such as 0.25")
	}
	return nil
}

func (p Privacy) open() bool { return p == Privacy{} }

// shown reports whether a group may be seen; windows is how many windows of
// time it spans.
func (p Privacy) shown(g *group, windows uint64, m *wire.Metric) bool {
	if m.Kind == wire.KindDistinct {
		return g.total >= p.MinInstances
	}
	if g.reports/max(windows, 1) < p.MinInstances {
		return false
	}
	if m.Kind == wire.KindInstances {
		return true // each gives one
	}
	if g.total < p.MinEvents {
		return false
	}
	return p.MaxShare == 0 || float64(g.top) <= p.MaxShare*float64(g.total)
}

// split parts groups, which are in descending order of their totals. known are
// the values of the facet that may be seen at all, see members; nil means all.
func (p Privacy) split(groups []*group, windows uint64, m *wire.Metric, known map[string]bool) (shown, hidden []*group) {
	if p.open() {
		return groups, nil
	}
	for _, g := range groups {
		if (known == nil || known[g.key.Value]) && p.shown(g, windows, m) {
			shown = append(shown, g)
		} else {
			hidden = append(hidden, g)
		}
	}
	for len(hidden) > 0 && len(shown) > 0 {
		sum := merge(m, suppressed, hidden)
		if p.shown(sum, windows, m) {
			break
		}
		last := len(shown) - 1
		hidden = slices.Insert(hidden, 0, shown[last])
		shown = shown[:last]
	}
	return shown, hidden
}

// members are the values of a's facet that enough different instances have, nil
// where a doesn't tell values apart or nothing knows.
func (d *Dashboard) members(ctx context.Context, src source, a question) (map[string]bool, error) {
	m := wire.MetricByID(wire.InstancesActive)
	if a.facet == wire.All || !a.byValue && !a.filtered || a.metric == m || !slices.Contains(m.Facets, a.facet) {
		return nil, nil
	}
	s := a.span
	if s.grain == store.Window && s.to.Sub(s.from) >= 4*time.Hour {
		// Whole hours inside the span: fewer rows, and never more instances.
		from, to := s.from.Add(time.Hour-1).Truncate(time.Hour), s.to.Truncate(time.Hour)
		s = span{grain: store.Hour, from: from, to: to}
	}
	ans, err := d.answer(ctx, src, "", question{span: s, metric: m, facet: a.facet, byValue: true, limit: maxLimit})
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, r := range ans.Rows {
		if !r.Rest && !r.Suppressed {
			known[r.Group["value"]] = true
		}
	}
	return known, nil
}
