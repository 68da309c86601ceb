package dashboard

import (
	"net/url"
	"slices"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A form is how a chart is drawn.
type form string

const (
	line    form = "line"    // over time, each series for itself
	area    form = "area"    // over time, series stacked
	share   form = "share"   // over time, series as parts of 100 %
	portion form = "portion" // over time, series as parts of the one called Whole
	columns form = "columns" // one column, or one for each quantile, a group
	rank    form = "rank"    // a table with bars: needs no script
	matrix  form = "matrix"  // a table of shares of a whole each, which may overlap: needs no script
	split   form = "split"   // a table of shares, each row parts of 100 %: needs no script
	likely  form = "likely"  // a table of estimates with their intervals: needs no script
	heat    form = "heat"    // a matrix or split, drawn: rows and columns of squares
	// sankey has the values of the words of Flow, from left to right; what is
	// between two of them is as wide as it counts.
	sankey form = "sankey"
	// worldmap is by value of the facet country.
	worldmap form = "worldmap"
	// timeline has what began and ended, such as campaigns, as bars over time.
	timeline form = "timeline"
)

// A chart is a question that pages ask and how the answer is shown.
type chart struct {
	ID      string // its place in a page: #id
	Section string // of sections
	Title   string
	Doc     string // one sentence, what exactly is counted
	Form    form
	Metric  wire.MetricID
	Ask     string // the question's other parameters, as in a URL
	// Derived is the path of a derivation, which answers instead of /query and
	// has no other parameters; "" if none does.
	Derived string
	// Columns is the word of a split's or matrix's question whose values are its
	// columns; the other one's are its rows.
	Columns string
	// Flow are a sankey's words from left to right; each of the question's once.
	Flow []string
	// Whole is the value of Columns, or in a portion of the only word, that
	// counts all. Where events are in several groups, Base is the metric that
	// counts each once.
	Whole string
	Base  wire.MetricID
	of    wire.MetricID // of a base: the chart's metric
	// Of heads the column of counts; "" goes by the metric.
	Of string
	// Quantiles asks /api/v1/quantiles; the series are quantiles, or groups if
	// Mean is set, which shows the mean of the observations.
	Quantiles, Mean bool
	// A chart is on its section's page; Overview and Own put it on the overview
	// and on an instance's own page, too.
	Overview, Own bool
	Wide          bool // takes a whole row
	Long          bool // its table is not cut short
	// None says what it means that nothing was counted, where that is to be expected.
	None string
}

// charts is what the pages consist of, in order. Tests walk it.
var charts = slices.Concat(adoptionCharts, instancesCharts, trafficCharts, clientsCharts,
	tlsCharts, helloCharts, certificatesCharts, hstsCharts, interceptionCharts, attacksCharts, caddyCharts, insideCharts, updatesCharts)

// page is the path of the topic that the chart belongs to.
func (c *chart) page() string { return pageOf(c.Section) }

// pageOf is the path of the topic that a section belongs to.
func pageOf(id string) string {
	for _, s := range sections {
		if s.ID == id {
			return s.Page
		}
	}
	return "" // a test walks the table
}

// path is where the chart's data is. base is the API's path, or an instance's
// part of it; extra are the span and an instance's signature.
func (c *chart) path(base string, extra url.Values) string {
	q, err := url.ParseQuery(c.Ask)
	if err != nil {
		panic("dashboard: chart " + c.ID + ": " + err.Error()) // a test walks the table
	}
	end := "/query?"
	switch {
	case c.Derived != "":
		end = c.Derived + "?"
	case c.Form == likely:
		end = "/interception?"
	case c.Quantiles:
		end = "/quantiles?"
	}
	if c.Form != likely && c.Derived == "" {
		q.Set("metric", wire.MetricByID(c.Metric).Name)
	}
	for k, v := range extra {
		if k == "compare" || k == "filter" && c.unfiltered(v[0]) != "" {
			continue
		}
		q[k] = v
	}
	return base + end + q.Encode()
}

// question reads the question of c's path.
func (d *Dashboard) question(c *chart, href string) (question, error) {
	u, err := url.Parse(href)
	if err != nil {
		return question{}, err
	}
	q := u.Query()
	for _, p := range linkParams {
		q.Del(p)
	}
	if v := derived(c.Derived); v != nil {
		return v.question(d, q)
	}
	if c.Form == likely {
		if q, err = interceptionQuery(q); err != nil {
			return question{}, err
		}
	}
	return d.parseQuestion(q, c.Quantiles)
}

// base is the question of how many events there were in all, each once: for a
// matrix by its rows.
func (c *chart) base(a question) chart {
	b := chart{ID: c.ID, Form: rank, Metric: c.Base, of: c.Metric}
	if c.Form == matrix {
		b.Ask = "limit=1000&by=" + c.rowWord(a)
		if a.facet != wire.All && !a.filtered {
			b.Ask += "&facet=" + a.facet.String()
		}
	}
	return b
}

// rowWord is the word of a split's or matrix's question that is not Columns.
func (c *chart) rowWord(a question) string {
	for _, w := range a.words() {
		if w != c.Columns {
			return w
		}
	}
	return ""
}

// Canvas reports whether a script draws the chart.
func (c *chart) Canvas() bool {
	switch c.Form {
	case rank, matrix, split, likely:
		return false
	}
	return true
}

// overTime reports whether the chart's first axis is time.
func (c *chart) overTime() bool {
	return c.Form == line || c.Form == area || c.Form == share || c.Form == portion
}
