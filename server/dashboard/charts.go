package dashboard

import (
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A form is how a chart is drawn.
type form string

const (
	line    form = "line"    // over time, each series for itself
	area    form = "area"    // over time, series stacked
	share   form = "share"   // over time, series as parts of 100 %
	columns form = "columns" // one column, or one for each quantile, a group
	rank    form = "rank"    // a table with bars: needs no script
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
	// Quantiles asks /api/v1/quantiles; the series are quantiles, or groups if
	// Mean is set, which shows the mean of the observations.
	Quantiles, Mean bool
	Overview, Own   bool // on the overview, on an instance's own page
	Wide            bool // takes a whole row
}

// A section groups charts under a heading.
type section struct{ ID, Title, Lead string }

var sections = []section{
	{"instances", "Instances", "Caddy servers that reported, and what they run."},
	{"traffic", "Traffic", "Requests that they answered."},
	{"speed", "Speed", "How long a response took, on the server."},
	{"network", "Network and TLS", "How connections came in."},
	{"clients", "Clients", "Who asked, as far as the User-Agent tells. It is classified on the instance and never leaves it."},
	{"health", "Health", "What went wrong, and how much was going on at once."},
}

// charts is what the pages consist of, in order. Tests walk it.
var charts = []chart{
	{ID: "active", Section: "instances", Title: "Reporting instances", Doc: "Different instances in each period, estimated.",
		Form: line, Metric: wire.InstancesActive, Ask: "by=time", Overview: true, Wide: true},
	{ID: "versions", Section: "instances", Title: "Caddy versions", Doc: "Different instances in the range by version.",
		Form: rank, Metric: wire.InstancesActive, Ask: "facet=version&by=value&limit=8", Overview: true},
	{ID: "countries", Section: "instances", Title: "Countries", Doc: "Different instances in the range by the country they reported from.",
		Form: rank, Metric: wire.InstancesActive, Ask: "facet=country&by=value&limit=8", Overview: true},
	{ID: "platforms", Section: "instances", Title: "Platforms", Doc: "Different instances in the range by operating system and architecture.",
		Form: rank, Metric: wire.InstancesActive, Ask: "facet=platform&by=value&limit=8", Overview: true},
	{ID: "deployments", Section: "instances", Title: "Deployments", Doc: "Different instances in the range by what they seem to serve, guessed on the instance.",
		Form: rank, Metric: wire.InstancesActive, Ask: "facet=deployment&by=value&limit=8", Overview: true},
	{ID: "features", Section: "instances", Title: "Features in use", Doc: "Instances that use a feature, in the newest complete period. One instance may use several.",
		Form: rank, Metric: wire.InstancesFeatures, Ask: "by=feature&period=latest&limit=8", Overview: true},
	{ID: "plugins", Section: "instances", Title: "Plugins", Doc: "Instances that have a plugin compiled in, in the newest complete period.",
		Form: rank, Metric: wire.InstancesPlugins, Ask: "by=label&period=latest&limit=8", Overview: true},
	{ID: "go", Section: "instances", Title: "Go versions", Doc: "Instances by the Go version they were built with, in the newest complete period.",
		Form: rank, Metric: wire.InstancesGo, Ask: "by=label&period=latest&limit=8", Overview: true},
	{ID: "containers", Section: "instances", Title: "Containers", Doc: "Instances by kind of container, in the newest complete period.",
		Form: rank, Metric: wire.InstancesContainer, Ask: "by=container&period=latest&limit=8", Overview: true},

	{ID: "protocols", Section: "traffic", Title: "Requests by HTTP version", Doc: "Requests answered in each period.",
		Form: area, Metric: wire.HTTPRequests, Ask: "by=time,protocol", Overview: true, Own: true, Wide: true},
	{ID: "classes", Section: "traffic", Title: "Status classes", Doc: "Share of requests by the first digit of the status code.",
		Form: share, Metric: wire.HTTPRequestsMethod, Ask: "by=time,status_class", Overview: true, Own: true},
	{ID: "statuses", Section: "traffic", Title: "Status codes", Doc: "Requests in the range by exact status code; other was aborted before it had one.",
		Form: rank, Metric: wire.HTTPRequests, Ask: "by=status&limit=8", Overview: true, Own: true},
	{ID: "methods", Section: "traffic", Title: "Methods", Doc: "Requests in the range by method.",
		Form: rank, Metric: wire.HTTPRequestsMethod, Ask: "by=method&limit=8", Overview: true, Own: true},
	{ID: "roles", Section: "traffic", Title: "Sites and redirects", Doc: "Requests to configured sites, and to the server that Caddy adds to redirect HTTP to HTTPS.",
		Form: rank, Metric: wire.HTTPRequests, Ask: "by=role", Overview: true, Own: true},

	{ID: "first-byte", Section: "speed", Title: "Time to first byte", Doc: "Quantiles over all requests of a period, from the start of handling to the first byte of the response.",
		Form: line, Metric: wire.HTTPFirstByte, Ask: "by=time&q=0.5,0.9,0.99", Quantiles: true, Overview: true, Own: true, Wide: true},
	{ID: "first-byte-protocol", Section: "speed", Title: "First byte by HTTP version", Doc: "Quantiles over all requests in the range. The scale is logarithmic.",
		Form: columns, Metric: wire.HTTPFirstByte, Ask: "by=protocol&q=0.5,0.9,0.99", Quantiles: true, Overview: true, Own: true},
	{ID: "duration-protocol", Section: "speed", Title: "Duration by HTTP version", Doc: "Quantiles over all requests in the range, to the end of the response. The scale is logarithmic.",
		Form: columns, Metric: wire.HTTPDuration, Ask: "by=protocol&q=0.5,0.9,0.99", Quantiles: true, Overview: true, Own: true},
	{ID: "response-size", Section: "speed", Title: "Response size by HTTP version", Doc: "Quantiles of body bytes written. The scale is logarithmic.",
		Form: columns, Metric: wire.HTTPResponseBytes, Ask: "by=protocol&q=0.5,0.9,0.99", Quantiles: true, Own: true},

	{ID: "tls", Section: "network", Title: "TLS versions", Doc: "Share of completed handshakes.",
		Form: share, Metric: wire.TLSConnections, Ask: "by=time,tls_version", Overview: true, Own: true},
	{ID: "families", Section: "network", Title: "IPv4 and IPv6", Doc: "Share of requests by the address family of their connection.",
		Form: share, Metric: wire.HTTPRequestsTransport, Ask: "by=time,family", Overview: true, Own: true},
	{ID: "groups", Section: "network", Title: "Key exchange", Doc: "Handshakes in the range by group; MLKEM resists quantum computers.",
		Form: rank, Metric: wire.TLSGroups, Ask: "by=group&limit=8", Overview: true, Own: true},
	{ID: "ciphers", Section: "network", Title: "Cipher suites", Doc: "Handshakes in the range by cipher suite.",
		Form: rank, Metric: wire.TLSConnections, Ask: "by=cipher_suite&limit=8", Overview: true, Own: true},
	{ID: "resumption", Section: "network", Title: "Resumption", Doc: "Full handshakes and resumed sessions.",
		Form: rank, Metric: wire.TLSConnections, Ask: "by=resumption", Overview: true, Own: true},
	{ID: "transport", Section: "network", Title: "Encrypted or plain", Doc: "Requests over TLS and without.",
		Form: rank, Metric: wire.HTTPRequestsTransport, Ask: "by=transport", Overview: true, Own: true},

	{ID: "kinds", Section: "clients", Title: "Kinds of client", Doc: "Requests in each period; none sent no User-Agent.",
		Form: area, Metric: wire.ClientRequests, Ask: "by=time,kind", Overview: true, Own: true, Wide: true},
	{ID: "browsers", Section: "clients", Title: "Browsers", Doc: "Requests of browsers in the range.",
		Form: rank, Metric: wire.ClientBrowsers, Ask: "by=browser,browser_version&limit=8", Overview: true, Own: true},
	{ID: "systems", Section: "clients", Title: "Operating systems", Doc: "Requests in the range by the client's system.",
		Form: rank, Metric: wire.ClientPlatforms, Ask: "by=client_os&limit=8", Overview: true, Own: true},
	{ID: "bots", Section: "clients", Title: "Bots", Doc: "Requests of bots in the range.",
		Form: rank, Metric: wire.ClientBots, Ask: "by=bot,bot_class&limit=8", Overview: true, Own: true},
	{ID: "tools", Section: "clients", Title: "Tools and libraries", Doc: "Requests of command-line tools and HTTP libraries in the range.",
		Form: rank, Metric: wire.ClientTools, Ask: "by=tool&limit=8", Overview: true, Own: true},

	{ID: "aborted", Section: "health", Title: "Aborted requests", Doc: "Requests that clients gave up on, by how far the response had come.",
		Form: area, Metric: wire.HTTPAborted, Ask: "by=time,phase", Overview: true, Own: true},
	{ID: "handler-errors", Section: "health", Title: "Handler errors", Doc: "Requests whose handlers returned an error, by its status.",
		Form: rank, Metric: wire.HTTPHandlerErrors, Ask: "by=status&limit=8", Overview: true, Own: true},
	{ID: "panics", Section: "health", Title: "Panics", Doc: "Requests whose handler panicked.",
		Form: rank, Metric: wire.HTTPPanics, Ask: "by=protocol", Own: true},
	{ID: "peak-requests", Section: "health", Title: "Requests at once", Doc: "The most requests that were handled at the same time in a window; over longer periods, the mean of that.",
		Form: line, Metric: wire.HTTPRequestsPeak, Ask: "by=time&q=0.5", Quantiles: true, Mean: true, Own: true},
	{ID: "peak-connections", Section: "health", Title: "Connections at once", Doc: "The most connections that were open at the same time in a window; over longer periods, the mean of that.",
		Form: line, Metric: wire.ConnectionsPeak, Ask: "by=time&q=0.5", Quantiles: true, Mean: true, Own: true},
	{ID: "dropped", Section: "health", Title: "Dropped reports", Doc: "Reports that the instance could not deliver and had to drop.",
		Form: rank, Metric: wire.TelemetryDroppedReports, Ask: "by=reason", Own: true},
}

// path is where the chart's data is. base is the API's path, or an instance's
// part of it; extra are the span and an instance's signature.
func (c *chart) path(base string, extra url.Values) string {
	q, err := url.ParseQuery(c.Ask)
	if err != nil {
		panic("dashboard: chart " + c.ID + ": " + err.Error()) // a test walks the table
	}
	q.Set("metric", wire.MetricByID(c.Metric).Name)
	for k, v := range extra {
		q[k] = v
	}
	end := "/query?"
	if c.Quantiles {
		end = "/quantiles?"
	}
	return base + end + q.Encode()
}

// overTime reports whether the chart's first axis is time.
func (c *chart) overTime() bool { return c.Form == line || c.Form == area || c.Form == share }

// display is how a value is shown to people. The API has the values as they are.
func display(word, value string, facet wire.Facet) string {
	switch word {
	case "protocol":
		return strings.ToUpper(value[:min(4, len(value))]) + value[min(4, len(value)):]
	case "family":
		return map[string]string{"ipv4": "IPv4", "ipv6": "IPv6", "unix": "Unix socket", "other": "Other"}[value]
	case "transport":
		return map[string]string{"tls": "TLS", "plain": "Plain HTTP", "other": "Other"}[value]
	case "client_os", "browser":
		if s, ok := map[string]string{"macos": "macOS", "ios": "iOS", "ipados": "iPadOS", "chromeos": "ChromeOS", "freebsd": "FreeBSD"}[value]; ok {
			return s
		}
		return capital(value)
	case "kind":
		if value == "none" {
			return "No User-Agent"
		}
		return map[string]string{"browser": "Browsers", "bot": "Bots", "tool": "Tools", "app": "Apps", "other": "Other"}[value]
	case "phase", "resumption", "role", "deployment", "container":
		return capital(strings.ReplaceAll(value, "_", " "))
	case "status":
		if s, ok := statusTexts[value]; ok {
			return value + " " + s
		}
	case "value":
		switch {
		case facet == wire.Country:
			return countryName(value)
		case value == "":
			return "Unknown"
		case facet == wire.Deployment:
			return capital(value)
		}
	}
	if value == "other" {
		return "Other"
	}
	return value
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// title is a group's name for people.
func title(words []string, r Row, facet wire.Facet) string {
	switch {
	case r.Rest:
		return "Everything else"
	case r.Suppressed:
		return "Too few to show"
	}
	var parts []string
	for _, w := range words {
		v := r.Group[w]
		if w == "browser_version" && v == "other" && len(words) > 1 {
			continue
		}
		parts = append(parts, display(w, v, facet))
	}
	if slices.Equal(words, []string{"bot", "bot_class"}) || slices.Equal(words, []string{"bot_class", "bot"}) {
		return r.Group["bot"] + " · " + r.Group["bot_class"]
	}
	return strings.Join(parts, " ")
}
