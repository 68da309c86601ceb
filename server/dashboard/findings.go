package dashboard

import (
	"context"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A finding answers what a section asks in one sentence, and says what changed.
type finding struct {
	Section string
	Number  string // what comes first
	Text    string // what it is of
	Change  string // against the time before; "" if there is nothing to compare
	Rise    int    // the change's sign
	Good    int    // 1 if more is better, -1 if less is, 0 if neither
	Href    string // the chart that shows it
	weight  float64
}

// A telling is what a finding is made of: numbers of one metric, or of two.
type telling struct {
	section, chart string // of the chart that shows it
	metric         wire.MetricID
	// ask tells groups apart by one word. of are those whose share of all, or of
	// the group whole, it is; none of them: the greatest group is named.
	ask, word string
	of        []string
	whole     string
	// base, if set, is what metric is a share of; with beside, of both together.
	base   wire.MetricID
	beside bool
	// quantile, if set, is the one of metric's observations that is told, of tileQuantiles.
	quantile string
	text     string
	good     int  // see finding.Good
	now      bool // on the first page, too
}

var tellings = []telling{
	{section: "versions", chart: "versions-time", metric: wire.InstancesVersion, ask: "by=label&period=latest", word: "label", text: "is the version that most instances run"},
	{section: "adoption", chart: "adoption", metric: wire.ConnectionFeatures, ask: "by=connection_feature", word: "connection_feature", of: []string{"ech_offered"}, whole: "all", text: "of connections offer ECH, or fake it", good: 1},
	{section: "adoption", chart: "adoption", metric: wire.ConnectionFeatures, ask: "by=connection_feature", word: "connection_feature", of: []string{"pq_offered"}, whole: "all", text: "of connections offer a post-quantum key exchange", good: 1},
	{section: "protocols", chart: "protocols", metric: wire.HTTPRequests, ask: "by=protocol", word: "protocol", of: []string{"http/3"}, text: "of requests come over HTTP/3", good: 1, now: true},
	{section: "protocols", chart: "families", metric: wire.HTTPRequestsTransport, ask: "by=family", word: "family", of: []string{"ipv6"}, text: "of requests come over IPv6", good: 1, now: true},
	{section: "encryption", chart: "tls", metric: wire.TLSConnections, ask: "by=tls_version", word: "tls_version", of: []string{"TLS 1.3"}, text: "of handshakes agree on TLS 1.3", good: 1},
	{section: "encryption", chart: "groups-time", metric: wire.TLSGroups, ask: "by=group", word: "group", of: postQuantum, text: "of handshakes have a key exchange that resists quantum computers", good: 1, now: true},
	{section: "places", chart: "world", metric: wire.InstancesActive, ask: "facet=country&by=value&limit=300", word: "value", text: "is where most instances are"},
	{section: "answers", chart: "classes", metric: wire.HTTPRequestsMethod, ask: "by=status_class", word: "status_class", of: []string{"5xx"}, text: "of requests are answered with an error of the server", good: -1, now: true},
	{section: "answers", chart: "classes", metric: wire.HTTPRequestsMethod, ask: "by=status_class", word: "status_class", of: []string{"4xx"}, text: "are answered with an error of the client"},
	{section: "speed", chart: "first-byte", metric: wire.HTTPFirstByte, quantile: "0.5", text: "is the median time to the first byte", good: -1, now: true},
	{section: "speed", chart: "first-byte", metric: wire.HTTPFirstByte, quantile: "0.99", text: "is what one request in a hundred exceeds", good: -1},
	{section: "upstreams", chart: "upstreams", metric: wire.CaddyUpstreamFailures, base: wire.HTTPRequests, text: "of requests fail at an upstream", good: -1},
	{section: "faults", chart: "handler-errors", metric: wire.HTTPHandlerErrors, base: wire.HTTPRequests, text: "of requests end in an error of a handler", good: -1},
	{section: "network", chart: "transport", metric: wire.HTTPRequestsTransport, ask: "by=transport", word: "transport", of: []string{"tls"}, text: "of requests are encrypted", good: 1},
	{section: "clients", chart: "kinds", metric: wire.ClientRequests, ask: "by=kind", word: "kind", of: []string{"bot"}, text: "of requests come from bots that say so", now: true},
	{section: "clients", chart: "browsers", metric: wire.ClientBrowsers, ask: "by=browser", word: "browser", text: "is the browser with the most requests"},
	{section: "hsts", chart: "hsts-plain", metric: wire.HSTSPlainAfter, base: wire.HSTSTLSAfter, beside: true, text: "of requests that are bound to TLS by HSTS come without it", good: -1},
	{section: "outcomes", chart: "ways", metric: wire.TLSFailures, base: wire.TLSConnections, beside: true, text: "of TLS connections end before their handshake is complete", good: -1, now: true},
	{section: "hellos", chart: "libraries", metric: wire.TLSLibraries, ask: "by=tls_library", word: "tls_library", text: "is the library that most ClientHellos look like"},
	{section: "negotiated", chart: "resumption", metric: wire.TLSConnections, ask: "by=resumption", word: "resumption", of: []string{"resumed"}, text: "of handshakes resume a session", good: 1},
	{section: "failures", chart: "failure-causes", metric: wire.TLSFailures, ask: "by=failure", word: "failure", text: "is the most frequent cause"},
	{section: "issuance", chart: "issuance-failures", metric: wire.CertificatesFailed, base: wire.CertificatesAttempts, text: "of attempts to get a certificate fail", good: -1},
	{section: "held", chart: "held", metric: wire.CertificatesHeld, ask: "by=certificate_issuer", word: "certificate_issuer", text: "issued the most certificates in use"},
	{section: "verdicts", chart: "verdicts", metric: wire.TLSInterception, ask: "by=verdict", word: "verdict", of: []string{"inconsistent"}, text: "of connections do not fit their User-Agent", good: -1},
	{section: "incidents", chart: "incident-kinds", metric: wire.AttackIncidents, ask: "by=incident_kind", word: "incident_kind", text: "is the most frequent kind of incident"},
	{section: "behaviour", chart: "scans", metric: wire.AttackScans, base: wire.HTTPRequests, text: "of requests look for vulnerable paths", good: -1, now: true},
	{section: "behaviour", chart: "scans", metric: wire.AttackScans, ask: "by=scan_class", word: "scan_class", text: "is what scanners look for most"},
	{section: "errors", chart: "loggers", metric: wire.CaddyLogErrors, ask: "by=logger", word: "logger", text: "logs the most errors"},
	{section: "updates", chart: "update-attempts", metric: wire.UpdateAttempts, ask: "by=update_result", word: "update_result", of: []string{"healthy"}, text: "of updates go well", good: 1},
	{section: "missing", chart: "dropped", metric: wire.TelemetryDroppedWindows, ask: "by=reason", word: "reason", text: "is why most windows were dropped"},
}

// findings answers those tellings that on says, in their order; what has no
// numbers, or is not counted by the page's filter, is left out.
func (d *Dashboard) findings(ctx context.Context, s span, at url.Values, on func(telling) bool) ([]finding, error) {
	var wanted []telling
	for _, p := range tellings {
		if on(p) {
			wanted = append(wanted, p)
		}
	}
	found := make([]finding, len(wanted))
	err := each(ctx, len(wanted), func(ctx context.Context, i int) (err error) {
		found[i], err = d.finding(ctx, wanted[i], s, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(f finding) bool { return f.Number == "" }), nil
}

// A measure is a finding's number, or its name.
type measure struct {
	value float64 // NaN if there is none
	name  string
}

func (d *Dashboard) finding(ctx context.Context, p telling, s span, at url.Values) (finding, error) {
	f := finding{Section: p.section, Text: p.text, Good: p.good, Href: p.href(at)}
	if c := p.question(); c.unfiltered(at.Get("filter")) != "" {
		return f, nil
	}
	now, err := d.measure(ctx, p, s, at, true)
	if err != nil || math.IsNaN(now.value) {
		return f, err
	}
	before, err := d.measure(ctx, p, s.before(), at, false)
	if err != nil {
		return f, err
	}
	f.tell(p, now, before)
	return f, nil
}

// tell writes what is now and what changed.
func (f *finding) tell(p telling, now, before measure) {
	switch {
	case now.name != "":
		f.Number = now.name
		if before.name != "" && before.name != now.name {
			f.Change, f.weight = "it was "+before.name, 1
		}
		return
	case p.quantile != "":
		f.Number = join(amount(now.value, wire.MetricByID(p.metric).Unit))
	default:
		f.Number = percent(now.value)
	}
	if math.IsNaN(before.value) || before.value == 0 {
		return
	}
	f.weight = math.Abs(now.value-before.value) / max(now.value, before.value)
	change, unit := 100*(now.value-before.value), " points"
	if p.quantile != "" {
		change, unit = change/before.value, "\u202f%"
	}
	n := strconv.FormatFloat(math.Abs(change), 'f', 1, 64)
	switch {
	case n == "0.0":
		f.Change, f.weight = "unchanged", 0
		return
	case n == "1.0":
		unit = strings.TrimSuffix(unit, "s")
	}
	f.Change, f.Rise = n+unit, 1
	if change < 0 {
		f.Rise = -1
	}
}

// question is p's as a chart's.
func (p *telling) question() chart {
	c := chart{ID: p.chart, Metric: p.metric, Base: p.base, Ask: p.ask}
	if p.quantile != "" {
		c.Quantiles, c.Ask = true, "q="+tileQuantiles
	}
	return c
}

// href is the place of p's chart among pages.
func (p *telling) href(at url.Values) string {
	for i := range charts {
		if charts[i].ID == p.chart {
			return charts[i].page() + "?" + at.Encode() + "#chart-" + p.chart
		}
	}
	return "" // a test walks the table
}

// tileQuantiles are those that the tile of latency asks for.
const tileQuantiles = "0.5,0.9,0.99"

// measure is p's number in s. Of now it asks as charts and tiles do, over time,
// which has been answered for them already.
func (d *Dashboard) measure(ctx context.Context, p telling, s span, at url.Values, now bool) (measure, error) {
	none := measure{value: math.NaN()}
	c, base := p.question(), chart{ID: p.chart, Metric: p.base, of: p.metric}
	if now && p.of != nil && p.whole == "" {
		c.Ask = "by=time," + p.word
	}
	if now && p.base == wire.HTTPRequests {
		base.Ask = "by=time"
	}
	ans, _, err := d.asked(ctx, c, s, at)
	if err != nil {
		return none, err
	}
	switch {
	case p.quantile != "":
		i := slices.Index(strings.Split(tileQuantiles, ","), p.quantile)
		if len(ans.Rows) == 0 || i < 0 || len(ans.Rows[0].Quantiles) <= i {
			return none, nil
		}
		return measure{value: ans.Rows[0].Quantiles[i]}, nil
	case p.base != 0:
		if len(ans.Rows) == 0 {
			return none, nil // perhaps nobody counts it
		}
		all, _, err := d.asked(ctx, base, s, at)
		if err != nil || all.Total == 0 {
			return none, err
		}
		of := float64(all.Total)
		if p.beside {
			of += float64(ans.Total)
		}
		return measure{value: min(1, float64(ans.Total)/of)}, nil
	case p.of == nil:
		a, err := d.question(&c, c.path("/api/v1", at))
		if err != nil {
			return none, err
		}
		for _, r := range ans.Rows { // the greatest first
			if v := r.Group[p.word]; !r.Rest && !r.Suppressed && r.Count > 0 && v != "" && v != "other" && v != "unknown" {
				return measure{name: title([]string{p.word}, r, a.facet)}, nil
			}
		}
		return none, nil
	}
	var of, all float64
	for _, r := range ans.Rows {
		v := r.Group[p.word]
		if slices.Contains(p.of, v) {
			of += float64(r.Count)
		}
		if p.whole == "" || p.whole == v {
			all += float64(r.Count)
		}
	}
	if all == 0 {
		return none, nil
	}
	return measure{value: of / all}, nil
}

// maxChanged is how many findings the first page has.
const maxChanged = 6

// changed are the findings of the first page: those of what changed most.
func (d *Dashboard) changed(ctx context.Context, s span, at url.Values) ([]finding, error) {
	found, err := d.findings(ctx, s, at, func(p telling) bool { return p.now })
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(found, func(x, y finding) int {
		switch {
		case x.weight > y.weight:
			return -1
		case x.weight < y.weight:
			return 1
		}
		return 0
	})
	return found[:min(len(found), maxChanged)], nil
}
