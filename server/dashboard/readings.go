package dashboard

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/server/watch"
	"github.com/caddy-evergreen/evergreen/wire"
)

// What is watched is read here, so that alerts tell nothing that no page shows:
// groups that are too small have no reading.

// watchParams are what a watch's question may have, beside where.*.
var watchParams = []string{"metric", "facet", "value", "label", "q"}

// CheckWatch refuses a watch whose question can't be asked, of one instance (own)
// or of all. It brings the question into its usual form, names a watch that has
// no name, and answers the unit of its values: "share", "minutes", or a metric's.
func (d *Dashboard) CheckWatch(w *watch.Watch, own bool) (unit string, err error) {
	if w.Measure == watch.Silence {
		if !own {
			return "", badParameter("only an instance falls silent.")
		}
		return "minutes", nil
	}
	q, err := url.ParseQuery(w.Query)
	if err != nil {
		return "", badParameter("the watch's query can't be decoded: %v.", err)
	}
	for k := range q {
		if !slices.Contains(watchParams, k) && !strings.HasPrefix(k, "where.") {
			return "", badParameter("a watch has no %.40q: its query has %s and where.*.", k, oneOf(watchParams))
		}
	}
	a, err := d.watchQuestion(*w, q)
	if err != nil {
		return "", err
	}
	switch {
	case own && (a.metric.Kind.FromServer() || a.facet != wire.All || a.metric.Label != ""):
		return "", badParameter("%s, as it is asked for, counts instances together: an instance's own reports don't have it.", a.metric.Name)
	case a.facet != wire.All && len(a.values) != 1:
		return "", badParameter("a watch by facet=%s needs one value, such as value=%s.", a.facet, "DE")
	case len(a.labels) > 1 || a.metric.Label != "" && len(a.labels) == 0:
		return "", badParameter("a watch of %s needs one label.", a.metric.Name)
	case w.Measure == watch.Share && len(a.where) == 0:
		return "", badParameter("a share needs where.*, which says of what.")
	case w.Measure == watch.Share && a.metric.Kind != wire.KindCounter:
		return "", badParameter("%s is a %s: only counters have shares.", a.metric.Name, a.metric.Kind)
	case w.Measure == watch.Quantile && len(a.quantiles) != 1:
		return "", badParameter("a watch of a quantile needs one, such as q=0.9.")
	}
	w.Query = q.Encode()
	if w.Name == "" {
		w.Name = watchName(w.Measure, a)
	}
	switch w.Measure {
	case watch.Share:
		return "share", nil
	case watch.Quantile:
		return string(a.metric.Unit), nil
	}
	return "", nil
}

// watchName is a watch's name where nobody gave it one.
func watchName(m watch.Measure, a question) string {
	parts := []string{a.metric.Name}
	for i, vs := range a.where {
		for _, v := range vs {
			parts = append(parts, a.metric.Dims[i].ValueName(v))
		}
	}
	slices.Sort(parts[1:])
	parts = append(append(parts, a.values...), a.labels...)
	switch m {
	case watch.Share:
		parts = append(parts, "as a share")
	case watch.Quantile:
		parts = append(parts, quantileName(a.quantiles[0]))
	}
	name := strings.Join(parts, " ")
	if !watch.Printable(name, watch.MaxName) {
		return a.metric.Name
	}
	return name
}

// watchQuestion reads a watch's query.
func (d *Dashboard) watchQuestion(w watch.Watch, q url.Values) (question, error) {
	a, err := d.parseQuestion(q, w.Measure == watch.Quantile)
	// Which groups may be seen is decided among all of them.
	a.byValue, a.byLabel, a.limit = a.facet != wire.All, len(a.labels) > 0, maxLimit
	return a, err
}

// HourlyReadings are a watch's readings of whole hours that begin at or after from
// and for which instances have had the time to report, the oldest first. id is
// nil for everybody's.
func (d *Dashboard) HourlyReadings(ctx context.Context, id *wire.InstanceID, w watch.Watch, from time.Time) ([]watch.Reading, error) {
	to := store.Hour.Start(complete(d.cfg.Timing, d.cfg.Now()))
	s := span{grain: store.Hour, from: store.Hour.Start(from), to: to}
	if from.After(s.from) {
		s.from = s.from.Add(time.Hour)
	}
	if !s.from.Before(to) {
		return nil, nil
	}
	return d.readings(ctx, id, w, s, true)
}

// LatestReading is a watch's reading of the last 60 minutes for which instances have
// had the time to report; nil if there is none. Where one instance is counted once an
// hour, it is that of the last whole hour. Silence is read from the newest report.
func (d *Dashboard) LatestReading(ctx context.Context, id *wire.InstanceID, w watch.Watch) (*watch.Reading, error) {
	if w.Measure == watch.Silence {
		return d.silence(id)
	}
	q, err := url.ParseQuery(w.Query)
	if err != nil {
		return nil, err
	}
	s := span{grain: store.Window, to: d.cfg.Timing.WindowStart(complete(d.cfg.Timing, d.cfg.Now())).UTC()}
	if m := wire.MetricByName(q.Get("metric")); m != nil && m.Kind == wire.KindInstances {
		s = span{grain: store.Hour, to: store.Hour.Start(s.to)}
	}
	if id != nil { // it may report less often
		to, err := d.newest(*id)
		if err != nil || to.IsZero() {
			return nil, err
		}
		if to = d.cfg.Timing.WindowStart(to).UTC(); to.Before(s.to) {
			s.to = to
		}
	}
	s.from = s.to.Add(-time.Hour)
	rs, err := d.readings(ctx, id, w, s, false)
	if err != nil || len(rs) == 0 {
		return nil, err
	}
	return &rs[0], nil
}

const lately = 48 * time.Hour

// silence is how long ago the newest report of an instance ended.
func (d *Dashboard) silence(id *wire.InstanceID) (*watch.Reading, error) {
	if id == nil {
		return nil, nil
	}
	now := d.cfg.Now()
	to, err := d.newest(*id)
	if err != nil {
		return nil, err
	}
	if to.IsZero() {
		to = now.Add(-lately)
	}
	return &watch.Reading{Time: now.UTC(), Value: max(0, now.Sub(to).Minutes()), Of: 1}, nil
}

// newest is when the last report of an instance in two days ended; zero if there is none.
func (d *Dashboard) newest(id wire.InstanceID) (time.Time, error) {
	now := d.cfg.Now()
	for rec, err := range d.cfg.Reports.Instance(id, now.Add(-lately), now.Add(24*time.Hour)) {
		if err != nil {
			return time.Time{}, fmt.Errorf("reading an instance's newest report: %w", err)
		}
		return time.Unix(rec.To, 0).UTC(), nil
	}
	return time.Time{}, nil
}

// readings asks for a watch in a span: for each hour, or for all of it.
func (d *Dashboard) readings(ctx context.Context, id *wire.InstanceID, w watch.Watch, s span, byTime bool) ([]watch.Reading, error) {
	q, err := url.ParseQuery(w.Query)
	if err != nil {
		return nil, err
	}
	a, err := d.watchQuestion(w, q)
	if err != nil {
		return nil, err
	}
	a.span, a.byTime = s, byTime
	ask, hours, err := d.asker(ctx, id, s, byTime)
	if err != nil {
		return nil, err
	}
	ans, err := ask(a)
	if err != nil {
		return nil, err
	}
	byHour := map[time.Time]watch.Reading{}
	at := func(r Row) time.Time {
		if r.Time == nil {
			return s.to
		}
		return r.Time.Add(time.Hour)
	}
	looked := map[time.Time]bool{}
	for _, h := range hours {
		looked[h] = true
		// Where nothing was counted of what all are asked for, it is none.
		if a.facet == wire.All && len(a.labels) == 0 && w.Measure != watch.Quantile {
			byHour[h] = watch.Reading{Time: h}
		}
	}
	for _, r := range ans.Rows {
		if r.Rest || r.Suppressed || !looked[at(r)] {
			continue
		}
		one := watch.Reading{Time: at(r), Value: float64(r.Count), Of: r.Count}
		if w.Measure == watch.Quantile {
			if len(r.Quantiles) != 1 {
				continue
			}
			one.Value = r.Quantiles[0]
		}
		byHour[one.Time] = one
	}
	if w.Measure == watch.Share {
		whole := a
		whole.where = nil
		all, err := ask(whole)
		if err != nil {
			return nil, err
		}
		of := map[time.Time]uint64{}
		for _, r := range all.Rows {
			if !r.Rest && !r.Suppressed {
				of[at(r)] = r.Count
			}
		}
		for t, r := range byHour {
			if r.Of = of[t]; r.Of == 0 {
				delete(byHour, t)
				continue
			}
			r.Value = min(1, r.Value/float64(r.Of))
			byHour[t] = r
		}
	}
	rs := make([]watch.Reading, 0, len(byHour))
	for _, r := range byHour {
		rs = append(rs, r)
	}
	slices.SortFunc(rs, func(x, y watch.Reading) int { return x.Time.Compare(y.Time) })
	return rs, nil
}

// asker answers questions about a span for one instance, or for all as they are
// public, and the ends of those hours in it from which there is anything.
func (d *Dashboard) asker(ctx context.Context, id *wire.InstanceID, s span, byTime bool) (func(question) (*Answer, error), []time.Time, error) {
	if id == nil {
		ask := func(a question) (*Answer, error) { return d.answer(ctx, d.cfg.Store, "", a) }
		ans, err := ask(question{span: s, metric: wire.MetricByID(wire.InstancesActive), byTime: byTime, limit: 1})
		if err != nil {
			return nil, nil, err
		}
		var hours []time.Time
		for _, r := range ans.Rows {
			if r.Time == nil {
				hours = append(hours, s.to)
			} else {
				hours = append(hours, r.Time.Add(time.Hour))
			}
		}
		return ask, hours, nil
	}
	key := fmt.Sprint("watch ", *id, s.grain, s.from.Unix(), s.to.Unix())
	src, err := d.instances.get(ctx, key, queryTimeout, func(ctx context.Context) (*instanceSource, error) {
		return d.readInstance(ctx, *id, s)
	})
	if err != nil {
		return nil, nil, err
	}
	ask := func(a question) (*Answer, error) { return d.compute(ctx, src, false, a) }
	return ask, covered(src.reports, s), nil
}

// covered are the ends of those hours from s.from on that an instance reported of, but
// for a few minutes: numbers of half an hour would look low.
func covered(reports []ReportInfo, s span) (hours []time.Time) {
	had := make([]time.Duration, max(0, s.to.Sub(s.from)/time.Hour))
	for _, r := range reports {
		for i := max(0, int(r.From.Sub(s.from)/time.Hour)); i < len(had); i++ {
			begin := s.from.Add(time.Duration(i) * time.Hour)
			if !begin.Before(r.To) {
				break
			}
			end := begin.Add(time.Hour)
			if r.From.After(begin) {
				begin = r.From
			}
			if r.To.Before(end) {
				end = r.To
			}
			had[i] += end.Sub(begin)
		}
	}
	for i, d := range had {
		if d >= 54*time.Minute {
			hours = append(hours, s.from.Add(time.Duration(i+1)*time.Hour))
		}
	}
	return hours
}
