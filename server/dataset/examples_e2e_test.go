//go:build e2e

package dataset

import (
	"database/sql"
	"encoding/csv"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

const examples = "../../docs/examples/dataset/"

// TestE2EExamples publishes a data set over HTTP, and has the programs of the
// documentation read it, in the languages that are at hand: all get the numbers
// that were published.
func TestE2EExamples(t *testing.T) {
	c := Config{
		Store: newFleet(3), Folder: filepath.Join(t.TempDir(), "data"), State: t.TempDir(), Key: key(t), Name: "test",
		Now: func() time.Time { return day0.AddDate(0, 0, 4) },
	}
	p := open(t, c)
	publish(t, p)
	srv := httptest.NewServer(http.StripPrefix("/dataset/", http.FileServerFS(os.DirFS(c.Folder))))
	defer srv.Close()

	want := map[string]string{}
	sums := map[string]uint64{}
	for day := range 3 {
		rows, err := readReleased(p.releasedFile(day0.AddDate(0, 0, day)))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows[wire.MetricByID(wire.HTTPRequests).Name] {
			if r.Facet == wire.All && !r.Rest {
				sums[r.Time.UTC().Format(time.DateOnly)+" "+r.Dims[0]] += r.Count
			}
		}
	}
	for k, n := range sums {
		want[k] = fmt.Sprint(n)
	}
	if len(want) != 3 {
		t.Fatalf("published: %v", want)
	}

	run := func(name string, needs []string, command ...string) {
		if out, err := exec.Command(needs[0], needs[1:]...).CombinedOutput(); err != nil {
			t.Logf("%s is not at hand here, and its example was not run: %v: %s", name, err, last(string(out)))
			return
		}
		cmd := exec.Command(command[0], append(command[1:], srv.URL)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v: %s", name, err, stderr.String())
			return
		}
		got := map[string]string{}
		lines, err := csv.NewReader(strings.NewReader(string(out))).ReadAll()
		if err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
			return
		}
		for _, l := range lines[1:] {
			got[l[0]+" "+l[1]] = l[2]
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s reads other numbers:\n%s", name, diff)
			return
		}
		t.Logf("%s reads what was published", name)
	}
	// Distributions have pandas for their own Python, which another may hide.
	python := "python3"
	if _, err := exec.LookPath("/usr/bin/python3"); err == nil {
		python = "/usr/bin/python3"
	}
	run("Go", []string{"go", "version"}, "go", "run", "./example")
	run("Python", []string{python, "-c", "import pandas, zstandard"}, python, examples+"read.py")
	run("R", []string{"Rscript", "-e", "library(jsonlite); stopifnot(nzchar(Sys.which('curl')), nzchar(Sys.which('zstd')))"}, "Rscript", examples+"read.R")

	// The engine of this module has no httpfs, which DuckDB's command line loads:
	// the same statements, over the folder.
	b, err := os.ReadFile(examples + "read.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // the variable is a connection's
	statements := strings.Split(strings.ReplaceAll(string(b), "https://SERVICE/dataset", c.Folder), ";\n")
	if _, err := db.Exec("SET TimeZone = 'UTC'"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(statements[0]); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query(statements[1])
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := map[string]string{}
	for rows.Next() {
		var day, protocol string
		var n uint64
		if err := rows.Scan(&day, &protocol, &n); err != nil {
			t.Fatal(err)
		}
		got[day+" "+protocol] = fmt.Sprint(n)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("DuckDB reads other numbers (%v):\n%s", slices.Sorted(maps.Keys(got)), diff)
	}
}

func last(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
