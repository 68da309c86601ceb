package dashboard

import (
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A figure is a chart with its answer, ready for a template.
type figure struct {
	chart
	Href   string            // of the chart's data, in the API
	names  map[string]string // of series: those that people see by another name
	order  []string          // of series, as vocabularies have it
	Head   []string
	Rows   []figureRow
	Legend []legendItem // of a split: its columns
	More   string       // what the table leaves out
	Scale  string       // where the bars of estimates end
	Reason string       // why it is empty
	Empty  bool
	Answer *Answer
	surroundings
	base *Answer
}

// A legendItem names the colour of a column, by its class.
type legendItem struct{ Class, Name string }

// A figureRow is a table's row. Bar is its length in percent, for ranks.
type figureRow struct {
	Name  string
	Cells []string
	Bar   string
	Parts []figurePart
	Faint bool // not a group like others
}

// A figurePart is a piece of a split's bar, in percent, a matrix's cell, or an
// estimate's interval with, as Text, where the estimate itself is.
type figurePart struct{ Class, From, Width, Text string }

// maxTimes is how many periods a page's table shows; the data has all.
const (
	maxTimes     = 24
	maxLongTimes = 400 // of a chart's own page
)

// newFigure makes a chart's figure. base answers the chart's base, if it has one.
func newFigure(c chart, href string, a question, ans, base *Answer) (*figure, error) {
	f := &figure{chart: c, Href: href, Answer: ans, base: base, Empty: len(ans.Rows) == 0}
	f.name(a)
	switch {
	case c.Form == timeline:
		f.spans(a)
	case c.overTime():
		f.times(a)
	case c.Form == split, c.Form == heat && c.Whole == "" && base == nil:
		f.split(a)
	case c.Form == likely:
		if err := f.estimates(a); err != nil {
			return nil, err
		}
	case c.Form == matrix, c.Form == heat:
		f.matrix(a, base)
	case a.quantiles != nil:
		f.quantiles(a)
	default:
		f.rank(a, base)
	}
	if f.Empty {
		f.Reason = f.reason()
	}
	return f, nil
}

// reason says why there is nothing to show.
func (f *figure) reason() string {
	switch {
	case f.Answer.Suppressed > 0 || f.Form == likely && len(f.Answer.Rows) > 0:
		return "All that was counted in this range is in groups too small to be shown."
	case f.None != "":
		return f.None
	}
	return "Nothing was counted in this range."
}

// name prepares what the script needs to call series as the tables do.
func (f *figure) name(a question) {
	names := map[string]string{}
	for _, r := range f.Answer.Rows {
		if len(r.Group) > 0 {
			names[seriesKey(a.words(), r.Group)] = title(a.words(), r, a.facet)
		}
	}
	order := []string{}
	if len(a.byDims) == 1 && !a.byValue && !a.byLabel {
		if vs := a.metric.Dims[a.byDims[0]].Values; len(vs) <= 16 {
			order = append(slices.Clone(vs[1:]), vs[0])
		}
	}
	f.names, f.order = names, order
	f.flowNames(a, names)
}

// seriesKey is how the script tells groups apart.
func seriesKey(words []string, group map[string]string) string {
	var parts []string
	for _, w := range words {
		parts = append(parts, group[w])
	}
	return strings.Join(parts, " ")
}

// severalGroups are the metrics of which one instance may be in several groups.
var severalGroups = map[wire.MetricID]bool{
	wire.InstancesFeatures: true, wire.InstancesPlugins: true, wire.InstancesModules: true,
	wire.InstancesCPUFeatures: true, wire.InstancesProtocols: true,
}

func (f *figure) rank(a question, base *Answer) {
	f.Head = []string{f.noun(a), f.counted(a), "Share"}
	var most uint64
	for _, r := range f.Answer.Rows {
		if !r.Rest && !r.Suppressed {
			most = max(most, r.Count)
		}
	}
	// Where one instance or event is in several groups, shares of their sum
	// would say nothing.
	several, of := severalGroups[a.metric.ID] || base != nil, f.Answer.Total
	if base != nil {
		of = base.Total
	} else if several {
		f.Head = f.Head[:2]
	}
	for _, r := range f.Answer.Rows {
		if several && r.Rest {
			continue
		}
		row := figureRow{Name: title(a.words(), r, a.facet), Cells: []string{whole(r.Count)}, Faint: r.Rest || r.Suppressed}
		if !several || base != nil {
			row.Cells = append(row.Cells, percent(float64(min(r.Count, max(of, 1)))/float64(max(of, 1))))
		}
		if most > 0 {
			row.Bar = strconv.FormatFloat(min(100, 100*float64(r.Count)/float64(most)), 'f', 2, 64)
		}
		f.Rows = append(f.Rows, row)
	}
}

func (f *figure) quantiles(a question) {
	f.Head = []string{f.noun(a), f.counted(a)}
	for _, q := range a.quantiles {
		f.Head = append(f.Head, quantileName(q))
	}
	for _, r := range f.Answer.Rows {
		row := figureRow{Name: title(a.words(), r, a.facet), Cells: []string{whole(r.Count)}, Faint: r.Rest || r.Suppressed}
		for _, v := range r.Quantiles {
			row.Cells = append(row.Cells, join(amount(v, a.metric.Unit)))
		}
		f.Rows = append(f.Rows, row)
	}
}

// times turns rows by time and group into a table with a column for each
// group or quantile, newest first.
func (f *figure) times(a question) {
	f.Head = []string{"Time (UTC)"}
	var titles []string
	cells := map[time.Time]map[string]string{}
	var at []time.Time
	put := func(t time.Time, title, cell string) {
		if cells[t] == nil {
			cells[t] = map[string]string{}
			at = append(at, t)
		}
		cells[t][title] = cell
		if !slices.Contains(titles, title) {
			titles = append(titles, title)
		}
	}
	for _, r := range f.Answer.Rows {
		t := *r.Time
		switch {
		case f.Mean:
			put(t, f.meanName(), digits(float64(*r.Sum)/float64(max(r.Count, 1))))
		case a.quantiles != nil:
			for i, q := range a.quantiles {
				put(t, quantileName(q), join(amount(r.Quantiles[i], a.metric.Unit)))
			}
		case len(a.words()) == 0:
			put(t, f.counted(a), whole(r.Count))
		default:
			put(t, title(a.words(), r, a.facet), whole(r.Count))
		}
	}
	f.Head = append(f.Head, titles...)
	most := maxTimes
	if f.Long {
		most = maxLongTimes
	}
	shown := at[max(0, len(at)-most):]
	if n := len(at) - len(shown); n > 0 {
		f.More = fmt.Sprintf("The newest %d of %d periods; the data has all.", len(shown), len(at))
	}
	for _, t := range slices.Backward(shown) {
		row := figureRow{Name: moment(t, a.grain), Faint: t.Add(1).After(f.Answer.Complete)}
		for _, title := range titles {
			c := cells[t][title]
			if c == "" {
				c = "0"
				if a.quantiles != nil {
					c = "–"
				}
			}
			row.Cells = append(row.Cells, c)
		}
		f.Rows = append(f.Rows, row)
	}
}

// meanName heads the column of means.
func (f *figure) meanName() string {
	if wire.MetricByID(f.Metric).Kind == wire.KindPeak {
		return "Peak"
	}
	return "Mean"
}

// noun heads the column of groups.
func (f *figure) noun(a question) string {
	if ws := a.words(); len(ws) > 0 {
		if len(a.byDims) > 0 && !a.byValue && !a.byLabel {
			return f.wordNoun(a.metric.Dims[a.byDims[0]].Name, a)
		}
		return f.wordNoun(ws[0], a)
	}
	return ""
}

// wordNoun is what a word of by tells apart, for people.
func (f *figure) wordNoun(word string, a question) string {
	switch word {
	case "value":
		return capital(a.facet.String())
	case "label":
		return capital(strings.ReplaceAll(a.metric.Label, "_", " "))
	case "certificate_issuer":
		return "Issuer"
	case "certificate_occasion":
		return "Occasion"
	case "certificate_cause":
		return "Cause"
	case "ocsp_status":
		return "OCSP"
	case "client_os":
		return "System"
	case "client_family":
		return "Client"
	case "ja4":
		return "JA4"
	case "cpu_feature":
		return "Feature"
	case "count":
		return "How many"
	case "bot_class":
		return "Bot"
	case "hello_state":
		return "ClientHello"
	case "max_age":
		return "Life of the policy"
	case "subdomains":
		return "Subdomains, preload"
	case "upstream_failure":
		return "Failure"
	case "offered_alpn":
		return "Protocol"
	case "incident_kind":
		return "Kind"
	case "scan_class":
		return "Target"
	case "source_class":
		return "Number"
	}
	word = strings.TrimPrefix(word, "offered_")
	if rest, ok := strings.CutPrefix(word, "tls_"); ok {
		return "TLS " + strings.ReplaceAll(rest, "_", " ")
	}
	return capital(strings.ReplaceAll(word, "_", " "))
}

// counted heads the column of counts.
func (f *figure) counted(a question) string {
	switch {
	case f.Of != "":
		return f.Of
	case a.metric.Kind.FromServer():
		return "Instances"
	case strings.HasPrefix(a.metric.Name, "tls."):
		return "Handshakes"
	case a.metric.ID == wire.TelemetryDroppedReports:
		return "Reports"
	case a.metric.ID == wire.TelemetryDroppedWindows:
		return "Windows"
	case a.metric.ID == wire.Connections:
		return "Connections"
	}
	return "Requests"
}

// spark draws values as the path of a line in a box of 100 by 28, and the
// path below it.
func spark(values []float64) (linePath, areaPath template.HTMLAttr) {
	if len(values) < 2 {
		return "", ""
	}
	lo, hi := slices.Min(values), slices.Max(values)
	if lo > hi/2 {
		lo = max(0, lo-(hi-lo)) // don't make much of little
	} else {
		lo = 0
	}
	if hi <= lo {
		lo, hi = lo-1, lo+1
	}
	var b strings.Builder
	for i, v := range values {
		c := byte('L')
		if i == 0 {
			c = 'M'
		}
		fmt.Fprintf(&b, "%c%.1f %.1f", c, 100*float64(i)/float64(len(values)-1), 26-24*(v-lo)/(hi-lo))
	}
	p := b.String()
	return template.HTMLAttr(p), template.HTMLAttr(p + "L100 28L0 28Z")
}

// settled gives values in the order of time, without the periods that are not
// complete as long as enough remain to draw.
func settled(ans *Answer, values map[time.Time]float64) []float64 {
	var times []time.Time
	for t := range values {
		times = append(times, t)
	}
	slices.SortFunc(times, time.Time.Compare)
	whole := slices.DeleteFunc(slices.Clone(times), func(t time.Time) bool { return !t.Before(ans.Complete) })
	if len(whole) >= 2 {
		times = whole
	}
	var out []float64
	for _, t := range times {
		out = append(out, values[t])
	}
	return out
}
