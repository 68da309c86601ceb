package render

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// begin is when the answers of these tests start.
var begin = time.Date(2026, 11, 19, 0, 0, 0, 0, time.UTC)

type row map[string]any

// twoDays makes an answer by hour and one word.
func twoDays(word string, values ...string) map[string]any {
	var rows []row
	for h := range 47 {
		if h == 20 || h == 21 {
			continue // a gap
		}
		for i, v := range values {
			n := 400*(i+1) + int(150*float64(i+1)*math.Sin(float64(h)/4+float64(i)))
			rows = append(rows, row{"time": begin.Add(time.Duration(h) * time.Hour), "group": row{word: v}, "count": n, "low": n - 60, "high": n + 60})
		}
	}
	return answerOf("hour", []string{"time", word}, rows)
}

func answerOf(grain string, by []string, rows []row) map[string]any {
	total := 0
	for _, r := range rows {
		total += r["count"].(int)
	}
	return map[string]any{
		"metric": "http.requests", "kind": "counter", "unit": "", "grain": grain, "from": begin, "to": begin.Add(48 * time.Hour),
		"complete": begin.Add(46 * time.Hour), "by": by, "total": total, "rows": rows,
	}
}

func groups(by []string, all ...[]any) map[string]any {
	var rows []row
	for _, g := range all {
		r := row{"count": g[len(by)]}
		group := row{}
		for i, w := range by {
			group[w] = g[i]
		}
		if g[0] == "rest" {
			r["rest"] = true
		} else {
			r["group"] = group
		}
		rows = append(rows, r)
	}
	return answerOf("hour", by, rows)
}

func with(m map[string]any, more map[string]any) map[string]any {
	for k, v := range more {
		m[k] = v
	}
	return m
}

// kinds are one job of each form, and what its picture has to say.
var kinds = []struct {
	name         string
	kind         string
	spec, answer map[string]any
	says         []string
	not          []string
}{
	{
		name: "line", kind: "line",
		spec:   map[string]any{"names": row{"p": "Protocol P"}, "order": []string{"p"}, "band": true},
		answer: twoDays("x", "p", "q"),
		says:   []string{"Protocol P", "q", "20 Nov", "1200"},
	}, {
		name: "compared", kind: "line",
		spec: map[string]any{
			"before": with(twoDays("status", "2xx", "5xx"), map[string]any{"from": begin.Add(time.Hour)}),
			"annotations": []row{
				{"time": begin.Add(5 * time.Hour), "kind": "release", "title": "Caddy v2.11.9", "href": "/releases"},
				{"time": begin.Add(30 * time.Hour), "kind": "release", "title": "Caddy v2.12.0"},
				{"time": begin.Add(31 * time.Hour), "kind": "release", "title": "Hidden, since it would be over another"},
				{"time": begin.Add(20 * time.Hour), "end": begin.Add(22 * time.Hour), "kind": "gap", "title": "Nothing was collected"},
				{"time": begin.Add(40 * time.Hour), "end": begin.Add(43 * time.Hour), "kind": "campaign", "title": "Campaign: scanner"},
			},
		},
		answer: twoDays("status", "2xx", "5xx"),
		says:   []string{"2xx", "5xx", "Caddy v2.11.9", "Caddy v2.12.0"},
		not:    []string{"Hidden, since it would be…", "before"},
	}, {
		name: "area", kind: "area", spec: map[string]any{"before": twoDays("v", "a", "b")}, answer: twoDays("v", "a", "b", "c"), says: []string{"a", "b", "c", "2000"},
	}, {
		name: "share", kind: "share", spec: map[string]any{"before": twoDays("tls_version", "TLS 1.2", "TLS 1.3", "TLS 1.0", "unknown")}, answer: twoDays("tls_version", "TLS 1.2", "TLS 1.3", "TLS 1.1", "unknown"), says: []string{"TLS 1.3", "100\u202f%"},
	}, {
		name: "portion", kind: "portion", spec: map[string]any{"whole": "all"}, answer: twoDays("adopted", "h3", "all"), says: []string{"60\u202f%"}, not: []string{"all"},
	}, {
		name: "columns", kind: "columns", spec: map[string]any{}, answer: groups([]string{"status"}, []any{"2xx", 50}, []any{"4xx", 20}), says: []string{"2xx", "4xx", "50"},
	}, {
		name: "rank", kind: "rank", spec: map[string]any{}, answer: groups([]string{"method"}, []any{"GET", 51234}, []any{"POST", 20000}, []any{"rest", 3}), says: []string{"GET", "51.2k", "Everything else"},
	}, {
		name: "split", kind: "split", spec: map[string]any{"columns": "tls_version"},
		answer: groups([]string{"kind", "tls_version"}, []any{"browser", "TLS 1.3", 90}, []any{"browser", "TLS 1.2", 10}, []any{"bot", "TLS 1.3", 30}, []any{"bot", "TLS 1.2", 20}),
		says:   []string{"browser", "bot", "TLS 1.2", "100\u202f%"},
	}, {
		name: "matrix", kind: "matrix", spec: map[string]any{"columns": "offered", "whole": "hellos"},
		answer: groups([]string{"kind", "offered"}, []any{"browser", "hellos", 100}, []any{"browser", "h2", 95}, []any{"tool", "hellos", 80}, []any{"tool", "h2", 20}),
		says:   []string{"browser", "h2", "95\u202f%", "25\u202f%"}, not: []string{"hellos"},
	}, {
		name: "heat", kind: "heat", spec: map[string]any{"columns": "hour"},
		answer: groups([]string{"day", "hour"}, []any{"Mon", "01", 10}, []any{"Mon", "02", 1000}, []any{"Tue", "01", 100}),
		says:   []string{"Mon", "Tue", "01", "10", "1000"},
	}, {
		name: "heat-time", kind: "heat", spec: map[string]any{}, answer: twoDays("country", "DE", "FR", "US"), says: []string{"DE", "FR", "US", "19 Nov"},
	}, {
		name: "likely", kind: "likely", spec: map[string]any{"names": row{"chrome": "Chrome"}},
		answer: map[string]any{
			"metric": "tls.consistency", "grain": "hour", "from": begin, "to": begin.Add(time.Hour), "complete": begin.Add(time.Hour), "by": "client_family",
			"rows": []row{{"group": "chrome", "estimate": row{"share": 0.04, "low": 0.03, "high": 0.052}}, {"group": "safari", "estimate": row{"share": 0.01, "low": 0.004, "high": 0.02}}, {"group": "x", "estimate": nil}},
		},
		says: []string{"Chrome", "safari", "%"},
	}, {
		name: "sankey", kind: "sankey", spec: map[string]any{"levels": []string{"client", "tls", "outcome"}, "order": []string{"browser", "bot", "TLS 1.3", "TLS 1.2"}},
		answer: groups([]string{"client", "tls", "outcome"},
			[]any{"browser", "TLS 1.3", "completed", 900}, []any{"browser", "TLS 1.2", "completed", 80}, []any{"bot", "TLS 1.3", "completed", 300}, []any{"bot", "TLS 1.2", "no certificate", 60},
			[]any{"bot", "TLS 1.2", "completed", 120}, []any{"tool", "TLS 1.3", "unknown authority", 20}, []any{"rest", "", "", 12}),
		says: []string{"browser", "bot", "TLS 1.3", "no certificate", "Everything else"},
	}, {
		name: "timeline", kind: "timeline", spec: map[string]any{"names": row{"scan": "Scans"}},
		answer: with(answerOf("hour", nil, nil), map[string]any{"spans": []row{
			{"from": begin.Add(2 * time.Hour), "to": begin.Add(14 * time.Hour), "lane": "scan", "name": "AS64500", "note": "60 instances"},
			{"from": begin.Add(6 * time.Hour), "to": begin.Add(9 * time.Hour), "lane": "scan", "name": "AS64501"},
			{"from": begin.Add(30 * time.Hour), "lane": "flood", "name": "JA4 of a tool"},
		}}),
		says: []string{"Scans", "flood", "AS64500"},
	}, {
		name: "worldmap", kind: "worldmap", spec: map[string]any{"names": row{"DE": "Germany"}},
		answer: groups([]string{"value"}, []any{"DE", 52000}, []any{"US", 43000}, []any{"SG", 900}, []any{"RU", 60}, []any{"BR", 3000}, []any{"FJ", 9}, []any{"rest", 12}),
		says:   []string{"9", "52k"},
	},
}

// TestKinds draws each form. EVERGREEN_SCREENSHOTS names a folder that keeps them.
func TestKinds(t *testing.T) {
	r := New(Config{})
	for _, k := range kinds {
		for _, theme := range []string{Light, Dark} {
			if theme == Dark && os.Getenv("EVERGREEN_SCREENSHOTS") == "" {
				continue // the same but for its colours
			}
			spec := with(map[string]any{"id": k.name, "kind": k.kind, "title": k.name, "unit": "", "names": row{}, "order": []string{}}, nil)
			s, err := json.Marshal(with(spec, k.spec))
			if err != nil {
				t.Fatal(err)
			}
			a, err := json.Marshal(k.answer)
			if err != nil {
				t.Fatal(err)
			}
			j := Job{Kind: k.kind, Spec: s, Answer: a, Theme: theme, Width: 640, Height: 320}
			svg, err := r.SVG(t.Context(), j)
			if err != nil {
				t.Errorf("%s: %v", k.name, err)
				continue
			}
			if dir := os.Getenv("EVERGREEN_SCREENSHOTS"); dir != "" {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("form-%s-%s.svg", k.name, theme)), svg, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			said := texts(t, svg)
			for _, want := range k.says {
				if !slices.ContainsFunc(said, func(s string) bool {
					return strings.Contains(strings.ReplaceAll(s, "\u202f", ""), strings.ReplaceAll(want, "\u202f", ""))
				}) {
					t.Errorf("%s says %q, without %q", k.name, said, want)
				}
			}
			for _, not := range k.not {
				if slices.Contains(said, not) {
					t.Errorf("%s says %q", k.name, not)
				}
			}
			if strings.Contains(string(svg), "NaN") || strings.Contains(string(svg), "undefined") {
				t.Errorf("%s has places that are no numbers:\n%s", k.name, svg)
			}
		}
	}
}
