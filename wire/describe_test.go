package wire

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSummary(t *testing.T) {
	d := &Dimension{Values: []string{"other", "1", "2", "4", "5", "6", "7", "x", "9", "10", "11"}}
	if diff := cmp.Diff([]string{"other", "1", "2", "4–7", "x", "9–11"}, d.Summary()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"other", "100–599"}, Status.Summary()); diff != "" {
		t.Error(diff)
	}
}

func TestDimensions(t *testing.T) {
	seen := map[*Dimension]bool{}
	for _, d := range Dimensions() {
		if seen[d] || len(d.Uses()) == 0 {
			t.Errorf("%s is listed twice or unused", d.Name)
		}
		seen[d] = true
	}
	for _, m := range Metrics() {
		for _, d := range m.Dims {
			if !seen[d] {
				t.Errorf("%s of %s is not listed", d.Name, m.Name)
			}
		}
	}
}
