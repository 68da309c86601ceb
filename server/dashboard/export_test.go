package dashboard

import (
	"flag"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Update has tests write their golden files anew.
var Update = flag.Bool("update", false, "write the golden files anew")

// Paths are the dashboard's, as its table has them.
func Paths() []string {
	var paths []string
	for _, r := range new(Dashboard).table() {
		paths = append(paths, r.path)
	}
	return paths
}

// Topics are the paths of the pages of charts beside the overview.
func Topics() []string {
	var paths []string
	for _, t := range topics {
		paths = append(paths, t.Path)
	}
	return paths
}

// Derived reports whether a URL of the API is worked out of several answers.
func Derived(href string) bool {
	path, _, _ := strings.Cut(strings.TrimPrefix(href, "/api/v1"), "?")
	return derived(path) != nil
}

// ByFacet are the counters that a chart shows by a facet, and two to filter by it.
func ByFacet(f wire.Facet) map[wire.MetricID]bool {
	ids := map[wire.MetricID]bool{wire.HTTPRequestsMethod: true, wire.TLSConnections: true}
	for _, c := range charts {
		if c.Form == likely && f == wire.Country || strings.Contains(c.Ask, "facet="+f.String()+"&") {
			for _, id := range []wire.MetricID{c.Metric, c.Base} {
				if id != 0 && wire.MetricByID(id).Kind == wire.KindCounter {
					ids[id] = true
				}
			}
		}
	}
	return ids
}

// Hurry takes the pause between two renditions of a page away.
func (d *Dashboard) Hurry() { d.live.least, d.live.share = 0, 1000 }

// Open is how many connections and pages are open.
func (d *Dashboard) Open() (readers, pages int) {
	d.live.mu.Lock()
	defer d.live.mu.Unlock()
	return d.live.readers, len(d.live.watched)
}

// MaxSenderReaders is how many connections a sender may have.
const MaxSenderReaders = maxSenderReaders

// Charts are the ids of all charts.
func Charts() []string {
	var ids []string
	for _, c := range charts {
		ids = append(ids, c.ID)
	}
	return ids
}

// Vocabulary is what search finds without rollups.
func Vocabulary() []Hit {
	d := new(Dashboard)
	d.routes = d.table()
	return d.vocabulary()
}
