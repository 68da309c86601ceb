package dashboard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// maxOwnRows bounds what is kept of one instance while its page is made.
const maxOwnRows = 300_000

// An instanceSource answers questions from one instance's raw reports, folded
// to one grain.
type instanceSource struct {
	id        wire.InstanceID
	span      span
	rows      map[wire.MetricID][]store.Row // by Start
	reports   []ReportInfo                  // newest first
	facts     *wire.Facts                   // of the newest report, nil without one
	changes   []Change                      // of versions, newest first
	latest    *wire.Report
	truncated bool
	incidents map[uint64]knownIncident // by number
}

// A ReportInfo is what the server knows of a report beside its content.
type ReportInfo struct {
	Number   uint64    `json:"number"`
	Received time.Time `json:"received"`
	From     time.Time `json:"from"` // start of its first window
	To       time.Time `json:"to"`   // end of its last
	Country  string    `json:"country"`
	Network  uint32    `json:"network"` // autonomous system, 0 if unknown
	Bytes    int       `json:"bytes"`   // compressed
}

// A Change is when versions were first reported.
type Change struct {
	Time      time.Time `json:"time"`
	Caddy     string    `json:"caddy_version"`
	Go        string    `json:"go_version"`
	Evergreen string    `json:"evergreen_version"`
}

// own checks the request's link and reads the instance's reports in the span
// that it asks for. The query it gives is without the link's parameters.
func (d *Dashboard) own(r *http.Request) (*instanceSource, url.Values, error) {
	id, err := wire.ParseInstanceID(r.PathValue("id"))
	if err != nil {
		return nil, nil, wire.ErrSignature
	}
	q, err := query(r)
	if err != nil {
		return nil, nil, err
	}
	if err := wire.VerifyLink(id, q, d.cfg.Now()); err != nil {
		return nil, nil, err
	}
	for _, p := range linkParams {
		q.Del(p)
	}
	s, err := d.parseSpan(q)
	if err != nil {
		return nil, nil, err
	}
	key := fmt.Sprint(id, s.grain, s.from.Unix(), s.to.Unix())
	src, err := d.instances.get(r.Context(), key, queryTimeout, func(ctx context.Context) (*instanceSource, error) {
		return d.readInstance(ctx, id, s)
	})
	return src, q, err
}

func (d *Dashboard) readInstance(ctx context.Context, id wire.InstanceID, s span) (*instanceSource, error) {
	src := &instanceSource{id: id, span: s, rows: map[wire.MetricID][]store.Row{}}
	f := folding{grain: s.grain, from: s.from.Unix(), to: s.to.Unix(), timing: d.cfg.Timing, rows: map[store.Key]*store.Row{}}
	seen := map[uint64]bool{}
	var newest uint64
	versions := map[Change]time.Time{}
	for rec, err := range d.cfg.Reports.Instance(id, s.from, s.to) {
		if err != nil {
			return nil, fmt.Errorf("reading an instance's reports: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if seen[rec.Number] {
			continue // sent twice, counted once
		}
		seen[rec.Number] = true
		rep, err := rec.Report()
		if err == nil {
			_, err = rep.Clean()
		}
		if err != nil {
			d.cfg.Logger.Warn("a stored report can't be read", "number", rec.Number, "err", err)
			continue
		}
		src.reports = append(src.reports, info(rec))
		src.keepIncidents(rep)
		if facts := rep.GetFacts(); facts != nil {
			c := Change{Caddy: facts.GetCaddyVersion(), Go: facts.GetGoVersion(), Evergreen: facts.GetEvergreenVersion()}
			at := time.Unix(rec.From, 0).UTC()
			if was, ok := versions[c]; !ok || at.Before(was) {
				versions[c] = at
			}
		}
		if rec.Number >= newest {
			newest, src.latest, src.facts = rec.Number, rep, rep.GetFacts()
		}
		if !src.truncated {
			f.add(rep)
			src.truncated = len(f.rows) > maxOwnRows
		}
	}
	slices.SortFunc(src.reports, func(a, b ReportInfo) int { return compareUint(b.Number, a.Number) })
	for c, at := range versions {
		c.Time = at
		src.changes = append(src.changes, c)
	}
	slices.SortFunc(src.changes, func(a, b Change) int { return b.Time.Compare(a.Time) })
	for k, r := range f.rows {
		src.rows[k.Metric] = append(src.rows[k.Metric], *r)
	}
	for _, rows := range src.rows {
		slices.SortFunc(rows, func(a, b store.Row) int { return compareUint(uint64(a.Start), uint64(b.Start)) })
	}
	return src, nil
}

func compareUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func info(r ingestlog.Record) ReportInfo {
	return ReportInfo{
		Number: r.Number, Received: r.Received.UTC(), From: time.Unix(r.From, 0).UTC(), To: time.Unix(r.To, 0).UTC(),
		Country: r.Country, Network: r.Network, Bytes: len(r.Body),
	}
}

// A folding sums windows up by a grain, as package aggregate does for all
// instances together.
type folding struct {
	grain    store.Grain
	from, to int64
	timing   wire.Timing
	rows     map[store.Key]*store.Row
}

func (f *folding) add(rep *wire.Report) {
	for _, w := range rep.GetWindows() {
		at := start(f.grain, f.timing, time.Unix(w.GetStart(), 0)).Unix()
		if at < f.from || at >= f.to {
			continue
		}
		for _, s := range w.GetSeries() {
			m := wire.MetricByID(wire.MetricID(s.GetMetric()))
			if m == nil || m.Kind.FromServer() {
				continue
			}
			for i := range min(len(s.GetCells()), len(s.GetValues())) {
				r, v := f.row(m, at, s.GetCells()[i]), s.GetValues()[i]
				switch {
				case r == nil:
				case m.Kind == wire.KindPeak:
					r.Count++
					r.Sum += v
					r.Buckets[wire.Bucket(v)]++
				default:
					r.Count += v
				}
			}
			for _, h := range s.GetHistograms() {
				r := f.row(m, at, h.GetCell())
				if r == nil || m.Kind != wire.KindHistogram {
					continue
				}
				r.Sum += h.GetSum()
				for i, n := range h.GetBuckets() {
					b := min(int(h.GetFirst())+i, wire.Buckets-1)
					r.Buckets[b] += n
					r.Count += n
				}
			}
		}
	}
}

// row finds or makes the row of a cell, nil for one that m can't have.
func (f *folding) row(m *wire.Metric, at int64, cell uint64) *store.Row {
	if !m.Valid(wire.Cell(cell)) {
		return nil
	}
	k := store.Key{Grain: f.grain, Start: at, Metric: m.ID, Dims: wire.Cell(cell).Dims()}
	r := f.rows[k]
	if r == nil {
		r = &store.Row{Key: k, Reports: 1}
		if m.Kind == wire.KindHistogram || m.Kind == wire.KindPeak {
			r.Buckets = make([]uint64, wire.Buckets)
		}
		f.rows[k] = r
	}
	return r
}

// errOwnGrain can't be: own reads the reports for the span that is asked for.
var errOwnGrain = errors.New("the instance's reports were folded for another span")

// Query is store.Store's, for what an instance's page asks.
func (s *instanceSource) Query(_ context.Context, q store.Query) ([]store.Row, error) {
	if q.Grain != s.span.grain || q.From.Before(s.span.from) || q.To.After(s.span.to) {
		return nil, errOwnGrain
	}
	merged := map[store.Key][]store.Row{}
	for _, r := range s.rows[q.Metric] {
		if r.Start < q.From.Unix() || r.Start >= q.To.Unix() || !matches(r.Dims, q.Where) {
			continue
		}
		k := store.Key{Grain: q.Grain, Metric: q.Metric}
		if q.ByTime {
			k.Start = r.Start
		}
		for _, i := range q.ByDims {
			k.Dims[i] = r.Dims[i]
		}
		merged[k] = append(merged[k], r)
	}
	rows := make([]store.Row, 0, len(merged))
	for k, rs := range merged {
		r := sum(rs)
		r.Key = k
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b store.Row) int {
		if c := compareUint(uint64(a.Start), uint64(b.Start)); c != 0 {
			return c
		}
		return compareUint(b.Count, a.Count)
	})
	return rows, nil
}

func matches(d wire.Dims, where map[int][]wire.Value) bool {
	for i, vs := range where {
		if !slices.Contains(vs, d[i]) {
			return false
		}
	}
	return true
}

// InstanceAnswer is what /api/v1/instance/{id} gives.
type InstanceAnswer struct {
	Instance string       `json:"instance"`
	From     time.Time    `json:"from"`
	To       time.Time    `json:"to"`
	Reports  []ReportInfo `json:"reports"`
	Versions []Change     `json:"versions"`
	// Incidents are those that it met, the latest first.
	Incidents []OwnIncident `json:"incidents"`
	// Latest is the newest report in the range, whole, with names.
	Latest *latestReport `json:"latest"`
}

// latestReport writes itself as wire does.
type latestReport struct{ *wire.Report }

func (l latestReport) MarshalJSON() ([]byte, error) { return wire.EncodeJSON(l.Report) }

func (d *Dashboard) apiInstance(w http.ResponseWriter, r *http.Request) error {
	src, q, err := d.own(r)
	if err != nil {
		return err
	}
	if err := strict(q, spanParams); err != nil {
		return err
	}
	a := InstanceAnswer{
		Instance: src.id.String(), From: src.span.from, To: src.span.to,
		Reports: append([]ReportInfo{}, src.reports...), Versions: append([]Change{}, src.changes...),
		Incidents: src.ownIncidents(),
	}
	if src.latest != nil {
		a.Latest = &latestReport{src.latest}
	}
	return d.writeJSON(w, r, a, true)
}

func (d *Dashboard) apiInstanceQuery(w http.ResponseWriter, r *http.Request) error {
	return d.apiInstanceAnswer(w, r, false)
}

func (d *Dashboard) apiInstanceQuantiles(w http.ResponseWriter, r *http.Request) error {
	return d.apiInstanceAnswer(w, r, true)
}

func (d *Dashboard) apiInstanceAnswer(w http.ResponseWriter, r *http.Request, quantiles bool) error {
	src, q, err := d.own(r)
	if err != nil {
		return err
	}
	ans, err := d.ownAnswer(r.Context(), src, q, quantiles)
	if err != nil {
		return err
	}
	return d.writeJSON(w, r, ans, true)
}

func (d *Dashboard) ownAnswer(ctx context.Context, src *instanceSource, q url.Values, quantiles bool) (*Answer, error) {
	a, err := d.parseQuestion(q, quantiles)
	if err != nil {
		return nil, err
	}
	if a.metric.Kind.FromServer() || a.facet != wire.All {
		return nil, badParameter("%s by facet %s counts instances together: an instance's own reports don't have it. Ask /api/v1/query.", a.metric.Name, a.facet)
	}
	a.span = src.span // a moment ago, perhaps, when the period was another
	return d.compute(ctx, src, false, a)
}

// linkOf are the parameters that make an instance's link work.
func linkOf(q url.Values) url.Values {
	l := url.Values{}
	for k, v := range maps.All(q) {
		if slices.Contains(linkParams, k) {
			l[k] = v
		}
	}
	return l
}
