package wire

import (
	"slices"
	"strconv"
)

// Dimensions lists the vocabularies that metrics use, in the order of their
// first use in the dictionary.
func Dimensions() []*Dimension {
	var ds []*Dimension
	for _, m := range metrics {
		for _, d := range m.Dims {
			if !slices.Contains(ds, d) {
				ds = append(ds, d)
			}
		}
	}
	return ds
}

// Summary is d's vocabulary for people to read: runs of three and more
// consecutive numbers are written as a range, such as "100–599".
func (d *Dimension) Summary() []string {
	var out []string
	for i := 0; i < len(d.Values); {
		j := i
		if first, err := strconv.Atoi(d.Values[i]); err == nil {
			for j+1 < len(d.Values) && d.Values[j+1] == strconv.Itoa(first+j+1-i) {
				j++
			}
		}
		if j < i+2 {
			out = append(out, d.Values[i])
			i++
			continue
		}
		out = append(out, d.Values[i]+"–"+d.Values[j])
		i = j + 1
	}
	return out
}

// Uses lists the metrics that have d.
func (d *Dimension) Uses() []*Metric {
	var ms []*Metric
	for _, m := range metrics {
		if slices.Contains(m.Dims, d) {
			ms = append(ms, m)
		}
	}
	return ms
}
