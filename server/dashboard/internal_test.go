package dashboard

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

var testNow = time.Date(2026, 11, 21, 10, 23, 20, 0, time.UTC)

// TestCharts walks the table: each chart asks something that can be answered.
func TestCharts(t *testing.T) {
	d := &Dashboard{cfg: Config{Timing: wire.DefaultTiming, Now: func() time.Time { return testNow }}}
	ids := map[string]bool{}
	onPage := map[string]int{}
	for _, c := range charts {
		if ids[c.ID] || c.page() == "" || c.Title == "" || c.Doc == "" {
			t.Errorf("%s: is there twice, or lacks a section, title or sentence", c.ID)
		}
		onPage[c.page()]++
		ids[c.ID] = true
		a, err := d.question(&c, c.path("/api/v1", url.Values{"range": {"24h"}}))
		if err != nil {
			t.Errorf("%s: %v", c.ID, err)
			continue
		}
		if a.byTime != (c.overTime() || c.Form == timeline) {
			t.Errorf("%s is a %s, but by time: %t", c.ID, c.Form, a.byTime)
		}
		if (c.Form == columns) != (a.quantiles != nil && !c.overTime()) {
			t.Errorf("%s: columns are for quantiles of groups", c.ID)
		}
		if words := a.words(); (c.Form == split || c.Form == matrix) && (len(words) != 2 || !slices.Contains(words, c.Columns)) {
			t.Errorf("%s: a table of shares needs two words, one of them its columns", c.ID)
		}
		if c.Form == portion && c.Derived == "" && (len(a.byDims) != 1 || !a.metric.Dims[a.byDims[0]].Has(c.Whole)) {
			t.Errorf("%s: %q is nothing to be a part of", c.ID, c.Whole)
		}
		if c.Form == matrix && (c.Base == 0) == (c.Whole == "") {
			t.Errorf("%s: a matrix has either a whole or a base", c.ID)
		}
		if c.Base != 0 {
			base := c.base(a)
			u, err := url.Parse(base.path("/api/v1", url.Values{"range": {"24h"}}))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.parseQuestion(u.Query(), false); err != nil {
				t.Errorf("%s: its base: %v", c.ID, err)
			}
		}
		if c.Own && (a.metric.Kind.FromServer() || a.facet != wire.All) {
			t.Errorf("%s: an instance's own reports don't have that", c.ID)
		}
		if a.metric.Kind == wire.KindInstances && !a.latest && !a.byTime {
			t.Errorf("%s: sums over several periods count instances several times", c.ID)
		}
	}
	for _, p := range topics {
		if onPage[p.Path] == 0 {
			t.Errorf("%s has no charts", p.Path)
		}
		delete(onPage, p.Path)
	}
	for p := range onPage {
		t.Errorf("%s has charts, but is no page", p)
	}
	for _, p := range parts {
		dim := wire.MetricByID(p.metric).Dim(p.dim)
		if dim < 0 || slices.ContainsFunc(p.values, func(v string) bool { return !wire.MetricByID(p.metric).Dims[dim].Has(v) }) {
			t.Errorf("%s: no such share", p.id)
		}
	}
	for _, p := range tellings {
		c := p.question()
		a, err := d.question(&c, c.path("/api/v1", url.Values{"range": {"24h"}}))
		if err != nil || !ids[p.chart] || pageOf(p.section) == "" || p.text == "" {
			t.Errorf("%s, %s: no chart, section or answer: %v", p.section, p.text, err)
			continue
		}
		if p.base == 0 && p.quantile == "" && (len(a.words()) != 1 || a.words()[0] != p.word) {
			t.Errorf("%s: told apart by %v, not by %s", p.text, a.words(), p.word)
		}
		for _, v := range append(p.of, p.whole) {
			if v != "" && !a.metric.Dims[a.metric.Dim(p.word)].Has(v) {
				t.Errorf("%s: there is no %s", p.text, v)
			}
		}
	}
	for _, w := range watched {
		q, err := url.ParseQuery(w.ask)
		if err != nil {
			t.Fatal(err)
		}
		q.Set("metric", wire.MetricByID(w.metric).Name)
		if _, err := d.parseQuestion(q, false); err != nil {
			t.Errorf("%s: %v", w.of, err)
		}
	}
}

func TestSpans(t *testing.T) {
	short := wire.Timing{Window: 5 * time.Second, ReportEvery: 5 * time.Second}
	for _, c := range []struct {
		name     string
		timing   wire.Timing
		grain    store.Grain
		from, to string
	}{
		{"1h", wire.DefaultTiming, store.Window, "2026-11-21T09:25:00Z", "2026-11-21T10:25:00Z"},
		{"1h", short, store.Window, "2026-11-21T09:23:25Z", "2026-11-21T10:23:25Z"},
		{"24h", wire.DefaultTiming, store.Window, "2026-11-20T10:25:00Z", "2026-11-21T10:25:00Z"},
		{"24h", short, store.Hour, "2026-11-20T11:00:00Z", "2026-11-21T11:00:00Z"},
		{"7d", wire.DefaultTiming, store.Hour, "2026-11-14T11:00:00Z", "2026-11-21T11:00:00Z"},
		{"30d", wire.DefaultTiming, store.Hour, "2026-10-22T11:00:00Z", "2026-11-21T11:00:00Z"},
		{"90d", wire.DefaultTiming, store.Day, "2026-08-24T00:00:00Z", "2026-11-22T00:00:00Z"},
		{"all", wire.DefaultTiming, store.Day, "2026-01-01T00:00:00Z", "2026-11-22T00:00:00Z"},
	} {
		r, _ := rangeByName(c.name)
		s := r.span(c.timing, testNow)
		got := []string{s.grain.String(), s.from.Format(time.RFC3339), s.to.Format(time.RFC3339)}
		if diff := cmp.Diff([]string{c.grain.String(), c.from, c.to}, got); diff != "" {
			t.Errorf("%s, windows of %s: %s", c.name, c.timing.Window, diff)
		}
		if n := s.points(c.timing); n > maxPoints {
			t.Errorf("%s: %d points", c.name, n)
		}
	}
}

func TestPrivacy(t *testing.T) {
	p := Privacy{MinInstances: 50, MinEvents: 5000, MaxShare: 0.25}
	m := wire.MetricByID(wire.HTTPRequests)
	g := func(name string, instances, total, top uint64) *group {
		return &group{key: store.Key{Value: name}, reports: instances * 12, total: total, top: top}
	}
	names := func(gs []*group) string {
		var s []string
		for _, g := range gs {
			s = append(s, g.key.Value)
		}
		return strings.Join(s, " ")
	}
	for name, c := range map[string]struct {
		groups            []*group
		shown, suppressed string
	}{
		"all are large":                 {[]*group{g("a", 90, 9000, 200), g("b", 60, 7000, 200)}, "a b", ""},
		"the small ones suffice":        {[]*group{g("a", 90, 9000, 200), g("b", 40, 3000, 100), g("c", 30, 2500, 100)}, "a", "b c"},
		"one small takes a neighbour":   {[]*group{g("a", 90, 9000, 200), g("b", 60, 7000, 200), g("c", 2, 10, 5)}, "a", "b c"},
		"too few events":                {[]*group{g("a", 90, 9000, 200), g("b", 60, 7000, 100), g("c", 60, 4000, 100)}, "a", "b c"},
		"one instance gives too much":   {[]*group{g("a", 90, 9000, 200), g("b", 60, 8000, 3000)}, "", "a b"},
		"nothing is large":              {[]*group{g("a", 9, 900, 200)}, "", "a"},
		"no groups":                     {nil, "", ""},
		"a neighbour that isn't enough": {[]*group{g("a", 90, 9000, 200), g("b", 60, 7000, 200), g("c", 60, 6000, 5000)}, "", "a b c"},
	} {
		shown, suppressed := p.split(c.groups, 12, m, nil)
		if diff := cmp.Diff([]string{c.shown, c.suppressed}, []string{names(shown), names(suppressed)}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if shown, suppressed := (Privacy{}).split([]*group{g("a", 1, 1, 1)}, 12, m, nil); names(shown) != "a" || suppressed != nil {
		t.Error("without thresholds all is shown")
	}
	if err := (Privacy{MaxShare: 25}).check(); err == nil {
		t.Error("a share of 25 is none")
	}
}

func TestFormat(t *testing.T) {
	const thin = "\u202f"
	for want, got := range map[string]string{
		"0":                               whole(0),
		"999":                             whole(999),
		"1" + thin + "234" + thin + "567": whole(1234567),
		"9" + thin + "999":                join(short(9999)),
		"10.0" + thin + "k":               join(short(10_000)),
		"999" + thin + "k":                join(short(999_000)),
		"1.00" + thin + "M":               join(short(999_900)),
		"18.4" + thin + "E":               join(short(1<<64 - 1)),
		"850" + thin + "µs":               join(amount(850, wire.Microseconds)),
		"2.46" + thin + "ms":              join(amount(2456, wire.Microseconds)),
		"61.2" + thin + "s":               join(amount(61.2e6, wire.Microseconds)),
		"3.20" + thin + "MB":              join(amount(3.2e6, wire.Bytes)),
		"<0.1" + thin + "%":               percent(0.0001),
		">99.9" + thin + "%":              percent(0.99999),
		"100.0" + thin + "%":              percent(1),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for code, want := range map[string]string{"DE": "Germany", "AD": "Andorra", "ZW": "Zimbabwe", "": "Unknown", "XX": "XX", "other": "other"} {
		if got := countryName(code); got != want {
			t.Errorf("country %q is %q", code, got)
		}
	}
}
