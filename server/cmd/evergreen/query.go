package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
)

const queryAbout = `Usage: evergreen query [FLAGS] METRIC [PARAMETER=VALUE …]
       evergreen query --find WORDS

Asks a service for the numbers that its charts show, as /api/v1/query does, or,
with the parameter q, /api/v1/quantiles. Parameters are those of the API, and
may be given again where the API takes them again:

  by=time,protocol   what rows are told apart by: time, a facet's value, a
                     label, and the metric's dimensions
  range=24h          1h, 24h, 7d, 30d, 90d or all; or from=… and to=…
  grain=hour         window, hour or day
  where.status=404   only rows with this value of a dimension
  facet=country      which facet's sums; value=DE chooses among its values
  filter=country:DE  only instances of one country, platform, version or
                     deployment
  limit=10           how many groups; the rest is one more
  q=0.5,0.99         quantiles of a histogram

--find searches metrics, dimensions, values, charts, versions and countries.

  evergreen query http.requests by=time,protocol range=7d
  evergreen query http.duration by=protocol q=0.5,0.9,0.99
  evergreen query instances.active facet=country by=value range=30d --format csv
  evergreen query --find "post-quantum"`

// queryCommand prints answers of a service's public API.
func queryCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("query", queryAbout, stderr)
	var c client
	c.readFlags(fs)
	format := fs.String("format", "table", "how to print: `table, csv or json`")
	find := fs.String("find", "", "search for these `WORDS` instead")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"table", "csv", "json"}, *format) {
		return fmt.Errorf("--format is %q: it is table, csv or json: %w", *format, errUsage)
	}
	if *find != "" {
		if len(rest) > 0 {
			return fmt.Errorf("--find takes no argument %q: %w", rest[0], errUsage)
		}
		return c.find(ctx, stdout, *find, *format)
	}
	q, err := queryParams(rest)
	if err != nil {
		return err
	}
	path := "/api/v1/query"
	if q.Has("q") {
		path = "/api/v1/quantiles"
	}
	var raw json.RawMessage
	if err := c.get(ctx, path, q, &raw); err != nil {
		return err
	}
	if *format == "json" {
		return printJSON(stdout, raw)
	}
	var a dashboard.Answer
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("reading the service's answer: %w", err)
	}
	if *format == "csv" {
		return writeCSV(stdout, &a)
	}
	return writeTable(stdout, stderr, &a)
}

// queryParams reads METRIC and PARAMETER=VALUE; METRIC may be one of these, too.
func queryParams(args []string) (url.Values, error) {
	q := url.Values{}
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if !ok {
			name, value = "metric", a
		}
		if name == "metric" && q.Has("metric") {
			return nil, fmt.Errorf("%q is one metric more than %q: ask for one at a time: %w", value, q.Get("metric"), errUsage)
		}
		q.Add(name, value)
	}
	if !q.Has("metric") {
		return nil, fmt.Errorf("name a metric, such as http.requests; `evergreen query --find WORDS` finds them: %w", errUsage)
	}
	return q, nil
}

func (c *client) find(ctx context.Context, w io.Writer, words, format string) error {
	var raw json.RawMessage
	if err := c.get(ctx, "/api/v1/search", url.Values{"q": {words}}, &raw); err != nil {
		return err
	}
	if format == "json" {
		return printJSON(w, raw)
	}
	var f dashboard.Found
	if err := json.Unmarshal(raw, &f); err != nil {
		return fmt.Errorf("reading the service's answer: %w", err)
	}
	if len(f.Hits) == 0 {
		if f.Nearest != "" {
			return fmt.Errorf("nothing is called that: did you mean %q?", printable(f.Nearest))
		}
		return errors.New("nothing is called that")
	}
	if format == "csv" {
		out := csv.NewWriter(w)
		out.Write([]string{"kind", "name", "text", "href"}) // Flush tells of errors
		for _, h := range f.Hits {
			out.Write([]string{h.Kind, h.Name, h.Text, h.Href})
		}
		out.Flush()
		return out.Error()
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(t, "KIND", "NAME", "TEXT")
	for _, h := range f.Hits {
		row(t, h.Kind, h.Name, h.Text)
	}
	return t.Flush()
}

// columns are an answer's, with the cells of its rows. Numbers are plain.
func columns(a *dashboard.Answer) (head []string, rows [][]string) {
	head = slices.Clone(a.By)
	sums := slices.ContainsFunc(a.Rows, func(r dashboard.Row) bool { return r.Sum != nil })
	head = append(head, "count")
	if sums {
		head = append(head, "sum")
	}
	for _, q := range a.Q {
		head = append(head, "p"+strconv.FormatFloat(100*q, 'g', 6, 64))
	}
	for _, r := range a.Rows {
		var cells []string
		for _, b := range a.By {
			switch {
			case b == "time" && r.Time != nil:
				cells = append(cells, r.Time.Format(time.RFC3339))
			case r.Rest:
				cells = append(cells, "(rest)")
			case r.Suppressed:
				cells = append(cells, "(suppressed)")
			default:
				cells = append(cells, r.Group[b])
			}
		}
		cells = append(cells, strconv.FormatUint(r.Count, 10))
		if sums && r.Sum != nil {
			cells = append(cells, strconv.FormatUint(*r.Sum, 10))
		} else if sums {
			cells = append(cells, "")
		}
		for _, q := range r.Quantiles {
			cells = append(cells, strconv.FormatFloat(q, 'f', -1, 64))
		}
		rows = append(rows, cells)
	}
	return head, rows
}

func writeCSV(w io.Writer, a *dashboard.Answer) error {
	out := csv.NewWriter(w)
	head, rows := columns(a)
	out.Write(head) // Flush tells of errors
	out.WriteAll(rows)
	out.Flush()
	return out.Error()
}

// writeTable says beside the table, on notes, what it is a table of.
func writeTable(w, notes io.Writer, a *dashboard.Answer) error {
	head, rows := columns(a)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	cells := make([]any, len(head))
	for i, h := range head {
		cells[i] = strings.ToUpper(h)
	}
	row(t, cells...)
	for _, r := range rows {
		for i := range cells {
			if cells[i] = ""; i < len(r) {
				cells[i] = r[i]
			}
		}
		row(t, cells...)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	unit := a.Unit
	if unit != "" {
		unit = " (" + unit + ")"
	}
	fmt.Fprintln(notes, printable(fmt.Sprintf("%s%s from %s to %s, by %s; complete until %s", a.Metric, unit,
		a.From.Format(time.RFC3339), a.To.Format(time.RFC3339), a.Grain, a.Complete.Format(time.RFC3339))))
	if a.Suppressed > 0 {
		fmt.Fprintf(notes, "%d groups of too few instances are not shown\n", a.Suppressed)
	}
	return nil
}
