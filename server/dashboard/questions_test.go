package dashboard

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

const questionsDoc = "../../docs/questions.md"

// TestQuestions: each question is answered by charts that are there, each
// chart answers a question, and the document says the same.
func TestQuestions(t *testing.T) {
	ids := map[string]bool{}
	answered := map[string]bool{}
	for _, c := range charts {
		ids[c.ID] = true
	}
	d := &Dashboard{cfg: Config{Timing: wire.DefaultTiming}}
	d.cfg.Now = func() time.Time { return testNow }
	for _, q := range questions {
		if len(q.Charts) == 0 || q.Title == "" || q.Doc == "" {
			t.Errorf("%s has no answer", q.ID)
		}
		for _, c := range q.Charts {
			if !ids[c] {
				t.Errorf("%s: there is no chart %s", q.ID, c)
			}
			answered[c] = true
		}
		for _, l := range q.lines() {
			i := slices.IndexFunc(charts, func(c chart) bool { return strings.HasSuffix(l.Chart, "#chart-"+c.ID) })
			if i < 0 { // a list
				if u, err := url.Parse(l.Query); err != nil || !slices.ContainsFunc(d.table(), func(r route) bool { return r.path == u.Path }) {
					t.Errorf("%s: %s is no path of the API (%v)", q.ID, l.Query, err)
				}
				continue
			}
			if _, err := d.question(&charts[i], l.Query); err != nil {
				t.Errorf("%s: %s: %v", q.ID, l.Query, err)
			}
		}
	}
	for id := range ids {
		if !answered[id] {
			t.Errorf("chart %s answers no question", id)
		}
	}

	var b bytes.Buffer
	b.WriteString(`# Questions

What the data set is for: each question with the metrics that are counted for it, the charts that answer it (paths of a
service's pages), and the query that gives a chart's numbers (paths of its API; ` + "`range`" + ` may be 1h, 24h, 7d, 30d, 90d or all).
What a metric counts exactly stands in the [dictionary](dictionary.md).

The same table is on a service's own page ` + "`/questions`" + `. This document is made of it: ` + "`go test ./server/dashboard -run TestQuestions -update`" + `.
`)
	for _, q := range questions {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| what | metric | chart | query |\n| --- | --- | --- | --- |\n", q.Title, q.Doc)
		for _, l := range q.lines() {
			query, err := url.PathUnescape(l.Query)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "| %s | [`%s`](dictionary.md) | `%s` | `%s` |\n", l.Title, l.Metric, l.Chart, query)
		}
	}
	if *Update {
		if err := os.WriteFile(questionsDoc, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	doc, err := os.ReadFile(questionsDoc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(doc), b.String()); diff != "" {
		t.Errorf("docs/questions.md is not what the table says (-update writes it anew): %s", diff)
	}
}

// TestIssueQuestions: each thing that the data set was to tell is answered by a
// chart, under a question of its own.
func TestIssueQuestions(t *testing.T) {
	for question, things := range map[string]map[string]string{
		"hellos": {
			"legacy version": "hello-legacy", "supported versions": "hello-versions", "cipher suites": "hello-suites", "groups": "hello-groups",
			"key shares": "hello-key-shares", "signature schemes": "hello-schemes", "ALPN": "hello-alpn", "extensions": "hello-extensions",
			"compression methods": "hello-compression", "certificate compression": "hello-certificate-compression",
			"GREASE, ECH, 0-RTT, PSK, SNI per client family": "hello-features", "JA4": "fingerprints", "distinct unknown JA4": "fingerprints-unknown",
		},
		"negotiated": {
			"version": "tls", "suite": "ciphers", "group": "groups", "ALPN": "alpn", "HelloRetryRequest": "retries", "resumption": "resumption",
			"certificate type and key size served": "served", "OCSP staple": "staples", "time to complete": "handshake-time", "bytes": "handshake-bytes",
			"0-RTT accepted": "adoption-clients",
		},
		"failures":     {"causes": "failure-causes", "alerts by number and side": "alerts", "by library, where no family is known": "failure-libraries"},
		"certificates": {"how managed, by issuer": "held", "obtained, renewed": "issued-occasions", "failed": "issuance-causes", "OCSP state": "held-ocsp", "days to expiry": "held-days", "key types": "held-keys", "SAN count classes": "held-names", "chain length, mean": "chain-length", "chain length, distribution": "chain-lengths"},
		"interception": {"by client family, corrected": "intercepted-clients", "by country, corrected": "intercepted-countries", "interceptor's kind": "interceptors", "verdicts": "verdicts"},
		"hsts":         {"by client family": "hsts-plain"},
		"adoption":     {"of connections": "adoption", "of requests": "adoption-requests", "by client family": "adoption-clients", "by country": "adoption-countries"},
		"attacks":      {"incidents by kind": "incident-kinds", "size": "incident-events", "length": "incident-durations", "sources": "incident-sources", "who is attacked": "incident-countries", "behaviours": "behaviour", "classes of scans": "scans", "networks": "incident-networks"},
		"inside":       {"by logger": "loggers", "by module": "error-handlers", "panics": "panics", "config loads failed": "config-loads", "upstream failures": "upstream-kinds", "ACME errors by problem type": "issuance-causes", "storage": "storage-errors", "descriptors": "no-descriptors", "goroutines": "goroutines", "heap": "heap", "GC pauses": "gc-pauses"},
		"releases":     {"failures by version": "version-errors"},
		"safe":         {"versions": "versions"},
	} {
		i := slices.IndexFunc(questions, func(q asked) bool { return q.ID == question })
		if i < 0 {
			t.Errorf("there is no question %s", question)
			continue
		}
		for thing, chart := range things {
			if !slices.Contains(questions[i].Charts, chart) {
				t.Errorf("%s: no %s tells the %s", question, chart, thing)
			}
		}
	}
}

// notShown are the metrics without a chart, each with its reason.
var notShown = map[wire.MetricID]string{
	wire.InstancesPlatform:   "charts of instances.active by facet say it of different instances over a whole range; this counts those of each period",
	wire.InstancesDeployment: "as the platform",
}

// TestEveryMetricIsShown: what is counted is on a page.
func TestEveryMetricIsShown(t *testing.T) {
	shown := map[wire.MetricID]bool{}
	for _, c := range charts {
		shown[c.Metric], shown[c.Base] = true, true
	}
	for _, m := range wire.Metrics() {
		switch reason := notShown[m.ID]; {
		case shown[m.ID] && reason != "":
			t.Errorf("%s is shown, and said not to be since %s", m.Name, reason)
		case !shown[m.ID] && reason == "":
			t.Errorf("%s is on no chart: add one in charts_*.go, or say in notShown why not", m.Name)
		}
	}
}
