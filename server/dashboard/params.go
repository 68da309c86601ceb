package dashboard

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A question is what a URL of the API asks the rollups, checked.
type question struct {
	span
	metric    *wire.Metric
	latest    bool // only the newest complete period that has rows
	facet     wire.Facet
	values    []string
	filtered  bool // only of the facet's one value, which is not told in rows
	labels    []string
	where     map[int][]wire.Value
	byTime    bool
	byValue   bool
	byLabel   bool
	byDims    []int
	limit     int
	quantiles []float64   // nil: sums
	derived   *derivation // nil: the store answers
}

const (
	maxLimit      = 1000
	defaultSeries = 12  // groups by time
	defaultGroups = 100 // groups without
	maxRows       = 60000
	maxQuantiles  = 9
	maxValues     = 100 // of one parameter
	maxLength     = 300 // bytes of one value
)

// linkParams sign an instance's link and are beside the question's own.
var linkParams = []string{"expires", "key", "signature"}

// spanParams choose a span; see parseSpan.
var spanParams = []string{"range", "from", "to", "grain"}

var questionParams = append([]string{"metric", "period", "filter", "facet", "value", "label", "by", "limit"}, spanParams...)

// strict checks that q has none but known parameters, each of them once
// unless it is one that may be repeated.
func strict(q url.Values, known []string, repeatable ...string) error {
	for _, k := range slices.Sorted(maps.Keys(q)) {
		if len(known) == 0 {
			return badParameter("%.60q is no parameter here: this takes none.", k)
		}
		if !slices.Contains(known, k) {
			return badParameter("%.60q is no parameter here.%s There are: %s.", k, guess(k, known), oneOf(known))
		}
		if len(q[k]) > 1 && !slices.Contains(repeatable, k) {
			return badParameter("%q is given %d times; once is enough.", k, len(q[k]))
		}
		for _, v := range q[k] {
			if len(v) > maxLength {
				return badParameter("a value of %q is %d bytes long; %d is the most.", k, len(v), maxLength)
			}
		}
		if len(q[k]) > maxValues {
			return badParameter("%q is given %d times; %d is the most.", k, len(q[k]), maxValues)
		}
	}
	return nil
}

// parseSpan reads range, or from and to, and grain.
func (d *Dashboard) parseSpan(q url.Values) (span, error) {
	t, now := d.cfg.Timing, d.cfg.Now()
	var grain *store.Grain
	if s := q.Get("grain"); s != "" {
		names := make([]string, len(store.Grains))
		for i, g := range store.Grains {
			if names[i] = g.String(); s == names[i] {
				grain = &g
			}
		}
		if grain == nil {
			return span{}, badParameter("grain is %.40q.%s There are: %s.", s, guess(s, names), oneOf(names))
		}
	}
	if !q.Has("from") && !q.Has("to") {
		name := q.Get("range")
		if name == "" {
			name = "24h"
		}
		r, ok := rangeByName(name)
		if !ok {
			return span{}, badParameter("range is %.40q.%s There are: %s.", name, guess(name, rangeNames()), oneOf(rangeNames()))
		}
		if grain != nil {
			return r.at(*grain, t, now), nil
		}
		return r.span(t, now), nil
	}
	if q.Has("range") {
		return span{}, badParameter("range and from … to exclude each other.")
	}
	if !q.Has("from") {
		return span{}, badParameter("to needs a from, such as from=%s.", now.Add(-time.Hour).UTC().Format(time.RFC3339))
	}
	from, err := parseTime("from", q.Get("from"))
	if err != nil {
		return span{}, err
	}
	to := now
	if q.Has("to") {
		if to, err = parseTime("to", q.Get("to")); err != nil {
			return span{}, err
		}
	}
	if !from.Before(to) {
		return span{}, badParameter("from (%s) has to be before to (%s).", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	if from.Before(beginning) {
		from = beginning
	}
	if latest := now.Add(24 * time.Hour); to.After(latest) {
		to = latest
	}
	if !from.Before(to) {
		return span{}, badParameter("there can be nothing before %s or in the future.", beginning.Format(time.DateOnly))
	}
	g := fits(to.Sub(from), t)
	if grain != nil {
		g = *grain
	}
	s := span{grain: g, from: start(g, t, from)}
	if s.to = start(g, t, to); s.to.Before(to) {
		s.to = s.to.Add(length(g, t))
	}
	return s, nil
}

func parseTime(name, s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC(), nil
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 && n < 1<<36 {
		return time.Unix(n, 0).UTC(), nil
	}
	return time.Time{}, badParameter("%s is %.40q: write it like 2026-11-21T10:00:00Z, 2026-11-21, or as Unix seconds.", name, s)
}

// parseQuestion reads a query of /api/v1/query, or of /api/v1/quantiles.
// Parameters in also are somebody else's.
func (d *Dashboard) parseQuestion(q url.Values, quantiles bool, also ...string) (question, error) {
	var none question
	name := q.Get("metric")
	m := wire.MetricByName(name)
	if m == nil {
		names := metricNames()
		if name == "" {
			return none, badParameter("metric is missing: name one of the dictionary's, such as metric=%s. There are: %s.", names[0], oneOf(names))
		}
		return none, badParameter("metric %.80q is not in the dictionary.%s", name, guess(name, names))
	}
	known := append(slices.Clone(questionParams), also...)
	repeatable := []string{"value", "label"}
	if quantiles {
		known = append(known, "q")
		if m.Kind != wire.KindHistogram && m.Kind != wire.KindPeak {
			return none, badParameter("%s is a %s: only histograms and peaks have quantiles. Use /api/v1/query.", m.Name, m.Kind)
		}
	}
	for _, dim := range m.Dims {
		known = append(known, "where."+dim.Name)
		repeatable = append(repeatable, "where."+dim.Name)
	}
	if err := strict(q, known, repeatable...); err != nil {
		return none, err
	}
	s, err := d.parseSpan(q)
	if err != nil {
		return none, err
	}
	a := question{span: s, metric: m, values: q["value"], labels: q["label"]}
	for _, step := range []func(url.Values) error{a.parseFacet, a.parseFilter, a.parseWhere, a.parseBy, a.parseLimit} {
		if err := step(q); err != nil {
			return none, err
		}
	}
	if quantiles {
		if err := a.parseQuantiles(q.Get("q")); err != nil {
			return none, err
		}
	}
	switch p := q.Get("period"); {
	case p == "latest" && a.byTime:
		return none, badParameter("period=latest has one point in time: leave out time in by.")
	case p == "latest":
		a.latest = true
	case p != "":
		return none, badParameter("period is %.40q. Did you mean \"latest\"?", p)
	}
	if n := a.points(d.cfg.Timing); n > maxPoints && (a.byTime || a.grain == store.Window) {
		return none, tooMuch("%d periods of a %s are more than %d: choose a shorter range or a coarser grain.", n, a.grain, maxPoints)
	}
	return a, nil
}

func metricNames() []string {
	var names []string
	for _, m := range wire.Metrics() {
		names = append(names, m.Name)
	}
	return names
}

func (a *question) parseFacet(q url.Values) error {
	if s := q.Get("facet"); s != "" {
		var names []string
		found := false
		for _, f := range a.metric.Facets {
			names = append(names, f.String())
			if f.String() == s {
				a.facet, found = f, true
			}
		}
		if !found {
			return badParameter("%s is not kept by facet %.40q.%s There are: %s.", a.metric.Name, s, guess(s, names), oneOf(names))
		}
	}
	if a.facet == wire.All && len(a.values) > 0 {
		return badParameter("value chooses among a facet's values: say which by facet, such as facet=country.")
	}
	if a.metric.Label == "" && len(a.labels) > 0 {
		return badParameter("%s has no label to choose by.", a.metric.Name)
	}
	return nil
}

func (a *question) parseWhere(q url.Values) error {
	for i, dim := range a.metric.Dims {
		for _, v := range q["where."+dim.Name] {
			if !dim.Has(v) {
				return badParameter("%s has no value %.60q.%s See /dictionary#%s.", dim.Name, v, guess(v, dim.Values), dim.Name)
			}
			if a.where == nil {
				a.where = map[int][]wire.Value{}
			}
			a.where[i] = append(a.where[i], dim.Value(v))
		}
	}
	return nil
}

func (a *question) parseBy(q url.Values) error {
	by := q.Get("by")
	if by == "" {
		return nil
	}
	names := []string{"time"}
	for _, dim := range a.metric.Dims {
		names = append(names, dim.Name)
	}
	if a.metric.Label != "" {
		names = append(names, "label")
	}
	if a.facet != wire.All && !a.filtered {
		names = append(names, "value")
	}
	for i, b := range strings.Split(by, ",") {
		switch {
		case slices.Contains(strings.Split(by, ",")[:i], b):
			return badParameter("by has %.40q twice.", b)
		case !slices.Contains(names, b):
			if b == "value" {
				return badParameter("by=value needs a facet, such as facet=country.")
			}
			return badParameter("%s can't be told apart by %.40q.%s There are: %s.", a.metric.Name, b, guess(b, names), oneOf(names))
		case b == "time":
			a.byTime = true
		case b == "label":
			a.byLabel = true
		case b == "value":
			a.byValue = true
		default:
			a.byDims = append(a.byDims, a.metric.Dim(b))
		}
	}
	slices.Sort(a.byDims)
	return nil
}

func (a *question) parseLimit(q url.Values) error {
	a.limit = defaultGroups
	if a.byTime {
		a.limit = defaultSeries
	}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxLimit {
			return badParameter("limit is %.40q: it is how many groups to tell apart, from 1 to %d.", s, maxLimit)
		}
		a.limit = n
	}
	return nil
}

func (a *question) parseQuantiles(s string) error {
	if s == "" {
		s = "0.5,0.9,0.99"
	}
	for v := range strings.SplitSeq(s, ",") {
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || math.IsNaN(f) || f <= 0 || f >= 1 {
			return badParameter("q is %.40q: list numbers between 0 and 1, such as q=0.5,0.99.", v)
		}
		a.quantiles = append(a.quantiles, f)
	}
	if len(a.quantiles) > maxQuantiles {
		return badParameter("q lists %d quantiles; %d is the most.", len(a.quantiles), maxQuantiles)
	}
	return nil
}

// key tells questions apart that have different answers.
func (a *question) key() string {
	where := ""
	for _, i := range slices.Sorted(maps.Keys(a.where)) {
		where += fmt.Sprint(i, a.where[i])
	}
	derived := ""
	if a.derived != nil {
		derived = a.derived.path
	}
	return derived + fmt.Sprintf("%d %d %d %d %t %d %t %q %q %s %t %t %t %v %d %v", a.metric.ID, a.grain, a.from.Unix(), a.to.Unix(), a.latest,
		a.facet, a.filtered, a.values, a.labels, where, a.byTime, a.byValue, a.byLabel, a.byDims, a.limit, a.quantiles)
}
