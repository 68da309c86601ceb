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
