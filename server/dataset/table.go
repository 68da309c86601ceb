package dataset

import (
	"encoding/csv"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A column is one of a table. Its type is that of the cells: int64 (a time in
// milliseconds, or a number), string, bool or float64; nil cells have no value.
type column struct {
	name string
	tag  string // parquet's
	kind reflect.Type
	cell func(r *Row) any
}

var (
	number  = reflect.TypeFor[int64]()
	text    = reflect.TypeFor[string]()
	decimal = reflect.TypeFor[float64]()
)

// columns are those of a metric's tables.
func columns(m *wire.Metric) []column {
	all := []column{
		{"time", "timestamp(millisecond),delta", number, func(r *Row) any { return r.Time.UnixMilli() }},
		{"facet", "dict", text, func(r *Row) any { return r.Facet.String() }},
		{"value", "dict,optional", text, func(r *Row) any {
			if r.Facet == wire.All || r.Rest {
				return nil
			}
			return r.Value
		}},
	}
	for i, d := range m.Dims {
		all = append(all, column{dimensionColumn(d), "dict,optional", text, func(r *Row) any {
			if r.Dims == nil {
				return nil
			}
			return r.Dims[i]
		}})
	}
	if m.Label != "" {
		all = append(all, column{m.Label, "dict,optional", text, func(r *Row) any {
			if r.Dims == nil {
				return nil
			}
			return r.Label
		}})
	}
	all = append(all,
		column{"rest", "", reflect.TypeFor[bool](), func(r *Row) any { return r.Rest }},
		column{"groups", "delta,optional", number, func(r *Row) any {
			if !r.Rest {
				return nil
			}
			return int64(r.Groups)
		}},
		column{"count", "delta", number, func(r *Row) any { return int64(min(r.Count, 1<<63-1)) }},
	)
	if m.Kind == wire.KindHistogram || m.Kind == wire.KindPeak {
		for i, q := range Quantiles {
			all = append(all, column{fmt.Sprintf("p%g", q*100), "optional", decimal, func(r *Row) any {
				if r.Quantiles == nil {
					return nil
				}
				return r.Quantiles[i]
			}})
		}
	}
	return all
}

// dimensionColumn is a dimension's column: its name, but for the one that would
// be called as what is counted.
func dimensionColumn(d *wire.Dimension) string {
	if d.Name == "count" {
		return "class"
	}
	return d.Name
}

// writeParquet writes a table with Zstandard, statistics that let a reader skip
// pages, and the metric's description as metadata of the file.
func writeParquet(w io.Writer, m *wire.Metric, rows []Row) error {
	cols := columns(m)
	var fields []reflect.StructField
	for i, c := range cols {
		tag := c.name + ",zstd"
		if c.tag != "" {
			tag += "," + c.tag
		}
		fields = append(fields, reflect.StructField{Name: "C" + strconv.Itoa(i), Type: c.kind, Tag: reflect.StructTag(fmt.Sprintf("parquet:%q", tag))})
	}
	schema := parquet.SchemaOf(reflect.New(reflect.StructOf(fields)).Interface())
	out := parquet.NewWriter(w, schema, parquet.DataPageStatistics(true), parquet.MaxRowsPerRowGroup(1<<16),
		parquet.KeyValueMetadata("metric", m.Name), parquet.KeyValueMetadata("unit", string(m.Unit)), parquet.KeyValueMetadata("description", m.Doc))
	for i := range rows {
		var row parquet.Row
		for at, c := range cols {
			optional := strings.Contains(c.tag, "optional")
			v, level := parquet.NullValue(), 0
			if cell := c.cell(&rows[i]); cell != nil {
				v = parquet.ValueOf(cell)
				if optional {
					level = 1
				}
			}
			row = append(row, v.Level(0, level, at))
		}
		if _, err := out.WriteRows([]parquet.Row{row}); err != nil {
			return fmt.Errorf("writing Parquet: %w", err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("writing Parquet: %w", err)
	}
	return nil
}

// writeCSV writes the same table as comma-separated values (RFC 4180), with a
// line of names, compressed with Zstandard. A cell without a value is empty.
func writeCSV(w io.Writer, m *wire.Metric, rows []Row) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	out := csv.NewWriter(z)
	cols := columns(m)
	line := make([]string, len(cols))
	for i, c := range cols {
		line[i] = c.name
	}
	// The writer keeps its first error for Flush.
	_ = out.Write(line)
	for r := range rows {
		for i, c := range cols {
			switch v := c.cell(&rows[r]).(type) {
			case nil:
				line[i] = ""
			case string:
				line[i] = v
			case int64:
				line[i] = strconv.FormatInt(v, 10)
				if c.name == "time" {
					line[i] = rows[r].Time.UTC().Format("2006-01-02T15:04:05Z")
				}
			case bool:
				line[i] = strconv.FormatBool(v)
			case float64:
				line[i] = strconv.FormatFloat(v, 'g', 6, 64)
			}
		}
		_ = out.Write(line)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	return nil
}
