package dashboard

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
)

const (
	maxSplitRows  = 10
	maxSplitCols  = 6
	maxMatrixRows = 14
)

// A splitRow is a row of a split while it is added up.
type splitRow struct {
	name   string
	counts map[string]uint64 // by column
	total  uint64
	faint  bool
}

// split turns rows by two words into a table: a row for each value of one, and
// in it the shares of the other's. Columns beyond the largest are one, and so
// are rows; what the API gives as rest belongs to no row.
func (f *figure) split(a question) {
	rowWord := f.rowWord(a)
	byName := map[string]*splitRow{}
	var rows []*splitRow
	columns := map[string]uint64{}
	var beyond uint64
	for _, r := range f.Answer.Rows {
		if r.Rest || r.Suppressed {
			beyond += r.Count
			continue
		}
		name := display(rowWord, r.Group[rowWord], a.facet)
		row := byName[name]
		if row == nil {
			row = &splitRow{name: name, counts: map[string]uint64{}}
			byName[name] = row
			rows = append(rows, row)
		}
		column := r.Group[f.Columns]
		row.counts[column] += r.Count
		row.total += r.Count
		columns[column] += r.Count
	}
	slices.SortStableFunc(rows, func(x, y *splitRow) int { return cmp.Compare(y.total, x.total) })
	if len(rows) > maxSplitRows {
		more := &splitRow{name: "Everything else", counts: map[string]uint64{}, faint: true}
		for _, r := range rows[maxSplitRows:] {
			more.total += r.total
			for c, n := range r.counts {
				more.counts[c] += n
			}
		}
		rows = append(rows[:maxSplitRows], more)
	}
	names, folded := splitColumns(columns)

	f.Head = []string{f.wordNoun(rowWord, a), f.counted(a)}
	classes := colours(names)
	for i, c := range names {
		f.Legend = append(f.Legend, legendItem{classes[i], display(f.Columns, c, a.facet)})
	}
	if folded {
		f.Legend = append(f.Legend, legendItem{"rest", "Everything else"})
	}
	for _, l := range f.Legend {
		f.Head = append(f.Head, l.Name)
	}
	for _, r := range rows {
		row := figureRow{Name: r.name, Cells: []string{whole(r.total)}, Faint: r.faint}
		var from uint64
		add := func(i int, n uint64) {
			row.Cells = append(row.Cells, percent(float64(n)/float64(max(r.total, 1))))
			if n > 0 {
				row.Parts = append(row.Parts, figurePart{Class: f.Legend[i].Class, From: of100(from, r.total), Width: of100(n, r.total)})
			}
			from += n
		}
		for i, c := range names {
			add(i, r.counts[c])
		}
		if folded {
			add(len(names), r.total-from)
		}
		f.Rows = append(f.Rows, row)
	}
	if beyond > 0 {
		f.More = whole(beyond) + " are in groups too small to be told apart here."
	}
}

// meanings are the colours of what has the same one everywhere, as in the
// script's charts.
var meanings = map[string]string{
	"1xx": "rest", "2xx": "p0", "3xx": "p1", "4xx": "p2", "5xx": "p4",
	"consistent": "p0", "inconsistent": "p4", "unknown": "rest", "other": "rest",
	"TLS 1.3": "p0", "TLS 1.2": "p1", "TLS 1.1": "p2", "TLS 1.0": "p4",
	"http/3": "p0", "http/2": "p1", "http/1.1": "p2", "http/1.0": "p3", "ipv6": "p0", "ipv4": "p1", "unix": "p3",
	"warn": "p2", "error": "p4", "panic": "p3", "fatal": "p5",
}

// colours are the classes of columns: their meaning's, or the next free one.
func colours(names []string) []string {
	classes := make([]string, len(names))
	for i, n := range names {
		classes[i] = meanings[n]
	}
	next := 0
	for i := range classes {
		for classes[i] == "" {
			if c := "p" + strconv.Itoa(next); !slices.Contains(classes, c) {
				classes[i] = c
			}
			next++
		}
	}
	return classes
}

// splitColumns are the values that get a column of their own, the largest
// first, "other" never before a named one.
func splitColumns(counts map[string]uint64) (names []string, folded bool) {
	for c := range counts {
		names = append(names, c)
	}
	slices.SortFunc(names, func(x, y string) int {
		if (x == "other") != (y == "other") {
			if x == "other" {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(counts[y], counts[x]), cmp.Compare(x, y))
	})
	if len(names) > maxSplitCols {
		return names[:maxSplitCols-1], true
	}
	return names, false
}

func of100(n, of uint64) string {
	return strconv.FormatFloat(100*float64(n)/float64(max(of, 1)), 'f', 2, 64)
}

// matrix turns rows by two words into a table: a row for each value of one, and
// in it the others as shares of a whole of the row, which is a column or base.
func (f *figure) matrix(a question, base *Answer) {
	rowWord := f.rowWord(a)
	wholes := map[string]uint64{}
	counts := map[string]map[string]uint64{}
	columns := map[string]uint64{}
	if base != nil {
		for _, r := range base.Rows {
			if !r.Rest && !r.Suppressed {
				wholes[r.Group[rowWord]] = r.Count
			}
		}
	}
	for _, r := range f.Answer.Rows {
		if r.Rest || r.Suppressed {
			continue
		}
		row, column := r.Group[rowWord], r.Group[f.Columns]
		if f.Whole != "" && column == f.Whole {
			wholes[row] = r.Count
			continue
		}
		if counts[row] == nil {
			counts[row] = map[string]uint64{}
		}
		counts[row][column] = r.Count
		columns[column] += r.Count
	}
	f.Head = []string{f.wordNoun(rowWord, a), f.counted(a)}
	var names []string
	for _, c := range a.metric.Dims[a.metric.Dim(f.Columns)].Values {
		if columns[c] > 0 { // in the order of the vocabulary
			names = append(names, c)
			f.Head = append(f.Head, display(f.Columns, c, a.facet))
		}
	}
	for _, row := range slices.SortedFunc(maps.Keys(wholes), func(x, y string) int {
		return cmp.Or(cmp.Compare(wholes[y], wholes[x]), cmp.Compare(x, y))
	}) {
		if len(f.Rows) == maxMatrixRows {
			f.More = "The data has more rows."
			break
		}
		fr := figureRow{Name: display(rowWord, row, a.facet), Cells: []string{whole(wholes[row])}}
		for _, c := range names {
			n := min(counts[row][c], wholes[row]) // the two may be counted a moment apart
			fr.Parts = append(fr.Parts, figurePart{Text: percent(float64(n) / float64(max(wholes[row], 1))), Width: of100(n, wholes[row])})
		}
		f.Rows = append(f.Rows, fr)
	}
}
