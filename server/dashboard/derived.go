package dashboard

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/hll"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A derivation is an answer that is worked out of several of the store's: it
// has a path of its own in the API, and no parameters but a span's.
type derivation struct {
	path   string // in the API
	metric wire.MetricID
	byTime bool
	words  []string // beside time, as in Answer.By
	// span fits a span to what can be worked out; nil leaves it.
	span    func(*Dashboard, span) span
	compute func(context.Context, *Dashboard, source, question) (*Answer, error)
}

var derivations = []*derivation{churn, ways, spread, attackTimes}

// churn is which instances were not there in the period before, and which are
// not there any more.
var churn = &derivation{
	path: "/churn", metric: wire.InstancesActive, byTime: true, words: []string{"change"},
	span: (*Dashboard).churnSpan, compute: computeChurn,
}

// ways are the ways of TLS connections from the client to what became of them.
var ways = &derivation{
	path: "/ways", metric: wire.ConnectionFeatures, words: []string{"client", "handshake", "outcome"}, compute: computeWays,
}

// derived is the derivation of a path, or nil.
func derived(path string) *derivation {
	for _, v := range derivations {
		if v.path == path {
			return v
		}
	}
	return nil
}

// question reads the parameters of v's path.
func (v *derivation) question(d *Dashboard, q url.Values) (question, error) {
	if err := strict(q, spanParams); err != nil {
		return question{}, err
	}
	s, err := d.parseSpan(q)
	if err != nil {
		return question{}, err
	}
	if v.span != nil {
		s = v.span(d, s)
	}
	a := question{span: s, metric: wire.MetricByID(v.metric), byTime: v.byTime, derived: v, limit: maxLimit}
	if n := a.points(d.cfg.Timing); n > maxPoints && (a.byTime || a.grain == store.Window) {
		return question{}, tooMuch("%d periods of a %s are more than %d: choose a shorter range or a coarser grain.", n, a.grain, maxPoints)
	}
	return a, nil
}

// apiDerived answers v's path.
func (d *Dashboard) apiDerived(v *derivation) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		_, ans, err := d.request(r, func(q url.Values) (question, error) { return v.question(d, q) })
		if err != nil {
			return err
		}
		return d.writeJSON(w, r, ans, false)
	}
}

// churnSpan makes periods of an hour at least: who is late with a window of
// five minutes has not left.
func (d *Dashboard) churnSpan(s span) span {
	g := store.Hour
	if s.to.Sub(s.from) > 48*time.Hour {
		g = store.Day
	}
	s.grain = max(s.grain, g)
	s.from = start(s.grain, d.cfg.Timing, s.from)
	if to := start(s.grain, d.cfg.Timing, s.to); to.Before(s.to) {
		s.to = to.Add(length(s.grain, d.cfg.Timing))
	}
	return s
}

// computeChurn compares each complete period with the one before. What both
// have in common is estimated from the union of their sketches.
func computeChurn(ctx context.Context, d *Dashboard, src source, a question) (*Answer, error) {
	a.span = d.churnSpan(a.span) // also of the time before
	each := length(a.grain, d.cfg.Timing)
	rows, err := src.Query(ctx, store.Query{Metric: a.metric.ID, Grain: a.grain, From: a.from.Add(-each), To: a.to, ByTime: true})
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", a.metric.Name, err)
	}
	ans := d.express(a, nil, 0)
	until := complete(d.cfg.Timing, d.cfg.Now())
	for i := 1; i < len(rows); i++ {
		before, now := rows[i-1], rows[i]
		at := time.Unix(now.Start, 0).UTC()
		if !time.Unix(before.Start, 0).UTC().Add(each).Equal(at) || at.Add(each).After(until) {
			continue // nothing to compare with, or not all have reported
		}
		both := slices.Clone(before.Registers)
		if len(both) != len(now.Registers) {
			continue
		}
		hll.Merge(both, now.Registers)
		union := hll.Estimate(both)
		for _, c := range []struct {
			change string
			n      float64
		}{{"joined", union - hll.Estimate(before.Registers)}, {"left", union - hll.Estimate(now.Registers)}} {
			n := uint64(math.Round(max(0, c.n)))
			ans.Total += n
			ans.Rows = append(ans.Rows, Row{Time: &at, Group: map[string]string{"change": c.change}, Count: n})
		}
	}
	return ans, nil
}

const (
	maxWayClients  = 8 // of each kind that a sankey tells apart
	maxWayFailures = 8
)

// computeWays puts together what connections.features tells of connections
// that had a request, by the client's family, and what tls.failures tells of
// those whose handshake failed, by the library. A group that resists quantum
// computers is only in TLS 1.3, so that the features make disjoint ways.
func computeWays(ctx context.Context, d *Dashboard, src source, a question) (*Answer, error) {
	done, failed := wire.MetricByID(wire.ConnectionFeatures), wire.MetricByID(wire.TLSFailures)
	q := store.Query{Grain: a.grain, From: a.from, To: a.to, ByDims: []int{0, 1}, CountsOnly: true}
	q.Metric = done.ID
	features, err := src.Query(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", done.Name, err)
	}
	q.Metric = failed.ID
	failures, err := src.Query(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", failed.Name, err)
	}
	has := map[string]map[string]uint64{} // by family, then feature
	families := map[string]uint64{}
	for _, r := range features {
		feature, family := done.Dims[0].ValueName(r.Dims[0]), done.Dims[1].ValueName(r.Dims[1])
		if has[family] == nil {
			has[family] = map[string]uint64{}
		}
		has[family][feature] += r.Count
		if feature == "tls" {
			families[family] += r.Count
		}
	}
	causes, libraries := map[string]uint64{}, map[string]uint64{}
	for _, r := range failures {
		causes[failed.Dims[0].ValueName(r.Dims[0])] += r.Count
		libraries[failed.Dims[1].ValueName(r.Dims[1])] += r.Count
	}
	family, library, cause := greatest(families, maxWayClients, "other"), greatest(libraries, maxWayClients, "other"), greatest(causes, maxWayFailures, "other_failure")
	type way [3]string
	counts := map[way]uint64{}
	for f, n := range has {
		all, tls13 := n["tls"], min(n["tls13"], n["tls"])
		pq := min(n["pq_negotiated"], tls13)
		from := family(f)
		counts[way{from, "TLS 1.3", "post_quantum"}] += pq
		counts[way{from, "TLS 1.3", "classical"}] += tls13 - pq
		counts[way{from, "older", "classical"}] += all - tls13
	}
	for _, r := range failures {
		counts[way{"library:" + library(failed.Dims[1].ValueName(r.Dims[1])), "failed", cause(failed.Dims[0].ValueName(r.Dims[0]))}] += r.Count
	}
	ans := d.express(a, nil, 0)
	for w, n := range counts {
		if n == 0 {
			continue
		}
		ans.Total += n
		ans.Rows = append(ans.Rows, Row{Group: map[string]string{"client": w[0], "handshake": w[1], "outcome": w[2]}, Count: n})
	}
	slices.SortFunc(ans.Rows, func(x, y Row) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(seriesKey(a.derived.words, x.Group), seriesKey(a.derived.words, y.Group)))
	})
	return ans, nil
}

// greatest maps names to themselves, if they are among the n that count most,
// and to rest.
func greatest(counts map[string]uint64, n int, rest string) func(string) string {
	var names []string
	for name := range counts {
		if name != "other" {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(x, y string) int { return cmp.Or(cmp.Compare(counts[y], counts[x]), cmp.Compare(x, y)) })
	names = names[:min(n, len(names))]
	return func(name string) string {
		if slices.Contains(names, name) {
			return name
		}
		return rest
	}
}

// flowNames adds the names of a sankey's nodes, which are values of words, to
// those of its ways.
func (f *figure) flowNames(a question, names map[string]string) {
	if f.Form != sankey {
		return
	}
	if f.Derived == ways.path {
		// What was completed is above what was not.
		for _, r := range f.Answer.Rows {
			if c := r.Group["client"]; !strings.HasPrefix(c, "library:") && !slices.Contains(f.order, c) {
				f.order = append(f.order, c)
			}
		}
		f.order = append(f.order, "TLS 1.3", "older", "failed", "post_quantum", "classical")
	}
	for _, r := range f.Answer.Rows {
		for w, v := range r.Group {
			names[v] = display(w, v, a.facet)
		}
	}
}
