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
	// Columns is the word of a split's or matrix's question whose values are its
	// columns; the other one's are its rows.
	Columns string
	// Whole is the value of Columns, or in a portion of the only word, that
	// counts all. Where events are in several groups, Base is the metric that
	// counts each once.
	Whole string
	Base  wire.MetricID
	// Of heads the column of counts; "" goes by the metric.
	Of string
	// Quantiles asks /api/v1/quantiles; the series are quantiles, or groups if
	// Mean is set, which shows the mean of the observations.
	Quantiles, Mean bool
	// A chart is on its section's page; Overview and Own put it on the overview
	// and on an instance's own page, too.
	Overview, Own bool
	Wide          bool // takes a whole row
	// None says what it means that nothing was counted, where that is to be expected.
	None string
}

// A topic is a page of charts. Lead has a place for its span; Notice, if any, is
// what readers have to know before they read a number.
type topic struct{ Path, Nav, Title, Lead, Notice string }

// topics are the pages of charts in the order of the navigation. The overview,
// at "/", has a few charts of each.
var topics = []topic{
	{"/instances", "Instances", "Who counts", "The Caddy servers that reported %s, and what they run.", ""},
	{"/traffic", "Traffic", "What servers answer", "Requests, connections and how they went, %s.", ""},
	{"/clients", "Clients", "Who asks", "Browsers, bots and tools that made requests %s, as far as the User-Agent tells.", ""},
	{"/tls", "TLS", "How the web is encrypted", "What clients offered, what was agreed on, and why handshakes failed, %s.", ""},
	{"/certificates", "Certificates", "What servers prove themselves with", "Certificates that Caddy obtained and held, %s.", ""},
	{"/interception", "Interception", "Who listens in", "TLS connections whose ClientHello does not fit the browser that the User-Agent names, %s: most go through a proxy that opens the encryption, a company's, an antivirus's, an attacker's.",
		"What is seen is a mismatch of User-Agent and TLS, and not every mismatch is an interception. A program or a person that changes the User-Agent looks the same. So does a CDN: behind one, or behind another proxy that ends TLS, a server sees that proxy's ClientHellos with everybody's User-Agents, and all of its browsers mismatch."},
	{"/attacks", "Attacks", "Who attacks, and how", "What scanners, floods and robots did to servers, %s. Servers tell these apart on their own; no address leaves them.", ""},
	{"/inside", "Inside Caddy", "What goes wrong inside Caddy", "Errors that Caddy met %s.", ""},
}

// A section groups charts under a heading, on the page of its topic.
type section struct{ ID, Page, Title, Lead string }

var sections = []section{
	{"instances", "/instances", "Instances", "Caddy servers that reported, and what they run."},
	{"machines", "/instances", "Machines and set-up", "Where they run, how they were installed, and how they are configured."},
	{"traffic", "/traffic", "Traffic", "Requests that they answered."},
	{"speed", "/traffic", "Speed", "How long a response took, on the server."},
	{"network", "/traffic", "Network", "How connections came in."},
	{"health", "/traffic", "Health", "What clients gave up on, and how much was going on at once."},
	{"clients", "/clients", "Clients", "Who asked, as far as the User-Agent tells. It is classified on the instance and never leaves it."},
	{"adoption", "/tls", "Adoption", "How many connections and requests have what protects them. An offered ECH may be faked (GREASE)."},
	{"hellos", "/tls", "What clients offer", "Read from ClientHellos, the first message of each TLS connection."},
	{"negotiated", "/tls", "What is negotiated", "What clients and Caddy agreed on."},
	{"failures", "/tls", "What fails", "TLS connections that ended before the handshake was complete."},
	{"issuance", "/certificates", "Issuance", "What Caddy obtained, what it renewed, and why it failed."},
	{"held", "/certificates", "In use", "What is in Caddy's cache at the end of each window, and what handshakes were served with."},
	{"hsts", "/tls", "HSTS", "Whether clients that were told to use TLS only (Strict-Transport-Security) do. Instances remember it in bounded memory, by keyed hashes; clients behind one address may be taken for one another."},
	{"verdicts", "/interception", "User-Agent and TLS", "Each connection's ClientHello against that of the client that its User-Agent names. A version newer than the table of signatures is never called inconsistent for being new."},
	{"incidents", "/attacks", "Incidents", "Times in which an instance saw far more of something than is usual for it at that hour of the week."},
	{"behaviour", "/attacks", "Suspicious behaviour", "What attacks are made of. Much of it is harmless, one by one."},
	{"errors", "/inside", "Errors", "What went wrong on the server's side, by kind; never its text."},
	{"runtime", "/inside", "Go runtime", "What Caddy's process uses."},
	{"updates", "/inside", "Updates", "How Caddy's updates of itself went."},
}

// charts is what the pages consist of, in order. Tests walk it.
var charts = slices.Concat(instancesCharts, trafficCharts, clientsCharts,
	tlsCharts, helloCharts, certificatesCharts, hstsCharts, interceptionCharts, attacksCharts, caddyCharts, insideCharts, updatesCharts)

// page is the path of the topic that the chart belongs to.
func (c *chart) page() string {
	for _, s := range sections {
		if s.ID == c.Section {
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
	case c.Form == likely:
		end = "/interception?"
	case c.Quantiles:
		end = "/quantiles?"
	}
	if c.Form != likely {
		q.Set("metric", wire.MetricByID(c.Metric).Name)
	}
	for k, v := range extra {
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
	b := chart{ID: c.ID, Form: rank, Metric: c.Base}
	if c.Form == matrix {
		b.Ask = "limit=1000&by=" + c.rowWord(a)
		if a.facet != wire.All {
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
func (c *chart) Canvas() bool { return c.overTime() || c.Form == columns }

// overTime reports whether the chart's first axis is time.
func (c *chart) overTime() bool {
	return c.Form == line || c.Form == area || c.Form == share || c.Form == portion
}
