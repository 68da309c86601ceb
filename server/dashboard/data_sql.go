package dashboard

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/andybalholm/brotli"

	"github.com/caddy-evergreen/evergreen/wire"
)

// The page of SQL runs DuckDB in the reader's browser, over the files of the
// data set, which it reads by ranges. The query stays there: a link carries it
// in its fragment, which browsers don't send.
//
// # What a hostile query can't do
//
// The engine is a worker with a Content-Security-Policy of its own, which lets
// it fetch nothing but the data set and itself: not the reader's other pages
// here, no other host. Its files are in memory. Its memory is bounded where
// WebAssembly grows it (web/src/sqlworker.ts), its time by the page, which ends the
// worker, and its rows by how many are fetched from it (web/src/sql.ts).
//
// # The engine
//
// It is the npm package @duckdb/duckdb-wasm, unchanged, which `make web` compares
// with what is here. assets/vendor has its WebAssembly compressed with brotli
// (2.6 of 18 MB). It is checked in as the other built assets are, so that a build
// with Go alone has all pages; other ways would make the page depend on another host,
// or on Node at build time.

// sqlLink is the page of SQL with a query in it. A query may call the data
// set's tables day."METRIC" and hour."METRIC", or name files:
// read_parquet('/dataset/v1/day/METRIC/2026-11.parquet').
func sqlLink(query string) string {
	return "/data/sql#q=" + strings.ReplaceAll(url.QueryEscape(query), "+", "%20")
}

// An sqlBody fills sql.html.
type sqlBody struct {
	Publishes bool
	Questions []sqlQuestion
	Tables    []sqlTable
}

// An sqlQuestion is one to begin with.
type sqlQuestion struct{ Title, SQL string }

// Link is the page with the question's query.
func (q sqlQuestion) Link() string { return sqlLink(q.SQL) }

// An sqlTable is a metric as a table.
type sqlTable struct {
	Metric, Doc string
	Columns     []string
}

func (d *Dashboard) sqlPage(w http.ResponseWriter, r *http.Request) error {
	if err := plainURL(r); err != nil {
		return err
	}
	m, err := d.manifest()
	if err != nil {
		return err
	}
	body := sqlBody{}
	if m != nil {
		body.Questions = answerable(m.Files)
		body.Publishes = len(body.Questions) > 0
		for _, t := range dataTables(m.Files) {
			body.Tables = append(body.Tables, sqlTable{t.Metric, t.Doc, dataColumns(wire.MetricByName(t.Metric))})
		}
	}
	w.Header().Set("Content-Security-Policy", contentSecurityPolicy+"; worker-src 'self'")
	return d.render(w, r, "sql.html", page{Title: "SQL", Path: "/data/sql", Style: "data.css", Body: body}, http.StatusOK)
}

var sqlTableName = regexp.MustCompile(`(day|hour)\."([a-z0-9_.]+)"`)

// answerable are the questions whose tables there are.
func answerable(files []dataFile) []sqlQuestion {
	has := map[string]bool{}
	for _, f := range files {
		has[f.Grain+" "+f.Metric] = true
	}
	var questions []sqlQuestion
	for _, q := range sqlQuestions {
		if t := sqlTableName.FindStringSubmatch(q.SQL); t != nil && has[t[1]+" "+t[2]] {
			questions = append(questions, q)
		}
	}
	return questions
}

// dataColumns are those of a metric's tables.
func dataColumns(m *wire.Metric) []string {
	columns := []string{"time", "facet", "value"}
	for _, dim := range m.Dims {
		columns = append(columns, dataColumn(dim.Name))
	}
	if m.Label != "" {
		columns = append(columns, m.Label)
	}
	columns = append(columns, "rest", "groups", "count")
	if m.Kind == wire.KindHistogram || m.Kind == wire.KindPeak {
		columns = append(columns, "p10", "p25", "p50", "p75", "p90", "p99")
	}
	return columns
}

// dataColumn is the column of the data set for a dimension: its name, but for
// the one that would be called as what is counted.
func dataColumn(dimension string) string {
	if dimension == "count" {
		return "class"
	}
	return dimension
}

const vendorFolder = "assets/vendor"

// engine serves the worker and the WebAssembly that it runs.
func (d *Dashboard) engine(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	switch name := r.PathValue("name"); name {
	case "worker.js":
		b, err := d.assets.read(distFolder + "/sqlworker.js")
		if err != nil {
			return err
		}
		h.Set("Content-Security-Policy", engineSecurityPolicy(r.Host))
		send(w, r, "text/javascript; charset=utf-8", b, "no-cache")
		return nil
	case "licences.txt":
		b, err := d.assets.read(vendorFolder + "/" + name)
		if err != nil {
			return err
		}
		send(w, r, "text/plain; charset=utf-8", b, "no-cache")
		return nil
	case "duckdb-eh.wasm":
		return d.sendVendored(w, r, name, "application/wasm")
	}
	return d.missing(w, r)
}

// engineSecurityPolicy is the worker's. Paths need a host in front of them;
// one that can't be written there gets the whole of its origin.
func engineSecurityPolicy(host string) string {
	from := "'self'"
	if hostName.MatchString(host) && !strings.HasPrefix(host, "[") {
		from = host + "/dataset/ " + host + "/data/engine/"
	}
	return "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src " + from + "; base-uri 'none'; form-action 'none'"
}

// sendVendored sends a file that is kept compressed with brotli, and only that.
func (d *Dashboard) sendVendored(w http.ResponseWriter, r *http.Request, name, mediaType string) error {
	f, err := d.assets.fsys.Open(vendorFolder + "/" + name + ".br")
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if r.URL.RawQuery != "" {
		h.Set("Cache-Control", "public, max-age=31536000, immutable") // its version is in the address
	}
	var body io.Reader = f
	if accepts(r, "br") {
		h.Set("Content-Encoding", "br")
		h.Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	} else {
		body = brotli.NewReader(f)
	}
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := io.Copy(w, body); err != nil && r.Context().Err() == nil {
		return fmt.Errorf("sending %s: %w", name, err)
	}
	return nil
}

// accepts tells whether a response may be in an encoding.
func accepts(r *http.Request, encoding string) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.TrimSpace(name) == encoding {
			q := strings.TrimPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
			n, err := strconv.ParseFloat(q, 64)
			return q == "" || err == nil && n > 0
		}
	}
	return false
}
