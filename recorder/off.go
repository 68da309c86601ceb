package recorder

import (
	"fmt"
	"slices"

	"github.com/caddy-evergreen/evergreen/nearest"
	"github.com/caddy-evergreen/evergreen/wire"
)

// SetOff replaces the metrics that are not recorded. A name is a metric's, or a
// prefix that ends before a dot: "clients" is all below it. It takes effect at
// once: what a metric that is now off had counted in the open window is not
// reported, and a metric that is on again starts from nothing. On an error
// nothing is changed.
func (r *Recorder) SetOff(names []string) error {
	var off [offBanks]uint64
	for _, name := range names {
		under := wire.MetricsUnder(name)
		if len(under) == 0 {
			hint := nearest.Hint(name, known())
			if hint == "" {
				hint = ": the data dictionary lists them"
			}
			return fmt.Errorf("metric %.60q is not in the dictionary%s", name, hint)
		}
		for _, def := range under {
			// What only the server makes is in the dictionary, and not ours to record.
			if m := r.metric(def.ID); m != nil {
				off[m.bank] |= m.bit
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var changed [offBanks]uint64
	for i := range off {
		changed[i] = off[i] ^ r.off[i].Load()
	}
	// Metrics that go off must be off before their open window is forgotten, and
	// those that come on must be forgotten before they are on.
	for i := range off {
		r.off[i].Store(r.off[i].Load() | off[i])
	}
	for i := range r.layout.metrics {
		if m := &r.layout.metrics[i]; changed[m.bank]&m.bit != 0 {
			r.skip(m)
		}
	}
	for i := range off {
		r.off[i].Store(off[i])
	}
	return nil
}

func (r *Recorder) isOff(m *metric) bool { return r.off[m.bank].Load()&m.bit != 0 }

// known lists what SetOff knows: every metric and every prefix of one.
func known() []string {
	var names []string
	for _, m := range wire.Metrics() {
		for i := range m.Name {
			if prefix := m.Name[:i]; m.Name[i] == '.' && !slices.Contains(names, prefix) {
				names = append(names, prefix)
			}
		}
		names = append(names, m.Name)
	}
	return names
}
