package aggregate

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

type incidentKey struct {
	instance wire.InstanceID
	number   uint64
}

// incidents are those of a batch, each in its newest state.
type incidents map[incidentKey]store.Incident

// add takes in a report, which is clean and new.
func (all incidents) add(id wire.InstanceID, report *wire.Report) {
	for _, w := range report.Windows {
		known := w.Start + int64(w.Seconds)
		for _, in := range w.Incidents {
			k := incidentKey{id, in.Number}
			if old, ok := all[k]; ok && old.Known > known {
				continue
			}
			i := store.Incident{
				Instance: id, Number: in.Number, Known: known,
				// No honest sender knows of an end to come.
				Start: in.Start, End: min(in.Start+int64(in.Seconds), known), Open: in.Open,
				Kind: wire.Value(in.Kind), Scan: wire.Value(in.Scan), Fingerprint: wire.Value(in.Fingerprint), Events: in.Events,
			}
			for _, n := range in.Networks {
				i.Networks = append(i.Networks, store.IncidentNetwork{Network: n.Asn, Country: n.Country, Percent: n.Share})
			}
			all[k] = i
		}
	}
}

// sorted makes equal batches of equal incidents.
func (all incidents) sorted() []store.Incident {
	return slices.SortedFunc(maps.Values(all), func(a, b store.Incident) int {
		return cmp.Or(bytes.Compare(a.Instance[:], b.Instance[:]), cmp.Compare(a.Number, b.Number))
	})
}
