package dashboard_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/wire"
)

// cellsOf are the cells of the table rows below an element.
func cellsOf(t *testing.T, page, id string) (rows [][]string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range find(doc, func(n *html.Node) bool { return attr(n, "id") == id }) {
		for _, tr := range find(e, func(n *html.Node) bool { return n.Data == "tr" }) {
			var row []string
			for _, c := range find(tr, func(n *html.Node) bool { return n.Data == "td" || n.Data == "th" && attr(n, "scope") == "row" }) {
				row = append(row, strings.TrimSpace(text(c)))
			}
			if row != nil {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// TestBesideOthers: an instance is compared with what the public API says of others.
func TestBesideOthers(t *testing.T) {
	s, l := openStore(t), openLog(t)
	plausible(t, s, now, 2*time.Hour)
	appendReport(t, l, report(1, now.Add(-time.Hour).Truncate(5*time.Minute), 6))
	link := wire.Link(ownKey, now.Add(time.Hour)) + "&range=24h"
	open := serve(t, dashboard.Config{Store: s, Reports: l})
	rows := cellsOf(t, get(t, open, link+"&with=country").Body.String(), "similar")
	byName := map[string][]string{}
	for _, r := range rows {
		byName[r[0]] = r
	}
	// 100 to 149 of one protocol and a quarter as many of the other, of which HTTP/3 is a fifth.
	if r := byName["HTTP/3"]; len(r) != 4 || !strings.HasPrefix(r[1], "19.") && !strings.HasPrefix(r[1], "20.") {
		t.Errorf("HTTP/3: %q of %q", r, rows)
	}
	ans := getJSON[dashboard.Answer](t, open, "/api/v1/query?metric=http.requests&facet=country&value=DE&by=value,protocol&range=24h")
	var all, h3 float64
	for _, r := range ans.Rows {
		all += float64(r.Count)
		if r.Group["protocol"] == "http/3" {
			h3 += float64(r.Count)
		}
	}
	if all > 0 && byName["HTTP/3"][2] == "too few to show" {
		t.Errorf("others have %g of %g by HTTP/3, the page shows none", h3, all)
	}
	if w := get(t, open, link+"&with=cuontry"); w.Code != 400 || !strings.Contains(w.Body.String(), "country") {
		t.Errorf("%d %s", w.Code, w.Body)
	}

	// Where groups are small, their numbers are not shown here either.
	closed := serve(t, dashboard.Config{Store: s, Reports: l, Privacy: dashboard.Privacy{MinInstances: 1 << 40, MinEvents: 1 << 40}})
	body := get(t, closed, link+"&with=country").Body.String()
	if rows := cellsOf(t, body, "similar"); len(rows) > 0 || !strings.Contains(body, "Too few instances in Germany") {
		t.Errorf("shown though too few: %q", rows)
	}
	// And who is alone is compared with nobody.
	alone := serve(t, dashboard.Config{Store: openStore(t), Reports: l})
	if body := get(t, alone, link).Body.String(); !strings.Contains(body, "to compare with") {
		t.Error("compared with nobody")
	}
}

// TestOwnIncidents: each incident is listed once, as it was reported last.
func TestOwnIncidents(t *testing.T) {
	l := openLog(t)
	start := now.Add(-2 * time.Hour).Truncate(5 * time.Minute)
	in := func(events uint64, seconds uint32, open bool) *wire.Incident {
		return &wire.Incident{
			Number: 7, Start: start.Unix(), Seconds: seconds, Open: open, Kind: uint32(wire.IncidentKind.Value("scan")), Scan: 1,
			Events: events, Peak: events / 2, Sources: 2, TopShare: 60, Networks: []*wire.SourceNetwork{{Asn: 64500, Country: "NL", Share: 60}},
		}
	}
	for i, x := range []*wire.Incident{in(10, 100, true), in(4000, 900, false)} {
		r := report(uint64(i+1), start.Add(time.Duration(i)*30*time.Minute), 6)
		r.Windows[0].Incidents = []*wire.Incident{x}
		appendReport(t, l, r)
	}
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: l})
	link := wire.Link(ownKey, now.Add(time.Hour))
	all := getJSON[struct {
		Instance  string
		From, To  time.Time
		Reports   []dashboard.ReportInfo
		Versions  []dashboard.Change
		Incidents []dashboard.OwnIncident
		Latest    any
	}](t, h, apiOf(link, "", "range=24h"))
	want := []dashboard.OwnIncident{{
		Number: 7, Kind: "scan", Scan: wire.ScanClass.Values[1], Start: start, Seconds: 900, Events: 4000, Peak: 2000,
		Sources: wire.SourceClass.Values[2], TopShare: 60, Networks: []dashboard.IncidentNetwork{{ASN: 64500, Country: "NL", Share: 60}},
	}}
	if d := cmp.Diff(want, all.Incidents); d != "" {
		t.Error(d)
	}
	rows := cellsOf(t, get(t, h, link+"&range=24h").Body.String(), "incidents-own")
	if len(rows) != 1 || !strings.HasPrefix(rows[0][0], "Scan") || rows[0][2] != "15 minutes" || !strings.Contains(rows[0][6], "AS64500, Netherlands (60") {
		t.Errorf("%q", rows)
	}
}

// TestAdvice: the page says what the build that was reported last needs, and
// does without where that can't be told.
func TestAdvice(t *testing.T) {
	l := openLog(t)
	appendReport(t, l, report(1, now.Add(-time.Hour).Truncate(5*time.Minute), 6))
	link := wire.Link(ownKey, now.Add(time.Hour))
	var asked wire.Check
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: l, Advise: func(_ context.Context, c wire.Check) (*dashboard.Advice, error) {
		asked = c
		return &dashboard.Advice{
			Verdict: "vulnerable", Says: "vulnerable",
			Vulnerabilities: []dashboard.Vulnerability{{
				ID: "GO-2026-0001", Summary: "It <fails>", Link: "https://pkg.go.dev/vuln/GO-2026-0001", Path: wire.Stdlib, Version: "go1.25.4", Severity: wire.SeverityCritical, FixedIn: "go1.25.5",
			}},
			Plan: &wire.Plan{Changes: []wire.Change{{
				Path: wire.Toolchain, From: "go1.25.4", To: "go1.25.5", Kind: wire.ChangeToolchain,
				Reasons: []wire.Reason{{Kind: "advisory", ID: "GO-2026-0001", Severity: wire.SeverityCritical}},
			}}},
		}, nil
	}})
	body := get(t, h, link).Body.String()
	want := [][]string{
		{"Critical", "GO-2026-0001", "Go's standard library", "go1.25.4", "go1.25.5", "It <fails>"},
		{"Critical", "Go", "go1.25.4", "go1.25.5", "Fixes GO-2026-0001"},
	}
	if d := cmp.Diff(want, cellsOf(t, body, "advice")); d != "" {
		t.Error(d)
	}
	if asked.Build.Version(wire.CaddyPath) != "v2.11.9" || asked.System.OS != "linux" || asked.Scope != wire.ScopeAll || !asked.Incomplete {
		t.Errorf("it asked for %+v", asked)
	}
	for name, advise := range map[string]func(context.Context, wire.Check) (*dashboard.Advice, error){
		"fails": func(context.Context, wire.Check) (*dashboard.Advice, error) { return nil, errors.New("no proxy") },
	} {
		h := serve(t, dashboard.Config{Store: openStore(t), Reports: l, Advise: advise})
		if body := get(t, h, link).Body.String(); !strings.Contains(body, "told at the moment") || strings.Contains(body, "no proxy") {
			t.Errorf("%s: %s", name, body)
		}
	}
}
