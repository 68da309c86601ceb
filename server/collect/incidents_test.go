package collect

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

// places knows three prefixes of the documentation's ranges.
type places struct{}

func (places) Lookup(a netip.Addr) (string, uint32) {
	switch a.String() {
	case "192.0.2.0", "198.51.100.0":
		return "NZ", 64496
	case "2001:db8:77::":
		return "", 64497
	}
	return "", 0
}

// attacked is a report with an incident.
func attacked() *wire.Report {
	r := report()
	w := r.Windows[0]
	w.Incidents = []*wire.Incident{{
		Number: 5, Start: w.Start + 60, Seconds: 120, Kind: uint32(wire.IncidentKind.Value("scan")), Scan: uint32(wire.ScanClass.Value("wordpress")),
		Events: 1000, Peak: 600, Sources: 3, TopShare: 70,
		Networks: []*wire.SourceNetwork{
			{Prefix: wire.NetworkPrefix(netip.MustParseAddr("192.0.2.9")), Share: 20},
			// What it claims to know already is not believed.
			{Prefix: wire.NetworkPrefix(netip.MustParseAddr("203.0.113.200")), Share: 30, Asn: 666, Country: "XA"},
			{Prefix: wire.NetworkPrefix(netip.MustParseAddr("198.51.100.1")), Share: 15},
			{Prefix: wire.NetworkPrefix(netip.MustParseAddr("2001:db8:77:1::1")), Share: 5},
			{Share: 1, Asn: 667, Country: "XB"},
		},
	}}
	return r
}

func TestIncidentNetworksAreLookedUpAndDropped(t *testing.T) {
	asJSON, err := wire.EncodeJSON(attacked())
	if err != nil {
		t.Fatal(err)
	}
	want := attacked()
	want.Windows[0].Incidents[0].Networks = []*wire.SourceNetwork{
		{Asn: 64496, Country: "NZ", Share: 35}, {Share: 31}, {Asn: 64497, Share: 5},
	}
	unknown := attacked()
	unknown.Windows[0].Incidents[0].Kind, unknown.Windows[0].Incidents[0].Scan = 4000, 0 // of a newer sender
	dropped := report()
	hidden := attacked()
	hidden.Windows[0].Incidents[0].Networks[0].ProtoReflect().SetUnknown(
		protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), []byte{192, 0, 2, 9}))
	nowhere := attacked()
	nowhere.Windows[0].Incidents[0].Networks = []*wire.SourceNetwork{{Share: 71}}
	for _, c := range []struct {
		name, mediaType string
		body            []byte
		geo             Locator
		want            *wire.Report
	}{
		{"protobuf", wire.TypeProtobuf, encode(t, attacked()), places{}, want},
		{"JSON", wire.TypeJSON, asJSON, places{}, want},
		{"no geographic data", wire.TypeProtobuf, encode(t, attacked()), nil, nowhere},
		{"an unknown kind", wire.TypeProtobuf, encode(t, unknown), places{}, dropped},
		{"an unknown field", wire.TypeProtobuf, encode(t, hidden), places{}, want},
	} {
		log := &memory{}
		col := newCollector(t, log, func(cfg *Config) { cfg.Geo = c.geo })
		for _, compressed := range []bool{false, true} {
			body := c.body
			if compressed {
				body = compress(t, body)
			}
			if res := serve(col, post(newKey(t), wire.PathReports, wire.PurposeReport, c.mediaType, compressed, body)); res.StatusCode != 200 {
				t.Fatalf("%s: %s", c.name, res.Status)
			}
			rec := log.last(t)
			got, err := rec.Report()
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got, protocmp.Transform()); d != "" {
				t.Errorf("%s: stored is (-want +got):\n%s", c.name, d)
			}
			for _, prefix := range [][]byte{{192, 0, 2}, {203, 0, 113}, {198, 51, 100}, {0x20, 0x01, 0x0d, 0xb8, 0, 0x77}} {
				if bytes.Contains(encode(t, got), prefix) {
					t.Errorf("%s: the prefix %x is stored", c.name, prefix)
				}
			}
			if rec.Number != 3 || rec.From != now.Add(-7*time.Minute).Unix() {
				t.Errorf("%s: the record is %d from %d", c.name, rec.Number, rec.From)
			}
		}
	}
}

// TestReportWithoutIncidentsIsStoredAsSent: only what has prefixes is encoded anew.
func TestReportWithoutIncidentsIsStoredAsSent(t *testing.T) {
	log := &memory{}
	body := compress(t, encode(t, report()))
	if res := serve(newCollector(t, log), postReport(newKey(t), body)); res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	if !bytes.Equal(body, log.last(t).Body) {
		t.Error("the body was changed")
	}
}
