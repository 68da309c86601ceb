package wire

import (
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

func sampleIncident() *Incident {
	return &Incident{
		Number: 1 << 40, Start: 1_790_000_110, Seconds: 180, Open: true,
		Kind: uint32(IncidentKind.Value("scan")), Scan: uint32(ScanClass.Value("wordpress")),
		Events: 9_000, Peak: 4_000, Sources: uint32(SourceClassOf(300)), TopShare: 93,
		Networks: []*SourceNetwork{
			{Prefix: []byte{192, 0, 2}, Share: 61},
			{Prefix: []byte{0x20, 0x01, 0x0d, 0xb8, 0, 1}, Share: 30},
		},
	}
}

func withIncidents(ins ...*Incident) *Report {
	r := sampleReport()
	r.Windows[0].Incidents = ins
	return r
}

func TestIncidentJSON(t *testing.T) {
	strange := sampleIncident()
	strange.Kind, strange.Scan, strange.Fingerprint, strange.Networks[0].Prefix = 5_000, math.MaxUint32, 70_000, []byte{1}
	resolved := sampleIncident()
	resolved.Networks = []*SourceNetwork{{Share: 7, Asn: 64_496, Country: "NZ"}}
	for name, in := range map[string]*Incident{"known": sampleIncident(), "unknown values": strange, "resolved": resolved} {
		want := withIncidents(in)
		b, err := EncodeJSON(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeJSON(b)
		if err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, b)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: decoded another report (-want +got):\n%s", name, diff)
		}
	}
	b, _ := EncodeJSON(withIncidents(sampleIncident()))
	for _, name := range []string{`"kind": "scan"`, `"scan": "wordpress"`, `"prefix": "192.0.2.0/24"`, `"prefix": "2001:db8:1::/48"`, `"sources": "257-1024"`} {
		if !strings.Contains(string(b), name) {
			t.Errorf("the JSON lacks %s:\n%s", name, b)
		}
	}
	for _, prefix := range []string{"192.0.2.0/25", "192.0.2.1/24", "2001:db8::/32", "192.0.2.7", "#", "#1", "#xy"} {
		if _, err := DecodeJSON([]byte(`{"windows":[{"incidents":[{"networks":[{"prefix":"` + prefix + `"}]}]}]}`)); err == nil {
			t.Errorf("%q was read as a prefix", prefix)
		}
	}
}

func TestCleanIncidents(t *testing.T) {
	clean := withIncidents(sampleIncident())
	if dropped, err := clean.Clean(); dropped != 0 || err != nil {
		t.Fatalf("Clean() = %d, %v", dropped, err)
	}
	if diff := cmp.Diff(sampleIncident(), clean.Windows[0].Incidents[0], protocmp.Transform()); diff != "" {
		t.Errorf("an honest incident was changed (-want +got):\n%s", diff)
	}

	newer := sampleIncident()
	newer.Kind, newer.Scan = 4_000, 0
	r := withIncidents(newer)
	if dropped, err := r.Clean(); dropped != 1 || err != nil || r.Windows[0].Incidents != nil {
		t.Errorf("an incident of an unknown kind: Clean() = %d, %v, left %v", dropped, err, r.Windows[0].Incidents)
	}
	newer = sampleIncident()
	newer.Scan, newer.Sources, newer.Fingerprint, newer.Networks[0].Country = 4_000, 4_000, 4_000, "nowhere"
	r = withIncidents(newer)
	if dropped, err := r.Clean(); dropped != 0 || err != nil {
		t.Fatalf("unknown values: Clean() = %d, %v", dropped, err)
	}
	want := sampleIncident()
	want.Scan, want.Sources = 0, 0
	if diff := cmp.Diff(want, r.Windows[0].Incidents[0], protocmp.Transform()); diff != "" {
		t.Errorf("unknown values (-want +got):\n%s", diff)
	}

	for want, change := range map[string]func(*Incident){
		".number: ":                     func(in *Incident) { in.Number = 0 },
		".number: 9007199254740993":     func(in *Incident) { in.Number = MaxIncidentNumber + 1 },
		".start: 0":                     func(in *Incident) { in.Start = 0 },
		".start: 17":                    func(in *Incident) { in.Start += 600 },
		".start: 9223372036854775807":   func(in *Incident) { in.Start = math.MaxInt64 },
		".seconds: ":                    func(in *Incident) { in.Seconds = MaxIncidentSeconds + 1 },
		".events: 0":                    func(in *Incident) { in.Events, in.Peak = 0, 0 },
		".events: 18446744073709551615": func(in *Incident) { in.Events = math.MaxUint64 },
		".peak: ":                       func(in *Incident) { in.Peak = in.Events + 1 },
		".top_share: ":                  func(in *Incident) { in.TopShare = 101 },
		".scan: ":                       func(in *Incident) { in.Kind = uint32(IncidentKind.Value("rapid_reset")) },
		".networks: ":                   func(in *Incident) { in.Networks = make([]*SourceNetwork, MaxNetworks+1) },
		".networks[1]: ":                func(in *Incident) { in.Networks[1] = nil },
		".networks[0].prefix: it has 4": func(in *Incident) { in.Networks[0].Prefix = []byte{192, 0, 2, 1} },
		".networks[1].prefix: it is":    func(in *Incident) { in.Networks[1].Prefix = in.Networks[0].Prefix },
		".networks[1].share: ":          func(in *Incident) { in.Networks[1].Share = 40 },
		".networks[0].share: ":          func(in *Incident) { in.Networks[0].Share = math.MaxUint32 },
		".networks[0].country: ":        func(in *Incident) { in.Networks[0].Country = "\xff" },
	} {
		in := sampleIncident()
		change(in)
		if _, err := withIncidents(in).Clean(); err == nil || !strings.HasPrefix(err.Error(), "windows[0].incidents[0]"+want) {
			t.Errorf("Clean() = %v, want an error that begins with %q", err, "windows[0].incidents[0]"+want)
		}
	}
	if _, err := withIncidents(sampleIncident(), sampleIncident()).Clean(); err == nil || !strings.Contains(err.Error(), "incidents[1].number") {
		t.Errorf("the same incident twice: %v", err)
	}
	if _, err := withIncidents(nil).Clean(); err == nil || !strings.Contains(err.Error(), "incidents[0]: it is null") {
		t.Errorf("a null incident: %v", err)
	}
	if _, err := withIncidents(make([]*Incident, MaxIncidents+1)...).Clean(); err == nil || !strings.Contains(err.Error(), "incidents: 65") {
		t.Errorf("too many incidents: %v", err)
	}
}

func TestResolveNetworks(t *testing.T) {
	r := withIncidents(sampleIncident())
	r.Windows[0].Incidents[0].Networks[1].Asn, r.Windows[0].Incidents[0].Networks[1].Country = 1, "XX" // claimed
	var asked []string
	any := r.ResolveNetworks(func(p netip.Prefix) (uint32, string) {
		asked = append(asked, p.String())
		if p.Addr().Is4() {
			return 64_496, "NZ"
		}
		return 0, ""
	})
	if diff := cmp.Diff([]string{"192.0.2.0/24", "2001:db8:1::/48"}, asked); !any || diff != "" {
		t.Errorf("ResolveNetworks() = %v, looked up (-want +got):\n%s", any, diff)
	}
	if diff := cmp.Diff([]*SourceNetwork{{Share: 61, Asn: 64_496, Country: "NZ"}, {Share: 30}}, r.Windows[0].Incidents[0].Networks, protocmp.Transform()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if dropped, err := r.Clean(); dropped != 0 || err != nil {
		t.Errorf("afterwards Clean() = %d, %v", dropped, err)
	}
	if sampleReport().ResolveNetworks(nil) {
		t.Error("a report without incidents had networks")
	}
}

func TestNetworkPrefix(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.77":           "192.0.2.0/24",
		"::ffff:192.0.2.77":    "192.0.2.0/24",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1::/48",
	} {
		n := SourceNetwork{Prefix: NetworkPrefix(netip.MustParseAddr(addr))}
		if got := n.Addresses().String(); got != want {
			t.Errorf("%s has the prefix %s, want %s", addr, got, want)
		}
	}
	if p := NetworkPrefix(netip.Addr{}); p != nil {
		t.Errorf("no address has the prefix %v", p)
	}
}

func TestSourceClassOf(t *testing.T) {
	for n, want := range map[int]string{0: "other", 1: "1", 2: "2-4", 4: "2-4", 5: "5-16", 1024: "257-1024", 1025: "1025-4096",
		262_144: "65537-262144", 262_145: "262145+", 1 << 40: "262145+"} {
		if got := SourceClass.ValueName(SourceClassOf(n)); got != want {
			t.Errorf("SourceClassOf(%d) is %s, want %s", n, got, want)
		}
	}
}
