package storetest

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// FillEnd is where the time that Fill covers ends.
var FillEnd = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// fillLog names the log that Fill commits.
const fillLog = "fill"

// fillCells is the greatest number of cells that Fill gives each metric of
// each facet's value.
const fillCells = 12

// facetValues are how many values Fill gives a facet.
var facetValues = map[wire.Facet]int{wire.All: 1, wire.Country: 40, wire.Network: 100, wire.Version: 12, wire.Platform: 6, wire.Deployment: 3}

// FillFacet is the i-th value, by size, of a facet in what Fill makes.
func FillFacet(f wire.Facet, i int) string {
	switch f {
	case wire.All:
		return ""
	case wire.Country:
		return string([]byte{'A' + byte(i%26), 'A' + byte(i/26)})
	case wire.Network:
		return fmt.Sprintf("AS%d", 64496+i)
	case wire.Version:
		return fmt.Sprintf("v2.11.%d", i)
	}
	return fmt.Sprintf("%s-%d", f, i)
}

// fillRow is a key without time, and how large its numbers are.
type fillRow struct {
	store.Row
	kind  wire.Kind
	scale uint64
}

// fillRows lists what Fill makes for each window, hour and day, in the order of keys.
func fillRows() []fillRow {
	var rows []fillRow
	for _, m := range wire.Metrics() {
		cells := min(fillCells, m.Cells())
		if m.Label != "" {
			cells = fillCells
		}
		for _, f := range m.Facets {
			for v := range facetValues[f] {
				for c := range cells {
					r := fillRow{kind: m.Kind, scale: 1 + 1<<20/uint64((v+1)*(c+1))}
					r.Metric, r.Facet, r.Value = m.ID, f, FillFacet(f, v)
					if m.Label != "" {
						r.Label = fmt.Sprintf("example.com/module%d@v1.0.%d", c, c)
					}
					// Number the cells with the first dimension slowest.
					left := c
					for i := len(m.Dims) - 1; i >= 0; i-- {
						n := len(m.Dims[i].Values)
						r.Dims[i], left = wire.Value(left%n), left/n
					}
					rows = append(rows, r)
				}
			}
		}
	}
	slices.SortFunc(rows, func(a, b fillRow) int { return compareKeys(a.Key, b.Key) })
	return rows
}

// FillRange is the time that Fill of so many rows covers.
func FillRange(rows int) (from, to time.Time) {
	perDay := len(fillRows()) * (288 + 24 + 1)
	return FillEnd.Add(-time.Duration(float64(rows) / float64(perDay) * 24 * float64(time.Hour))).Truncate(5 * time.Minute), FillEnd
}

// Fill commits about as many different rows as asked for, shaped like those of
// a public server: every metric of the dictionary with its facets, at 5
// minutes, 1 hour and 1 day, up to FillEnd, hour by hour. The same seed makes
// the same rows. The store must be empty.
func Fill(ctx context.Context, s store.Store, rows int, seed uint64) error {
	shape := fillRows()
	rnd := rand.New(rand.NewPCG(seed, 2))
	from, to := FillRange(rows)
	var b store.Batch
	for window := from; window.Before(to); window = window.Add(5 * time.Minute) {
		grains := []store.Grain{store.Window}
		if window.Truncate(time.Hour).Equal(window) {
			grains = append(grains, store.Hour)
		}
		if window.Truncate(24 * time.Hour).Equal(window) {
			grains = append(grains, store.Day)
		}
		for _, g := range grains {
			for i := range shape {
				b.Rows = append(b.Rows, shape[i].fill(rnd, g, window.Unix()))
			}
		}
		if len(b.Rows) < 1<<16 && window.Add(5*time.Minute).Before(to) {
			continue
		}
		slices.SortFunc(b.Rows, func(a, b store.Row) int { return compareKeys(a.Key, b.Key) })
		b.Log, b.From, b.To = fillLog, b.To, b.To+1
		if err := s.Commit(ctx, b); err != nil {
			return fmt.Errorf("filling the store: %w", err)
		}
		b.Rows = b.Rows[:0]
	}
	return nil
}

func (f *fillRow) fill(rnd *rand.Rand, g store.Grain, start int64) store.Row {
	r := f.Row
	r.Grain, r.Start = g, start
	r.Count = f.scale/2 + rnd.Uint64N(f.scale)
	r.Reports = 1 + rnd.Uint32N(1000)
	r.Top = r.Count/10 + 1
	switch f.kind {
	case wire.KindHistogram, wire.KindPeak:
		r.Buckets = make([]uint64, wire.Buckets)
		middle := 30 + rnd.IntN(20)
		for i := range 24 {
			r.Buckets[middle+i] = 1 + r.Count/24
		}
		r.Count = 24 * (1 + r.Count/24)
		r.Sum = r.Count * uint64(wire.Bound(middle+12))
	case wire.KindDistinct:
		// The registers of as many random hashes, up to what saturates them.
		r.Registers = make([]byte, 1024)
		for range min(f.scale, 4096) {
			h := rnd.Uint64()
			i := h >> 54
			r.Registers[i] = max(r.Registers[i], byte(1+bits.LeadingZeros64(h<<10|1)))
		}
	}
	return r
}
