package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A dataManifest is what the pages tell of the data set's manifest, whose
// format package dataset documents.
type dataManifest struct {
	Layout      int        `json:"layout"`
	Method      int        `json:"method"`
	Name        string     `json:"name"`
	Service     string     `json:"service"`
	Licence     string     `json:"licence"`
	Attribution string     `json:"attribution"`
	Simulated   bool       `json:"simulated"`
	Generated   time.Time  `json:"generated"`
	Rule        dataRule   `json:"rule"`
	Files       []dataFile `json:"files"`
	Days        []dataLoss `json:"days"`
	Reprocessed []dataRedo `json:"reprocessed"`
	Reprocess   *dataRedo  `json:"reprocessing"`
	Withheld    []string   `json:"withheld"`
}

type dataRule struct {
	MinInstances uint64  `json:"min_instances"`
	MinEvents    uint64  `json:"min_events"`
	MaxShare     float64 `json:"max_share"`
}

type dataFile struct {
	Path   string    `json:"path"`
	Format string    `json:"format"`
	Metric string    `json:"metric"`
	Grain  string    `json:"grain"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Rows   int       `json:"rows"`
	Size   int64     `json:"size"`
}

type dataLoss struct {
	Day    string  `json:"day"`
	Hours  float64 `json:"hours"`
	Days   float64 `json:"days"`
	Values float64 `json:"values"`
	Late   float64 `json:"late"`
}

type dataRedo struct {
	At   time.Time `json:"at"`
	From string    `json:"from"`
	To   string    `json:"to"`
	Why  string    `json:"why"`
}

// manifest reads what is published now; nil if nothing is, yet or at all.
func (d *Dashboard) manifest() (*dataManifest, error) {
	if d.cfg.DataSet == nil {
		return nil, nil
	}
	b, err := fs.ReadFile(d.cfg.DataSet, "manifest.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the data set's manifest: %w", err)
	}
	var m dataManifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("reading the data set's manifest: %w", err)
	}
	return &m, nil
}

// A dataBody fills data.html.
type dataBody struct {
	Manifest   *dataManifest // nil: nothing is published yet
	Publishes  bool
	Service    string // where this page is, as its examples have it: "https://example.org"
	Span       string
	Hours      string // until when there are hours
	Files      int
	Size       string
	Key        string
	LicenceURL string
	Examples   []dataExample
	Tables     []dataTable
	Loss       []dataLossLine
	MoreDays   int
}

// A dataTable is a metric's files: the newest, and how many there are.
type dataTable struct {
	Metric, Doc string
	Day, Hour   dataTableFiles
}

type dataTableFiles struct {
	Parquet, CSV string // paths of the newest
	Rows         string // in it
	From         string // of the oldest
	Files        int
}

type dataLossLine struct{ Day, Hours, Days, Values, Late string }

const maxLossLines = 14

func (d *Dashboard) dataPage(w http.ResponseWriter, r *http.Request) error {
	if err := plainURL(r); err != nil {
		return err
	}
	m, err := d.manifest()
	if err != nil {
		return err
	}
	body := dataBody{Manifest: m, Publishes: d.cfg.DataSet != nil, Service: service(r, m)}
	if m != nil {
		body.Files = len(m.Files)
		body.LicenceURL = licenceURL(m.Licence)
		var size int64
		var from, to time.Time
		for _, f := range m.Files {
			size += f.Size
			if from.IsZero() || f.From.Before(from) {
				from = f.From
			}
			if f.To.After(to) {
				to = f.To
			}
		}
		body.Size = join(amount(float64(size), wire.Bytes))
		if !from.IsZero() {
			body.Span, body.Hours = from.Format("2 January 2006")+" to "+to.Add(-time.Second).Format("2 January 2006"), to.Format("15:04 on 2 January")
		}
		if key, err := fs.ReadFile(d.cfg.DataSet, "key.pub"); err == nil {
			lines := strings.Split(strings.TrimSpace(string(key)), "\n")
			body.Key = lines[len(lines)-1]
		}
		body.Tables = dataTables(m.Files)
		for _, l := range slices.Backward(m.Days) {
			if len(body.Loss) == maxLossLines {
				body.MoreDays = len(m.Days) - maxLossLines
				break
			}
			body.Loss = append(body.Loss, dataLossLine{l.Day, percent(l.Hours), percent(l.Days), percent(l.Values), percent(l.Late)})
		}
	}
	if body.Examples, err = d.dataExamples(body.Service); err != nil {
		return err
	}
	return d.render(w, r, "data.html", page{Title: "Data", Path: "/data", Style: "data.css", Body: body}, http.StatusOK)
}

// dataTables are the metrics' files in the dictionary's order.
func dataTables(files []dataFile) []dataTable {
	byMetric := map[string]*dataTable{}
	newest := map[string]time.Time{}
	for _, f := range files {
		t := byMetric[f.Metric]
		if t == nil {
			t = &dataTable{Metric: f.Metric}
			byMetric[f.Metric] = t
		}
		in := &t.Hour
		if f.Grain == "day" {
			in = &t.Day
		}
		if f.Format == "parquet" {
			in.Files++
			if from := f.From.Format("2006-01-02"); in.From == "" || from < in.From {
				in.From = from
			}
		}
		if f.From.Before(newest[f.Grain+f.Metric+f.Format]) {
			continue
		}
		newest[f.Grain+f.Metric+f.Format] = f.From
		if f.Format == "parquet" {
			in.Parquet, in.Rows = f.Path, whole(uint64(f.Rows))
		} else {
			in.CSV = f.Path
		}
	}
	var tables []dataTable
	for _, m := range wire.Metrics() {
		if t := byMetric[m.Name]; t != nil {
			t.Doc = m.Doc
			tables = append(tables, *t)
		}
	}
	return tables
}

var hostName = regexp.MustCompile(`^([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$`)

// service is the address that the examples are written with: where the reader is.
func service(r *http.Request, m *dataManifest) string {
	if hostName.MatchString(r.Host) {
		scheme := "http"
		if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
			scheme = "https"
		}
		return scheme + "://" + r.Host
	}
	if m != nil && m.Service != "" {
		return strings.TrimSuffix(m.Service, "/")
	}
	return "https://SERVICE"
}

// licenceURL is where a licence of which a data set may be is to be read.
func licenceURL(spdx string) string {
	switch spdx {
	case "CC-BY-4.0":
		return "https://creativecommons.org/licenses/by/4.0/"
	case "CC0-1.0":
		return "https://creativecommons.org/publicdomain/zero/1.0/"
	}
	return "https://spdx.org/licenses/" + spdx + ".html"
}

// A dataExample reads the data set in one language.
type dataExample struct{ Language, Needs, File, Code string }

var dataLanguages = []dataExample{
	{Language: "Python", Needs: "pandas and zstandard", File: "read.py"},
	{Language: "R", Needs: "jsonlite, curl and zstd", File: "read.R"},
	{Language: "DuckDB", Needs: "its command line, and httpfs, which it loads by itself", File: "read.sql"},
	{Language: "Go", Needs: "github.com/parquet-go/parquet-go", File: "read.go"},
}

// dataExamples are the programs of docs/examples/dataset and dataset/example, for
// this service.
func (d *Dashboard) dataExamples(service string) ([]dataExample, error) {
	examples := slices.Clone(dataLanguages)
	for i := range examples {
		b, err := d.assets.read("examples/" + examples[i].File + ".txt")
		if err != nil {
			return nil, err
		}
		examples[i].Code = strings.ReplaceAll(string(b), "https://SERVICE", service)
	}
	return examples, nil
}
