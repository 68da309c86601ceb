package dashboard

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// An OwnIncident is an incident as the instance that met it last reported it.
type OwnIncident struct {
	Number      uint64            `json:"number"`
	Kind        string            `json:"kind"`
	Scan        string            `json:"scan,omitempty"` // what a scan was looking for
	Start       time.Time         `json:"start"`
	Seconds     uint32            `json:"seconds"` // so far
	Ongoing     bool              `json:"ongoing"`
	Events      uint64            `json:"events"`
	Peak        uint64            `json:"peak"`    // in a minute
	Sources     string            `json:"sources"` // how many, as a class
	TopShare    uint32            `json:"top_share"`
	Fingerprint string            `json:"fingerprint,omitempty"`
	Networks    []IncidentNetwork `json:"networks"`
}

// An IncidentNetwork is where a part of an incident came from.
type IncidentNetwork struct {
	ASN     uint32 `json:"asn,omitempty"`
	Country string `json:"country,omitempty"`
	Share   uint32 `json:"share"` // percent
}

const maxOwnIncidents = 500

// keepIncidents takes the incidents of a report: the newest state of each counts.
func (s *instanceSource) keepIncidents(rep *wire.Report) {
	for _, w := range rep.GetWindows() {
		for _, in := range w.GetIncidents() {
			end := w.GetStart() + int64(w.GetSeconds())
			had, ok := s.incidents[in.GetNumber()]
			if ok && had.known > end || !ok && len(s.incidents) >= maxOwnIncidents {
				continue
			}
			if s.incidents == nil {
				s.incidents = map[uint64]knownIncident{}
			}
			s.incidents[in.GetNumber()] = knownIncident{end, in}
		}
	}
}

// A knownIncident is an incident as it was at the end of a window.
type knownIncident struct {
	known int64
	*wire.Incident
}

// Incidents are the instance's, the latest first.
func (s *instanceSource) ownIncidents() []OwnIncident {
	out := []OwnIncident{}
	for _, in := range s.incidents {
		o := OwnIncident{
			Number: in.GetNumber(), Kind: valueName(wire.IncidentKind, wire.Value(in.GetKind())), Start: time.Unix(in.GetStart(), 0).UTC(),
			Seconds: in.GetSeconds(), Ongoing: in.GetOpen(), Events: in.GetEvents(), Peak: in.GetPeak(),
			Sources: valueName(wire.SourceClass, wire.Value(in.GetSources())), TopShare: in.GetTopShare(), Networks: []IncidentNetwork{},
		}
		if v := wire.Value(in.GetScan()); v != wire.Other {
			o.Scan = valueName(wire.ScanClass, v)
		}
		if v := wire.Value(in.GetFingerprint()); v != wire.Other {
			o.Fingerprint = valueName(wire.Fingerprints(), v)
		}
		for _, n := range in.GetNetworks() {
			o.Networks = append(o.Networks, IncidentNetwork{n.GetAsn(), n.GetCountry(), n.GetShare()})
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b OwnIncident) int {
		return cmp.Or(b.Start.Compare(a.Start), cmp.Compare(b.Number, a.Number))
	})
	return out
}

// An incidentsView is the list of incidents on an instance's page.
type incidentsView struct {
	Lines []incidentLine
	More  int
}

type incidentLine struct {
	Kind, Begin, Lasted, Events, Peak, Sources, From string
	Ongoing                                          bool
}

const maxIncidentLines = 30

func (s *instanceSource) incidentsView() *incidentsView {
	all := s.ownIncidents()
	v := &incidentsView{More: max(0, len(all)-maxIncidentLines)}
	for _, in := range all[:min(len(all), maxIncidentLines)] {
		l := incidentLine{
			Kind: sentence(in.Kind), Begin: in.Start.Format("2 Jan, 15:04"), Lasted: uptime(uint64(in.Seconds)),
			Events: whole(in.Events), Peak: whole(in.Peak) + " a minute", Sources: in.Sources, Ongoing: in.Ongoing,
		}
		if in.Scan != "" {
			l.Kind += " for " + sentence(in.Scan)
		}
		var from []string
		for _, n := range in.Networks[:min(len(in.Networks), 3)] {
			name := "a network"
			if n.ASN != 0 {
				name = "AS" + whole(uint64(n.ASN))
				name = strings.ReplaceAll(name, "\u202f", "")
			}
			if n.Country != "" {
				name += ", " + countryName(n.Country)
			}
			from = append(from, name+" ("+whole(uint64(n.Share))+"\u202f%)")
		}
		if in.Fingerprint != "" {
			from = append(from, in.Fingerprint)
		}
		l.From = strings.Join(from, "; ")
		v.Lines = append(v.Lines, l)
	}
	return v
}
