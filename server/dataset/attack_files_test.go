package dataset

import (
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestAttackFiles is an attacker who has nothing but the files, of every hour in
// which they were published: all rows of all facets, of hours and of the day, are
// equations over what each country did in each hour. One country has a single
// instance, and some report late. No cell, no cell's day, and no two of them, may
// follow unless they pass; and what was reported late may not show.
func TestAttackFiles(t *testing.T) {
	rule := Rule{MinInstances: 5, MinEvents: 100, MaxShare: 0.6}
	published, hidden := 0, 0
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 3))
		a, f := smallFleet(r)
		now := day0
		c := Config{
			Store: f, Folder: t.TempDir(), State: t.TempDir(), Key: key(t), Rule: rule, Window: time.Hour,
			Delay: time.Minute, Now: func() time.Time { return now },
		}
		p := open(t, c)
		// The files after the day's first hours, and after the day.
		for _, now = range []time.Time{day0.Add(3*time.Hour + 2*time.Minute), day0.Add(24*time.Hour + 2*time.Minute)} {
			publish(t, p)
			published += a.read(t, c.Folder)
			late := f.rows[r.IntN(len(f.rows))]
			for late.Start >= day0.Add(3*time.Hour).Unix() {
				late = f.rows[r.IntN(len(f.rows))]
			}
			late.Count, late.Reports, late.Top = 100_000, 50, 2000
			f.add(late)
			f.sort()
		}
		for _, set := range a.candidates() {
			if rule.passes(wire.KindCounter, a.truth(set)) {
				continue
			}
			hidden++
			if a.follows(set) {
				t.Fatalf("seed %d: %v follows from the files: %+v", seed, set, a.truth(set))
			}
		}
	}
	if published < 500 || hidden < 1000 {
		t.Errorf("only %d numbers were published and %d had to be hidden: nothing is tested", published, hidden)
	}
}

// A fileAttack knows of each country's part of each status in each hour.
type fileAttack struct{ *attack }

// truth sums what instances did that have one country each, so that one of them
// gave at most as much as the greatest did, in each hour.
func (a fileAttack) truth(set []atom) *sum {
	hours := map[int]*sum{}
	for _, x := range set {
		if hours[x.hour] == nil {
			hours[x.hour] = newSum(1)
		}
		h := hours[x.hour]
		h.add(a.hours[x.hour][x.name], disjoint)
		h.second = 0
	}
	s := newSum(1)
	for _, h := range hours {
		s.later(h)
	}
	return s
}

// smallFleet is a day of which few hours have requests.
func smallFleet(r *rand.Rand) (fileAttack, *fleet) {
	f := &fleet{until: day0.AddDate(0, 0, 2)}
	hours := make([]groups, 24)
	countries := map[string]int{"LI": 1, "DE": 20 + r.IntN(40), "FR": 5 + r.IntN(20), "NZ": 2 + r.IntN(6), "": 1 + r.IntN(8)}
	for h := range hours {
		hours[h] = groups{}
		if h%6 > 1 {
			continue
		}
		for _, status := range []string{"200", "404", "500"} {
			for _, country := range []string{"", "DE", "FR", "LI", "NZ"} {
				if r.IntN(6) == 0 {
					continue
				}
				instances := max(countries[country]-r.IntN(5), 1)
				if status == "500" {
					instances = max(instances/8, 1)
				}
				events := uint64(instances) * uint64(5+r.IntN(80))
				row := store.Row{
					Key: store.Key{
						Grain: store.Hour, Start: day0.Add(time.Duration(h) * time.Hour).Unix(), Metric: wire.HTTPRequests, Facet: wire.Country, Value: country,
						Dims: wire.Dims{wire.Protocol.Value("http/2"), wire.Status.Value(status), wire.Role.Value("site")},
					},
					Count: events, Reports: uint32(instances), Top: min(events, 2*events/uint64(instances)),
				}
				f.add(row)
				s := newSum(1)
				s.row(row)
				hours[h][status+" "+country] = s
			}
		}
	}
	f.sort()
	return fileAttack{newAttack(hours)}, f
}

// read learns what the CSV files have, and returns how many numbers these are.
// Each must be the sum of what it says it is, as it was when it was published.
func (a fileAttack) read(t *testing.T, folder string) (numbers int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "v1", "*", "http.requests", "*.csv.zst"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range files {
		rows := readCSV(t, name)
		grain := strings.Split(name[len(folder)+1:], string(filepath.Separator))[1]
		in := func(x atom, time string) bool {
			at := day0.Add(wireHour(x.hour)).Format("2006-01-02T15:04:05Z")
			return at == time || grain == "day" && at[:10] == time[:10]
		}
		// A rest is of what its period has no other row of.
		shown := func(row map[string]string, group func(map[string]string) string) map[string]bool {
			names := map[string]bool{}
			for _, o := range rows {
				if o["time"] == row["time"] && o["facet"] == row["facet"] && o["rest"] == "false" && (row["facet"] == "all" || o["status"] == row["status"]) {
					names[group(o)] = true
				}
			}
			return names
		}
		for _, row := range rows {
			if row["value"] == "LI" {
				t.Fatalf("%s has a row of the country with one instance", name)
			}
			var of func(x atom) bool
			status := func(x atom) string { s, _, _ := strings.Cut(x.name, " "); return s }
			country := func(x atom) string { _, c, _ := strings.Cut(x.name, " "); return c }
			switch rest := row["rest"] == "true"; {
			case row["facet"] == "all" && !rest:
				of = func(x atom) bool { return status(x) == row["status"] }
			case row["facet"] == "all":
				others := shown(row, func(o map[string]string) string { return o["status"] })
				of = func(x atom) bool { return !others[status(x)] }
			case !rest:
				of = func(x atom) bool { return status(x) == row["status"] && country(x) == row["value"] }
			default:
				others := shown(row, func(o map[string]string) string { return o["value"] })
				of = func(x atom) bool { return status(x) == row["status"] && !others[country(x)] }
			}
			set := a.set(func(x atom) bool { return in(x, row["time"]) && of(x) })
			if want := a.truth(set).count; row["count"] != fmt.Sprint(want) {
				t.Fatalf("%s has %v, which should be %d: of %v", name, row, want, set)
			}
			a.knows(set)
			numbers++
		}
	}
	return numbers
}

func wireHour(h int) time.Duration { return time.Duration(h) * time.Hour }

func readCSV(t *testing.T, name string) (rows []map[string]string) {
	t.Helper()
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := zstd.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	lines, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines[1:] {
		row := map[string]string{}
		for i, column := range lines[0] {
			row[column] = l[i]
		}
		if _, err := strconv.ParseUint(row["count"], 10, 63); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rows = append(rows, row)
	}
	return rows
}

// candidates are cells, cells' days, and pairs: of one status' countries in an
// hour, of a cell in two hours, and of two countries' days.
func (a fileAttack) candidates() [][]atom {
	var sets [][]atom
	for i, x := range a.atoms {
		sets = append(sets, []atom{x}, a.day(x.name))
		status, _, _ := strings.Cut(x.name, " ")
		for _, y := range a.atoms[:i] {
			same := strings.HasPrefix(y.name, status+" ")
			if same && (x.hour == y.hour || x.name == y.name) {
				sets = append(sets, []atom{x, y})
			}
			if same && x.name != y.name {
				sets = append(sets, slices.Concat(a.day(x.name), a.day(y.name)))
			}
		}
	}
	return sets
}
