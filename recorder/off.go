package recorder

import (
	"fmt"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// SetOff replaces the metrics that are not recorded. A name is a metric's, or a
// prefix that ends before a dot: "clients" is all below it. It takes effect at
// once: what a metric that is now off had counted in the open window is not
// reported, and a metric that is on again starts from nothing. On an error
// nothing is changed.
func (r *Recorder) SetOff(names []string) error {
	var off uint64
	for _, name := range names {
		under := wire.MetricsUnder(name)
		if len(under) == 0 {
			return fmt.Errorf("metric %.60q is not in the dictionary: did you mean %q?", name, nearest(name))
		}
		for _, def := range under {
			// What only the server makes is in the dictionary, and not ours to record.
			if m := r.metric(def.ID); m != nil {
				off |= m.bit
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := off ^ r.off.Load()
	// Metrics that go off must be off before their open window is forgotten, and
	// those that come on must be forgotten before they are on.
	r.off.Store(r.off.Load() | off)
	for i := range r.layout.metrics {
		if m := &r.layout.metrics[i]; changed&m.bit != 0 {
			r.skip(m)
		}
	}
	r.off.Store(off)
	return nil
}

// nearest is the metric, or prefix of metrics, whose name is closest to name.
func nearest(name string) string {
	name = strings.ToLower(name[:min(len(name), 64)])
	best, distance := "", 1<<30
	try := func(s string) {
		if d := editDistance(name, s); d < distance {
			best, distance = s, d
		}
	}
	for _, m := range wire.Metrics() {
		try(m.Name)
		for i := range m.Name {
			if m.Name[i] == '.' {
				try(m.Name[:i])
			}
		}
	}
	return best
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d++
			}
			diagonal = row[j+1]
			row[j+1] = min(d, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
