package dashboard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// The SQL of a chart asks the open data set (docs/dataset.md) what the chart
// asks the rollups. It is DuckDB's. The numbers are the same but for what
// the data set leaves out: hours that are not over, and groups that are too
// small there, which are added up in rows without a value.

// publishedQuantiles are those that the data set's rows have.
var publishedQuantiles = []float64{0.1, 0.25, 0.5, 0.75, 0.9, 0.99}

// maxHourFiles is up to how many files of hours, one a day, are asked; longer
// times are asked by day.
const maxHourFiles = 31

// published is the grain of the files that answer a.
func published(a question) store.Grain {
	if a.grain == store.Day || a.to.Sub(a.from) > maxHourFiles*24*time.Hour {
		return store.Day
	}
	return store.Hour
}

// publishedFiles are the paths of the files that hold a span, below the folder
// of the data set.
func publishedFiles(m *wire.Metric, g store.Grain, from, to time.Time) []string {
	var paths []string
	layout, next := "2006-01-02", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }
	at := from.UTC().Truncate(24 * time.Hour)
	if g == store.Day {
		layout, next = "2006-01", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }
		at = at.AddDate(0, 0, 1-at.Day())
	}
	for ; at.Before(to); at = next(at) {
		paths = append(paths, "v1/"+g.String()+"/"+m.Name+"/"+at.Format(layout)+".parquet")
	}
	return paths
}

// filesSQL is a table of files at URLs below base.
func filesSQL(base string, paths []string) string {
	var b strings.Builder
	b.WriteString("read_parquet([")
	for i, p := range paths {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n  " + text(base+p))
	}
	b.WriteString("\n])")
	return b.String()
}

// sql is a's question to a table of the data set's rows, as DuckDB writes it.
func (a question) sql(from string) string {
	var by, comments []string
	if a.byTime {
		by = append(by, "time")
	}
	for _, w := range a.words() {
		switch w {
		case "value":
			by = append(by, "value AS "+identifier(a.facet.String()))
		case "label":
			by = append(by, identifier(a.metric.Label))
		default:
			by = append(by, identifier(dataColumn(w)))
		}
	}
	where := []string{"facet = " + text(a.facet.String())}
	if len(a.values) > 0 {
		where = append(where, in("value", a.values))
	}
	if len(a.labels) > 0 {
		where = append(where, in(identifier(a.metric.Label), a.labels))
	}
	for i, dim := range a.metric.Dims {
		if vs, ok := a.where[i]; ok {
			var names []string
			for _, v := range vs {
				names = append(names, dim.ValueName(v))
			}
			where = append(where, in(identifier(dataColumn(dim.Name)), names))
		}
	}
	const layout = "2006-01-02 15:04:05+00"
	g := published(a)
	span := []string{
		"time >= TIMESTAMPTZ " + text(g.Start(a.from).Format(layout)),
		"time < TIMESTAMPTZ " + text(a.to.UTC().Format(layout)),
	}
	const n = "count"
	count := "sum(" + n + ")::DOUBLE AS events"
	switch {
	case a.metric.Kind == wire.KindDistinct && !a.byTime:
		count = "max(" + n + ")::DOUBLE AS instances"
		comments = append(comments, "Different instances of several periods can't be added up: this is the most in one.")
	case a.metric.Kind == wire.KindInstances && !a.byTime:
		count = strings.Replace(count, "events", "instances", 1)
		comments = append(comments, "An instance counts once in a period: only the newest is asked.")
	}
	columns := append(slices.Clone(by), count)
	for _, q := range a.quantiles {
		p := nearestPublished(q)
		name := quantileName(p)
		columns = append(columns, fmt.Sprintf("round(sum(%s * %s) / sum(%s), 1) AS %s", name, n, n, name))
	}
	if len(a.quantiles) > 0 {
		comments = append(comments, "Quantiles of several rows can't be merged: these are their means, weighed by what each row counts.")
	}
	if len(a.words()) > 0 && !a.filtered {
		comments = append(comments, "Groups that are too small to be published are together in rows without a value.")
	}
	var b strings.Builder
	for _, c := range comments {
		b.WriteString("-- " + c + "\n")
	}
	b.WriteString("SELECT " + strings.Join(columns, ", ") + "\nFROM " + from + "\nWHERE " + strings.Join(append(where, span...), "\n  AND "))
	if a.metric.Kind == wire.KindInstances && !a.byTime {
		b.WriteString("\n  AND time = (SELECT max(time) FROM " + from + " WHERE " + strings.Join(append(slices.Clone(where[:1]), span...), " AND ") + ")")
	}
	if len(by) > 0 {
		b.WriteString("\nGROUP BY ALL\nORDER BY ")
		if a.byTime {
			b.WriteString("time, ")
		}
		b.WriteString(strconv.Itoa(len(by)+1) + " DESC")
	}
	return b.String()
}

// nearestPublished is the quantile nearest to q of those that are published.
func nearestPublished(q float64) float64 {
	best := publishedQuantiles[0]
	for _, p := range publishedQuantiles {
		if max(p-q, q-p) < max(best-q, q-best) {
			best = p
		}
	}
	return best
}

// text is s as a string of SQL.
func text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// identifier is s as a name of SQL.
func identifier(s string) string { return strconv.Quote(s) }

func in(column string, values []string) string {
	if len(values) == 1 {
		return column + " = " + text(values[0])
	}
	var quoted []string
	for _, v := range values {
		quoted = append(quoted, text(v))
	}
	return column + " IN (" + strings.Join(quoted, ", ") + ")"
}
