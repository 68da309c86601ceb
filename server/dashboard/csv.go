package dashboard

import (
	"bytes"
	"encoding/csv"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Answers as comma-separated values (RFC 4180): /api/v1/query.csv and its
// siblings take the parameters that the JSON takes, and give its rows. The
// first line names the columns: time, what rows are told apart by, what kind a
// row is (rest, suppressed; empty is a group), the count, and the sum and
// quantiles of histograms.
//
// A text that a spreadsheet would take for a formula has an apostrophe put
// before it: labels are what instances send.

// csvPath is where the answer at a path of the API is as CSV.
func csvPath(href string) string {
	path, q, _ := strings.Cut(href, "?")
	return path + ".csv?" + q
}

func (d *Dashboard) apiQueryCSV(w http.ResponseWriter, r *http.Request) error {
	return d.apiAnswerCSV(w, r, false)
}

func (d *Dashboard) apiQuantilesCSV(w http.ResponseWriter, r *http.Request) error {
	return d.apiAnswerCSV(w, r, true)
}

func (d *Dashboard) apiAnswerCSV(w http.ResponseWriter, r *http.Request, quantiles bool) error {
	a, ans, err := d.request(r, func(q url.Values) (question, error) { return d.parseQuestion(q, quantiles) })
	if err != nil {
		return err
	}
	return sendCSV(w, r, ans.Metric, ans.table(a))
}

// apiDerivedCSV answers v's path.
func (d *Dashboard) apiDerivedCSV(v *derivation) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		a, ans, err := d.request(r, func(q url.Values) (question, error) { return v.question(d, q) })
		if err != nil {
			return err
		}
		return sendCSV(w, r, strings.Trim(v.path, "/"), ans.table(a))
	}
}

func (d *Dashboard) apiInterceptionCSV(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	in, err := d.interceptionIn(r.Context(), q)
	if err != nil {
		return err
	}
	return sendCSV(w, r, in.Metric, in.table())
}

// table is an answer as lines of cells, the first the columns' names.
func (ans *Answer) table(a question) [][]string {
	words := a.words()
	var head []string
	if a.byTime {
		head = append(head, "time")
	}
	for _, w := range words {
		switch w {
		case "value":
			w = a.facet.String()
		case "label":
			w = a.metric.Label
		}
		head = append(head, w)
	}
	head = append(head, "row", "count")
	sums := slices.ContainsFunc(ans.Rows, func(r Row) bool { return r.Sum != nil })
	if sums {
		head = append(head, "sum")
	}
	for _, q := range a.quantiles {
		head = append(head, quantileName(q))
	}
	lines := [][]string{head}
	for _, r := range ans.Rows {
		var line []string
		if a.byTime {
			line = append(line, r.Time.Format(time.RFC3339))
		}
		for _, w := range words {
			line = append(line, harmless(r.Group[w]))
		}
		kind := ""
		switch {
		case r.Rest:
			kind = "rest"
		case r.Suppressed:
			kind = "suppressed"
		}
		line = append(line, kind, strconv.FormatUint(r.Count, 10))
		if sums {
			cell := ""
			if r.Sum != nil {
				cell = strconv.FormatUint(*r.Sum, 10)
			}
			line = append(line, cell)
		}
		for i := range a.quantiles {
			cell := ""
			if i < len(r.Quantiles) {
				cell = decimal(r.Quantiles[i])
			}
			line = append(line, cell)
		}
		lines = append(lines, line)
	}
	return lines
}

// table is the same of estimates.
func (in *Interception) table() [][]string {
	var head []string
	if in.By != "" {
		head = append(head, in.By)
	}
	lines := [][]string{append(head, "consistent", "inconsistent", "unknown", "share", "low", "high")}
	for _, r := range in.Rows {
		var line []string
		switch {
		case r.Time != nil:
			line = append(line, r.Time.Format(time.RFC3339))
		case r.Group != nil:
			line = append(line, harmless(*r.Group))
		}
		for _, n := range []uint64{r.Consistent, r.Inconsistent, r.Unknown} {
			line = append(line, strconv.FormatUint(n, 10))
		}
		if e := r.Estimate; e != nil {
			line = append(line, decimal(e.Share), decimal(e.Low), decimal(e.High))
		} else {
			line = append(line, "", "", "")
		}
		lines = append(lines, line)
	}
	return lines
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// harmless is a text that no spreadsheet runs.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// sendCSV sends lines as a file of that name.
func sendCSV(w http.ResponseWriter, r *http.Request, name string, lines [][]string) error {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	if err := out.WriteAll(lines); err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", `attachment; filename="`+url.PathEscape(name)+`.csv"`)
	send(w, r, "text/csv; charset=utf-8", b.Bytes(), "public, max-age=5")
	return nil
}
