package collect

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/wire"
)

func hasIncidents(r *wire.Report) bool {
	return slices.ContainsFunc(r.GetWindows(), func(w *wire.Window) bool { return len(w.GetIncidents()) > 0 })
}

// resolve replaces the prefixes in a clean report's incidents by autonomous
// systems and countries, and the record's body, which holds them as they were
// signed, by the report encoded anew. From here on there is no signature that
// fits: it was checked, and nothing behind the collector asks for it.
func (c *Collector) resolve(rec *ingestlog.Record, report *wire.Report) error {
	var look func(netip.Prefix) (uint32, string)
	if c.cfg.Geo != nil {
		look = func(p netip.Prefix) (uint32, string) {
			country, network := c.cfg.Geo.Lookup(p.Addr())
			return network, country
		}
	}
	report.ResolveNetworks(look)
	known(report)
	for _, w := range report.Windows {
		known(w)
		for _, in := range w.Incidents {
			known(in)
			in.Networks = mergeNetworks(in.Networks)
		}
	}
	b, err := proto.Marshal(report)
	if err != nil {
		return &refusal{kind: kindFailed, cause: fmt.Errorf("encoding a report without prefixes: %w", err)}
	}
	rec.MediaType = wire.TypeProtobuf
	if rec.Body = c.zstd.EncodeAll(b, make([]byte, 0, len(b)/4+64)); len(rec.Body) > wire.MaxBody {
		return refuse(kindTooLarge, fmt.Sprintf("a report with incidents has at most %d bytes when it is compressed", wire.MaxBody))
	}
	return nil
}

// known drops the fields that this server doesn't know: what a newer sender
// wants to be dropped, it can't tell from what may be stored.
func known(m interface{ ProtoReflect() protoreflect.Message }) {
	m.ProtoReflect().SetUnknown(nil)
}

// mergeNetworks leaves each network of a country once, that with the most events first.
func mergeNetworks(networks []*wire.SourceNetwork) []*wire.SourceNetwork {
	type place struct {
		asn     uint32
		country string
	}
	at := map[place]*wire.SourceNetwork{}
	var kept []*wire.SourceNetwork
	for _, n := range networks {
		p := place{n.Asn, n.Country}
		if at[p] == nil {
			at[p] = &wire.SourceNetwork{Asn: n.Asn, Country: n.Country}
			kept = append(kept, at[p])
		}
		at[p].Share += n.Share
	}
	slices.SortStableFunc(kept, func(a, b *wire.SourceNetwork) int { return cmp.Compare(b.Share, a.Share) })
	return kept
}
