package dashboard

import (
	"context"
	"html/template"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A tile is a headline number with its trend.
type tile struct {
	ID, Title    string
	Number, Unit string
	Note         string
	Delta        string // against the span before, "" if there is none
	Rise         int    // the delta's sign
	Good         int    // 1 if more is better, -1 if less is, 0 if neither
	Line, Area   template.HTMLAttr
	Href         string // of its data
}

// part is the share of some values of a dimension in a metric.
type part struct {
	pages     string // that have it
	id, title string
	metric    wire.MetricID
	dim       string
	values    []string
	note      string
	good      int // see tile.Good
}

var postQuantum = []string{"X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024"}

var parts = []part{
	{"/interception", "mismatch", "Mismatches", wire.TLSInterception, "verdict", []string{"inconsistent"}, "of all connections, raw", -1},
	{"/interception", "undecided", "Undecided", wire.TLSInterception, "verdict", []string{"unknown"}, "of connections", 0},
	{"/ /adoption", "http3", "HTTP/3", wire.HTTPRequests, "protocol", []string{"http/3"}, "of requests", 1},
	{"/ /adoption", "ipv6", "IPv6", wire.HTTPRequestsTransport, "family", []string{"ipv6"}, "of requests", 1},
	{"/traffic", "encrypted", "Encrypted", wire.HTTPRequestsTransport, "transport", []string{"tls"}, "of requests", 1},
	{"/ /adoption /tls", "tls13", "TLS 1.3", wire.TLSConnections, "tls_version", []string{"TLS 1.3"}, "of handshakes", 1},
	{"/adoption /tls", "pq", "Post-quantum", wire.TLSGroups, "group", postQuantum, "of handshakes", 1},
	{"/tls", "sni", "Server name", wire.TLSSNI, "presence", []string{"present"}, "of handshakes", 1},
	{"/tls", "resumed", "Resumed", wire.TLSConnections, "resumption", []string{"resumed"}, "of handshakes", 1},
}

// partsOf are the parts on a page.
func partsOf(page string) []part {
	var ps []part
	for _, p := range parts {
		if slices.Contains(strings.Fields(p.pages), page) {
			ps = append(ps, p)
		}
	}
	return ps
}

// topicTiles are the headline numbers of a topic's page.
func (d *Dashboard) topicTiles(ctx context.Context, page string, s span, at url.Values) ([]tile, error) {
	var asks []func(context.Context) (tile, error)
	if page == "/interception" {
		asks = append(asks, func(ctx context.Context) (tile, error) { return d.interceptionTile(ctx, s, at) })
	}
	for _, p := range partsOf(page) {
		asks = append(asks, func(ctx context.Context) (tile, error) { return d.partTile(ctx, p, s, at) })
	}
	ts := make([]tile, len(asks))
	err := each(ctx, len(asks), func(ctx context.Context, i int) (err error) {
		ts[i], err = asks[i](ctx)
		return err
	})
	markUnfiltered(ts, at)
	return ts, err
}

// markUnfiltered says of tiles that they are of all instances though the page
// has a filter, since what they count is not kept by it.
func markUnfiltered(ts []tile, at url.Values) {
	for i := range ts {
		t := &ts[i]
		if u, err := url.Parse(t.Href); err == nil && at.Get("filter") != "" && !u.Query().Has("filter") {
			t.Note += "; not filtered"
		}
	}
}

// tiles makes the headline numbers of the overview. nothing says that no
// instance reported in the span.
func (d *Dashboard) tiles(ctx context.Context, s span, at url.Values) (_ []tile, nothing bool, err error) {
	shares := partsOf("/")
	ts := make([]tile, 3+len(shares))
	err = each(ctx, len(ts), func(ctx context.Context, i int) (err error) {
		switch i {
		case 0:
			ts[i], nothing, err = d.instancesTile(ctx, s, at)
		case 1:
			ts[i], err = d.requestsTile(ctx, s, at)
		case 2:
			ts[i], err = d.latencyTile(ctx, s, at)
		default:
			ts[i], err = d.partTile(ctx, shares[i-3], s, at)
		}
		return err
	})
	markUnfiltered(ts, at)
	return ts, nothing, err
}

// asked asks the store the question of a URL of the API, in span s.
func (d *Dashboard) asked(ctx context.Context, c chart, s span, at url.Values) (*Answer, string, error) {
	href := c.path("/api/v1", at)
	a, err := d.question(&c, href)
	if err != nil {
		return nil, "", err
	}
	a.span = s
	ans, err := d.answer(ctx, d.cfg.Store, "", a)
	return ans, href, err
}

func (d *Dashboard) instancesTile(ctx context.Context, s span, at url.Values) (tile, bool, error) {
	f, err := parseFilter(at.Get("filter"))
	if err != nil {
		return tile{}, false, err
	}
	in, err := d.instancesIn(ctx, s, f)
	if err != nil {
		return tile{}, false, err
	}
	before, err := d.answer(ctx, d.cfg.Store, "", f.of(question{span: s.before(), metric: wire.MetricByID(wire.InstancesActive), limit: 1}))
	if err != nil {
		return tile{}, false, err
	}
	values := map[time.Time]float64{}
	for _, tc := range in.OverTime {
		values[tc.Time] = float64(tc.Count)
	}
	t := tile{ID: "now", Title: "Instances now", Note: whole(in.Count) + " in " + rangeShort(s), Good: 1, Href: "/api/v1/instances?" + without(at, "compare").Encode()}
	t.Number, t.Unit = short(in.Now)
	t.change(float64(in.Count), float64(before.Total))
	until := &Answer{Complete: start(s.grain, d.cfg.Timing, complete(d.cfg.Timing, d.cfg.Now()))}
	t.Line, t.Area = spark(settled(until, values))
	return t, in.Count == 0, nil
}

func (d *Dashboard) requestsTile(ctx context.Context, s span, at url.Values) (tile, error) {
	c := chart{ID: "tile", Metric: wire.HTTPRequests, Ask: "by=time"}
	now, href, err := d.asked(ctx, c, s, at)
	if err != nil {
		return tile{}, err
	}
	c.Ask = ""
	before, _, err := d.asked(ctx, c, s.before(), at)
	if err != nil {
		return tile{}, err
	}
	t := tile{ID: "requests", Title: "Requests", Note: rate(now.Total, s.to.Sub(s.from)), Href: href}
	t.Number, t.Unit = short(now.Total)
	t.change(float64(now.Total), float64(before.Total))
	values := map[time.Time]float64{}
	for _, r := range now.Rows {
		values[*r.Time] = float64(r.Count)
	}
	t.Line, t.Area = spark(settled(now, values))
	return t, nil
}

// rate writes how many in a second, over the whole span.
func rate(n uint64, d time.Duration) string {
	f := float64(n) / d.Seconds()
	if f >= 10_000 {
		return join(short(uint64(f))) + " a second"
	}
	return digits(f) + " a second"
}

func (d *Dashboard) latencyTile(ctx context.Context, s span, at url.Values) (tile, error) {
	c := chart{ID: "tile", Metric: wire.HTTPFirstByte, Ask: "q=" + tileQuantiles, Quantiles: true}
	now, href, err := d.asked(ctx, c, s, at)
	if err != nil {
		return tile{}, err
	}
	before, _, err := d.asked(ctx, c, s.before(), at)
	if err != nil {
		return tile{}, err
	}
	c.Ask += "&by=time" // as the chart asks
	over, _, err := d.asked(ctx, c, s, at)
	if err != nil {
		return tile{}, err
	}
	t := tile{ID: "first-byte-now", Title: "First byte", Number: "–", Note: "median", Good: -1, Href: href}
	if len(now.Rows) > 0 {
		q := now.Rows[0].Quantiles
		t.Number, t.Unit = amount(q[0], wire.Microseconds)
		t.Note = "median; p99 " + join(amount(q[2], wire.Microseconds))
		if len(before.Rows) > 0 {
			t.change(q[0], before.Rows[0].Quantiles[0])
		}
	}
	values := map[time.Time]float64{}
	for _, r := range over.Rows {
		values[*r.Time] = r.Quantiles[0]
	}
	t.Line, t.Area = spark(settled(over, values))
	return t, nil
}

func (d *Dashboard) partTile(ctx context.Context, p part, s span, at url.Values) (tile, error) {
	c := chart{ID: "tile", Metric: p.metric, Ask: "by=time," + p.dim}
	now, href, err := d.asked(ctx, c, s, at)
	if err != nil {
		return tile{}, err
	}
	c.Ask = "by=" + p.dim
	before, _, err := d.asked(ctx, c, s.before(), at)
	if err != nil {
		return tile{}, err
	}
	t := tile{ID: p.id, Title: p.title, Number: "–", Note: p.note, Good: p.good, Href: href}
	of, all := map[time.Time]float64{}, map[time.Time]float64{}
	for _, r := range now.Rows {
		all[*r.Time] += float64(r.Count)
		if slices.Contains(p.values, r.Group[p.dim]) {
			of[*r.Time] += float64(r.Count)
		}
	}
	for at, n := range all {
		of[at] /= max(n, 1)
	}
	t.Line, t.Area = spark(settled(now, of))
	f := fraction(now, p)
	if !math.IsNaN(f) {
		t.Number, t.Unit = strconv.FormatFloat(100*f, 'f', 1, 64), "%"
	}
	if was := fraction(before, p); !math.IsNaN(f) && !math.IsNaN(was) {
		t.points(100 * (f - was))
	}
	return t, nil
}

// fraction is p's share of all counts, NaN without any.
func fraction(ans *Answer, p part) float64 {
	var of, all float64
	for _, r := range ans.Rows {
		all += float64(r.Count)
		if slices.Contains(p.values, r.Group[p.dim]) {
			of += float64(r.Count)
		}
	}
	return of / all
}

// change sets the delta in percent.
func (t *tile) change(now, before float64) {
	if before == 0 {
		return
	}
	c := 100 * (now - before) / before
	if c > 999 {
		t.Delta, t.Rise = "×"+digits(now/before), 1
		return
	}
	t.set(c, "\u202f%")
}

// points sets the delta in points of percent.
func (t *tile) points(c float64) { t.set(c, " points") }

func (t *tile) set(c float64, unit string) {
	s := strconv.FormatFloat(math.Abs(c), 'f', 1, 64)
	if s == "0.0" {
		t.Delta = "unchanged"
		return
	}
	t.Rise = 1
	if c < 0 {
		t.Rise = -1
	}
	t.Delta = s + unit
}
