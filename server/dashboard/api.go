package dashboard

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/server/hll"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// writeJSON sends v. Public answers may be kept for as long as the cache
// gives the same one.
func (d *Dashboard) writeJSON(w http.ResponseWriter, r *http.Request, v any, private bool) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	cacheControl := "public, max-age=5"
	if private {
		cacheControl = ""
	}
	send(w, r, "application/json", append(b, '\n'), cacheControl)
	return nil
}

func (d *Dashboard) apiQuery(w http.ResponseWriter, r *http.Request) error {
	return d.apiAnswer(w, r, false)
}

func (d *Dashboard) apiQuantiles(w http.ResponseWriter, r *http.Request) error {
	return d.apiAnswer(w, r, true)
}

func (d *Dashboard) apiAnswer(w http.ResponseWriter, r *http.Request, quantiles bool) error {
	_, ans, err := d.request(r, func(q url.Values) (question, error) { return d.parseQuestion(q, quantiles) })
	if err != nil {
		return err
	}
	return d.writeJSON(w, r, ans, false)
}

// request answers the question that parse makes of a request's parameters.
func (d *Dashboard) request(r *http.Request, parse func(url.Values) (question, error)) (a question, ans *Answer, err error) {
	q, err := query(r)
	if err == nil {
		a, err = parse(q)
	}
	if err == nil {
		ans, err = d.answer(r.Context(), d.cfg.Store, "", a)
	}
	return a, ans, err
}

// query parses a URL's query, which net/http does without telling of errors.
func query(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badParameter("the query can't be decoded: %v.", err)
	}
	return q, nil
}

// Instances is what /api/v1/instances gives.
type Instances struct {
	Grain string    `json:"grain"`
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	// Now is how many instances had a window in the hour before To.
	Now uint64 `json:"now"`
	// Count is how many different ones there were in all the time.
	Count         uint64      `json:"count"`
	StandardError float64     `json:"standard_error"` // relative
	OverTime      []TimeCount `json:"over_time"`
}

// A TimeCount is a count in the period that starts at Time.
type TimeCount struct {
	Time  time.Time `json:"time"`
	Count uint64    `json:"count"`
}

// spanOf reads a request that has no parameters but those of its span.
func (d *Dashboard) spanOf(r *http.Request) (span, error) {
	q, err := query(r)
	if err != nil {
		return span{}, err
	}
	if err := strict(q, spanParams); err != nil {
		return span{}, err
	}
	return d.parseSpan(q)
}

func (d *Dashboard) apiInstances(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	if err := strict(q, append([]string{"filter"}, spanParams...)); err != nil {
		return err
	}
	s, err := d.parseSpan(q)
	if err != nil {
		return err
	}
	f, err := parseFilter(q.Get("filter"))
	if err != nil {
		return err
	}
	in, err := d.instancesIn(r.Context(), s, f)
	if err != nil {
		return err
	}
	return d.writeJSON(w, r, in, false)
}

func (d *Dashboard) instancesIn(ctx context.Context, s span, f filter) (*Instances, error) {
	m := wire.MetricByID(wire.InstancesActive)
	now, err := d.answer(ctx, d.cfg.Store, "", f.of(question{span: ranges[0].at(store.Window, d.cfg.Timing, d.cfg.Now()), metric: m, limit: 1}))
	if err != nil {
		return nil, err
	}
	if s.points(d.cfg.Timing) > maxPoints {
		return nil, tooMuch("%d periods of a %s are more than %d: choose a shorter range or a coarser grain.", s.points(d.cfg.Timing), s.grain, maxPoints)
	}
	over, err := d.answer(ctx, d.cfg.Store, "", f.of(question{span: s, metric: m, byTime: true, limit: defaultSeries})) // as the chart asks
	if err != nil {
		return nil, err
	}
	in := &Instances{
		Grain: s.grain.String(), From: s.from, To: s.to, Now: now.Total, Count: over.Total,
		StandardError: standardError, OverTime: []TimeCount{},
	}
	for _, r := range over.Rows {
		in.OverTime = append(in.OverTime, TimeCount{*r.Time, r.Count})
	}
	return in, nil
}

// standardError is that of a distinct count with hll.Registers registers.
const standardError = 0.023

var _ [hll.Registers - 2048]struct{} // standardError is for 2048

// News is what /api/v1/new gives: what was counted in a span and not at all in
// the equally long one before.
type News struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Before time.Time `json:"before"` // where the span that it is compared with starts
	Items  []NewItem `json:"items"`
}

// A NewItem is a group that was not there before.
type NewItem struct {
	Metric string            `json:"metric"`
	Facet  string            `json:"facet"`
	Group  map[string]string `json:"group"`
	Count  uint64            `json:"count"`

	title, of string
}

// watched is where /api/v1/new looks for something new.
var watched = []struct {
	of     string
	metric wire.MetricID
	ask    string
}{
	{"Caddy version", wire.InstancesActive, "facet=version&by=value&limit=1000"},
	{"Country", wire.InstancesActive, "facet=country&by=value&limit=1000"},
	{"Platform", wire.InstancesActive, "facet=platform&by=value&limit=1000"},
	{"Go version", wire.InstancesGo, "by=label&limit=1000"},
	{"Plugin", wire.InstancesPlugins, "by=label&limit=1000"},
	{"Browser", wire.ClientBrowsers, "by=browser,browser_version&limit=1000"},
	{"Bot", wire.ClientBots, "by=bot,bot_class&limit=1000"},
	{"Tool", wire.ClientTools, "by=tool&limit=1000"},
	{"Status code", wire.HTTPRequests, "by=status&limit=1000"},
	{"Method", wire.HTTPRequestsMethod, "by=method&limit=1000"},
	{"TLS group", wire.TLSGroups, "by=group&limit=1000"},
}

func (d *Dashboard) apiNew(w http.ResponseWriter, r *http.Request) error {
	s, err := d.spanOf(r)
	if err != nil {
		return err
	}
	news, err := d.news(r.Context(), s)
	if err != nil {
		return err
	}
	return d.writeJSON(w, r, news, false)
}

func (d *Dashboard) news(ctx context.Context, s span) (*News, error) {
	// In many short periods as much is seen as in fewer long ones.
	s.grain = max(s.grain, newsGrain(s))
	s.from = start(s.grain, d.cfg.Timing, s.from)
	before := s.before()
	n := &News{From: s.from, To: s.to, Before: before.from, Items: []NewItem{}}
	items := make([][]NewItem, len(watched))
	err := each(ctx, len(watched), func(ctx context.Context, i int) error {
		var err error
		items[i], err = d.newIn(ctx, i, s, before)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, it := range items {
		n.Items = append(n.Items, it...)
	}
	return n, nil
}

func newsGrain(s span) store.Grain {
	switch d := s.to.Sub(s.from); {
	case d > 4*24*time.Hour:
		return store.Day
	case d >= 12*time.Hour:
		return store.Hour
	}
	return store.Window
}

func (d *Dashboard) newIn(ctx context.Context, i int, s, before span) ([]NewItem, error) {
	w := watched[i]
	m := wire.MetricByID(w.metric)
	q, err := url.ParseQuery(w.ask)
	if err != nil {
		return nil, err
	}
	q.Set("metric", m.Name)
	a, err := d.parseQuestion(q, false)
	if err != nil {
		return nil, err
	}
	a.span = before
	old, err := d.answer(ctx, d.cfg.Store, "", a)
	if err != nil || len(old.Rows) == 0 {
		return nil, err // all is new when counting begins: that is no news
	}
	a.span = s
	now, err := d.answer(ctx, d.cfg.Store, "", a)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, r := range old.Rows {
		known[title(a.words(), r, a.facet)] = true
	}
	var items []NewItem
	for _, r := range now.Rows {
		t := title(a.words(), r, a.facet)
		if r.Rest || r.Suppressed || known[t] || slices.Contains([]string{"Other", "Unknown"}, t) {
			continue
		}
		items = append(items, NewItem{Metric: m.Name, Facet: a.facet.String(), Group: r.Group, Count: r.Count, title: t, of: w.of})
	}
	slices.SortStableFunc(items, func(x, y NewItem) int { return cmp.Compare(y.Count, x.Count) })
	return items, nil
}

// Dictionary is what /api/v1/metrics gives.
type Dictionary struct {
	Version    int                            `json:"version"`
	Metrics    []DictionaryMetric             `json:"metrics"`
	Dimensions map[string]DictionaryDimension `json:"dimensions"`
}

// A DictionaryMetric is a metric.
type DictionaryMetric struct {
	ID         uint16   `json:"id"`
	Name       string   `json:"name"`
	Kind       string   `json:"kind"`
	Unit       string   `json:"unit"`
	Dimensions []string `json:"dimensions"`
	Label      string   `json:"label,omitempty"`
	Facets     []string `json:"facets"`
	Doc        string   `json:"doc"`
}

// A DictionaryDimension is a closed vocabulary.
type DictionaryDimension struct {
	Doc    string   `json:"doc"`
	Values []string `json:"values"`
}

func (d *Dashboard) apiMetrics(w http.ResponseWriter, r *http.Request) error {
	if err := plainURL(r); err != nil {
		return err
	}
	dict := Dictionary{Version: wire.DictionaryVersion, Dimensions: map[string]DictionaryDimension{}}
	for _, m := range wire.Metrics() {
		dm := DictionaryMetric{
			ID: uint16(m.ID), Name: m.Name, Kind: m.Kind.String(), Unit: string(m.Unit),
			Dimensions: []string{}, Label: m.Label, Doc: m.Doc,
		}
		for _, dim := range m.Dims {
			dm.Dimensions = append(dm.Dimensions, dim.Name)
		}
		for _, f := range m.Facets {
			dm.Facets = append(dm.Facets, f.String())
		}
		dict.Metrics = append(dict.Metrics, dm)
	}
	for _, dim := range wire.Dimensions() {
		dict.Dimensions[dim.Name] = DictionaryDimension{dim.Doc, dim.Values}
	}
	return d.writeJSON(w, r, dict, false)
}

func (d *Dashboard) apiOpenAPI(w http.ResponseWriter, r *http.Request) error {
	if err := plainURL(r); err != nil {
		return err
	}
	b, err := d.assets.read("openapi.json")
	if err != nil {
		return err
	}
	send(w, r, "application/json", b, "public, max-age=300")
	return nil
}

// plainURL refuses parameters where there are none.
func plainURL(r *http.Request) error {
	if r.URL.RawQuery != "" {
		return badParameter("%s takes no parameters.", r.URL.Path)
	}
	return nil
}
