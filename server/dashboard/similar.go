package dashboard

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// An instance is compared with those that have a facet in common with it: its
// platform, version, deployment or country, or with all. Sums are kept by one
// facet at a time, and by no more than the dictionary says: where a metric lacks
// the facet, all instances are compared with, and the page says so.
//
// What others are compared with is what the public API answers: a group that is too
// small there has no numbers here.

// A comparison is a number of an instance and of others.
type comparison struct {
	ID, Title string
	Metric    wire.MetricID
	Where     map[string][]string // the part that is counted; nil: all
	Of        string              // the value that counts all, of Where's only dimension; "": without Where
	Quantile  float64             // of the observations; 0: a share, or a rate
	PerHour   bool                // events an hour and instance
	Good      int                 // 1 if more is better, -1 if less is, 0 if neither
}

var comparisons = []comparison{
	{ID: "requests", Title: "Requests an hour", Metric: wire.HTTPRequests, PerHour: true},
	{ID: "5xx", Title: "Server errors (5xx)", Metric: wire.HTTPRequestsMethod, Where: map[string][]string{"status_class": {"5xx"}}, Good: -1},
	{ID: "4xx", Title: "Client errors (4xx)", Metric: wire.HTTPRequestsMethod, Where: map[string][]string{"status_class": {"4xx"}}},
	{ID: "median", Title: "Time to first byte, median", Metric: wire.HTTPFirstByte, Quantile: 0.5, Good: -1},
	{ID: "p90", Title: "Time to first byte, p90", Metric: wire.HTTPFirstByte, Quantile: 0.9, Good: -1},
	{ID: "http3", Title: "HTTP/3", Metric: wire.HTTPRequests, Where: map[string][]string{"protocol": {"http/3"}}, Good: 1},
	{ID: "ipv6", Title: "IPv6", Metric: wire.HTTPRequestsTransport, Where: map[string][]string{"family": {"ipv6"}}, Good: 1},
	{ID: "bots", Title: "Requests of bots", Metric: wire.ClientRequests, Where: map[string][]string{"kind": {"bot"}}},
	{ID: "tls13", Title: "TLS 1.3", Metric: wire.TLSConnections, Where: map[string][]string{"tls_version": {"TLS 1.3"}}, Good: 1},
	{ID: "pq", Title: "Post-quantum key exchange", Metric: wire.TLSGroups, Where: map[string][]string{"group": postQuantum}, Good: 1},
	{ID: "resumed", Title: "Resumed handshakes", Metric: wire.TLSConnections, Where: map[string][]string{"resumption": {"resumed"}}, Good: 1},
	{ID: "mismatch", Title: "User-Agent/TLS mismatches", Metric: wire.TLSInterception, Where: map[string][]string{"verdict": {"inconsistent"}}},
	{ID: "incidents", Title: "Incidents an hour", Metric: wire.AttackIncidents, PerHour: true, Good: -1},
	{ID: "upstreams", Title: "Upstream failures an hour", Metric: wire.CaddyUpstreamFailures, PerHour: true, Good: -1},
}

// A similarView is an instance beside others.
type similarView struct {
	Choices []rangeLink
	With    string // whom it is compared with, in words
	Many    string // how many they are
	Lines   []similarLine
	None    string // why there is nothing to compare with
	Mixed   bool   // some lines compare with all
}

type similarLine struct {
	Title, Own, Others, Differs string
	Class                       string // "better", "worse"
	All                         bool   // compared with all, since the metric lacks the facet
	Href                        string // of the others' number
}

// withAll is the choice that is no facet.
const withAll = "all"

// similarTo compares the instance of src with others. with is the facet that
// they have in common; "" chooses.
func (d *Dashboard) similarTo(ctx context.Context, src *instanceSource, with string, href func(with string) string) (*similarView, error) {
	if src.facts == nil || len(src.reports) == 0 {
		return nil, nil
	}
	values := map[wire.Facet]string{
		wire.Version: src.facts.GetCaddyVersion(), wire.Platform: src.facts.GetOs() + "/" + src.facts.GetArch(),
		wire.Deployment: src.facts.GetDeployment(), wire.Country: src.reports[0].Country,
	}
	names := []string{withAll}
	facet := wire.All
	for _, f := range []wire.Facet{wire.Version, wire.Platform, wire.Deployment, wire.Country} {
		if values[f] == "" {
			continue
		}
		names = append(names, f.String())
		if f.String() == with || with == "" && f == wire.Version {
			facet = f
		}
	}
	if with != "" && !slices.Contains(names, with) {
		return nil, badParameter("with is %.40q.%s There are: %s.", with, guess(with, names), oneOf(names))
	}
	v := &similarView{With: "all instances"}
	chosen := withAll
	if facet != wire.All {
		chosen = facet.String()
		v.With = similarName(facet, values[facet])
	}
	for _, n := range names {
		v.Choices = append(v.Choices, rangeLink{Title: "Compare with instances of the same " + n, Short: capital(n), Href: href(n), Current: n == chosen})
	}
	v.Choices[0].Title = "Compare with all instances"
	many, err := d.others(ctx, src.span, comparison{Metric: wire.InstancesActive}, facet, values[facet])
	if err != nil {
		return nil, err
	}
	// Whoever is compared with nobody but itself learns nothing.
	if many.count < max(2, d.cfg.Privacy.MinInstances) {
		v.None = fmt.Sprintf("Too few %s reported in this range to compare with.", v.With)
		return v, nil
	}
	v.Many = whole(many.count)
	lines := make([]*similarLine, len(comparisons))
	err = each(ctx, len(comparisons), func(ctx context.Context, i int) error {
		c := comparisons[i]
		own, err := d.ownNumber(ctx, src, c)
		if err != nil || !own.known {
			return err
		}
		f, value, all := facet, values[facet], false
		instances := many.count
		if !slices.Contains(wire.MetricByID(c.Metric).Facets, facet) {
			f, value, all = wire.All, "", true
			if c.PerHour {
				total, err := d.others(ctx, src.span, comparison{Metric: wire.InstancesActive}, wire.All, "")
				if err != nil {
					return err
				}
				instances = total.count
			}
		}
		others, err := d.others(ctx, src.span, c, f, value)
		if err != nil {
			return err
		}
		lines[i] = newSimilarLine(c, own, others, src.span, instances, all)
		return nil
	})
	for _, l := range lines {
		if l != nil {
			v.Lines = append(v.Lines, *l)
			v.Mixed = v.Mixed || l.All && facet != wire.All
		}
	}
	if facet == wire.All {
		for i := range v.Lines {
			v.Lines[i].All = false
		}
	}
	return v, err
}

func similarName(f wire.Facet, value string) string {
	switch f {
	case wire.Version:
		return "instances of Caddy " + value
	case wire.Platform:
		return "instances on " + value
	case wire.Deployment:
		return "instances in " + value
	case wire.Country:
		return "instances in " + countryName(value)
	}
	return "instances"
}

// A number is one side of a comparison.
type number struct {
	known bool
	value float64 // a share, an amount, or a count
	count uint64
	href  string
}

// ask is the question's parameters.
func (c comparison) ask(s span) url.Values {
	q := url.Values{"metric": {wire.MetricByID(c.Metric).Name}, "from": {fmt.Sprint(s.from.Unix())}, "to": {fmt.Sprint(s.to.Unix())}, "grain": {s.grain.String()}}
	if c.Quantile != 0 {
		q.Set("q", fmt.Sprint(c.Quantile))
	}
	return q
}

// ownNumber is the instance's.
func (d *Dashboard) ownNumber(ctx context.Context, src *instanceSource, c comparison) (number, error) {
	return d.number(c, src.span, wire.All, "", func(a question) (*Answer, error) { return d.compute(ctx, src, false, a) })
}

// others is that of everybody with a facet's value.
func (d *Dashboard) others(ctx context.Context, s span, c comparison, f wire.Facet, value string) (number, error) {
	return d.number(c, s, f, value, func(a question) (*Answer, error) { return d.answer(ctx, d.cfg.Store, "", a) })
}

func (d *Dashboard) number(c comparison, s span, f wire.Facet, value string, ask func(question) (*Answer, error)) (number, error) {
	q := c.ask(s)
	if f != wire.All {
		q.Set("facet", f.String())
		q.Set("value", value)
		q.Set("by", "value")
	}
	count := func(where map[string][]string) (uint64, *Answer, string, error) {
		at := url.Values{}
		for k, v := range q {
			at[k] = v
		}
		for dim, vs := range where {
			at["where."+dim] = vs
		}
		a, err := d.parseQuestion(at, c.Quantile != 0)
		if err != nil {
			return 0, nil, "", err
		}
		a.span = s
		ans, err := ask(a)
		if err != nil {
			return 0, nil, "", err
		}
		var n uint64
		for _, r := range ans.Rows {
			if !r.Rest && !r.Suppressed {
				n += r.Count
			}
		}
		end := "/api/v1/query?"
		if c.Quantile != 0 {
			end = "/api/v1/quantiles?"
		}
		return n, ans, end + at.Encode(), nil
	}
	all, ans, href, err := count(nil)
	if err != nil {
		return number{}, err
	}
	out := number{count: all, href: href, known: all > 0}
	switch {
	case !out.known:
	case c.Quantile != 0:
		out.known = false
		for _, r := range ans.Rows {
			if !r.Rest && !r.Suppressed && len(r.Quantiles) == 1 {
				out.known, out.value = true, r.Quantiles[0]
			}
		}
	case c.Where != nil:
		part, _, href, err := count(c.Where)
		if err != nil {
			return number{}, err
		}
		out.value, out.href = float64(min(part, all))/float64(all), href
	default:
		out.value = float64(all)
	}
	return out, nil
}

// newSimilarLine puts both sides beside each other.
func newSimilarLine(c comparison, own, others number, s span, instances uint64, all bool) *similarLine {
	l := &similarLine{Title: c.Title, All: all, Others: "too few to show", Href: others.href}
	unit := wire.MetricByID(c.Metric).Unit
	hours := s.to.Sub(s.from).Hours()
	show := func(n float64) string {
		switch {
		case c.Quantile != 0:
			return join(amount(n, unit))
		case c.PerHour:
			return digits(n)
		}
		return percent(n)
	}
	mine, theirs := own.value, others.value
	if c.PerHour {
		mine, theirs = mine/hours, theirs/hours/float64(max(instances, 1))
	}
	l.Own = show(mine)
	if !others.known {
		return l
	}
	l.Others = show(theirs)
	if c.Where != nil {
		points := 100 * (mine - theirs)
		l.Differs = fmt.Sprintf("%+.1f points", points)
		if points > -0.05 && points < 0.05 {
			l.Differs = "the same"
			return l
		}
	} else if theirs > 0 {
		switch ratio := mine / theirs; {
		case ratio >= 1.95:
			l.Differs = fmt.Sprintf("%s times as much", digits(ratio))
		case ratio > 0.995 && ratio < 1.005:
			l.Differs = "the same"
			return l
		default:
			l.Differs = fmt.Sprintf("%+.0f\u202f%%", 100*(ratio-1))
		}
	}
	l.Differs = strings.ReplaceAll(l.Differs, "-", "−")
	switch better := mine > theirs; {
	case c.Good == 0 || mine == theirs:
	case better == (c.Good > 0):
		l.Class = "better"
	default:
		l.Class = "worse"
	}
	return l
}
