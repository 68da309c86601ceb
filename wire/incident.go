package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"unicode/utf8"
)

// The bounds of incidents in a report.
const (
	MaxIncidents       = 64      // in a window
	MaxNetworks        = 16      // in an incident
	MaxIncidentNumber  = 1 << 53 // what JSON's readers take for an integer
	MaxIncidentSeconds = 7 * 24 * 3600
)

// Fingerprints is the vocabulary of an incident's fingerprint: the dimension
// called ja4, or nil as long as no metric has it.
func Fingerprints() *Dimension { return fingerprints }

var fingerprints = func() *Dimension {
	for _, d := range Dimensions() {
		if d.Name == "ja4" {
			return d
		}
	}
	return nil
}()

// SourceClassOf is the value of SourceClass for n.
func SourceClassOf(n int) Value {
	if n <= 0 {
		return Other
	}
	v, last := Value(1), Value(len(SourceClass.Values)-1)
	for bound := 1; n > bound && v < last; bound *= 4 {
		v++
	}
	return v
}

// clean returns errors that begin with ".incidents", to follow a window.
func (w *Window) cleanIncidents() (dropped int, err error) {
	if n := len(w.Incidents); n > MaxIncidents {
		return 0, fmt.Errorf(".incidents: %d are more than %d", n, MaxIncidents)
	}
	kept := w.Incidents[:0]
	for i, in := range w.Incidents {
		if in == nil {
			return 0, fmt.Errorf(".incidents[%d]: it is null", i)
		}
		for _, before := range kept {
			if before.Number == in.Number {
				return 0, fmt.Errorf(".incidents[%d].number: %d is there twice", i, in.Number)
			}
		}
		if err := in.clean(w); err != nil {
			return 0, fmt.Errorf(".incidents[%d]%w", i, err)
		}
		if int64(in.Kind) >= int64(len(IncidentKind.Values)) {
			dropped++
			continue
		}
		kept = append(kept, in)
	}
	clear(w.Incidents[len(kept):])
	w.Incidents = kept
	if len(kept) == 0 {
		w.Incidents = nil
	}
	return dropped, nil
}

// clean refuses what no honest sender makes. Values that a vocabulary lacks,
// such as those of a newer sender, become other; the kind is the caller's.
func (in *Incident) clean(w *Window) error {
	switch end := w.Start + int64(w.Seconds); {
	case in.Number == 0 || in.Number > MaxIncidentNumber:
		return fmt.Errorf(".number: %d is not from 1 to %d", in.Number, uint64(MaxIncidentNumber))
	case in.Start <= 0 || in.Start > end:
		return fmt.Errorf(".start: %d is no time before the window's end", in.Start)
	case in.Seconds > MaxIncidentSeconds:
		return fmt.Errorf(".seconds: %d are more than %d", in.Seconds, MaxIncidentSeconds)
	case in.Events == 0 || in.Events > MaxCount:
		return fmt.Errorf(".events: %d are not from 1 to %d", in.Events, uint64(MaxCount))
	case in.Peak > in.Events:
		return fmt.Errorf(".peak: %d are more than all events", in.Peak)
	case in.TopShare > 100:
		return fmt.Errorf(".top_share: %d is no percentage", in.TopShare)
	case in.Scan != 0 && in.Kind != uint32(IncidentKind.Value("scan")):
		return errors.New(".scan: only a scan has one")
	}
	in.Scan = known(in.Scan, ScanClass)
	in.Sources = known(in.Sources, SourceClass)
	in.Fingerprint = known(in.Fingerprint, fingerprints)
	return in.cleanNetworks()
}

func (in *Incident) cleanNetworks() error {
	if n := len(in.Networks); n > MaxNetworks {
		return fmt.Errorf(".networks: %d are more than %d", n, MaxNetworks)
	}
	var total uint32
	for i, n := range in.Networks {
		if n == nil {
			return fmt.Errorf(".networks[%d]: it is null", i)
		}
		if k := len(n.Prefix); k != 0 && k != 3 && k != 6 {
			return fmt.Errorf(".networks[%d].prefix: it has %d bytes; a /24 has 3, a /48 has 6", i, k)
		}
		for _, before := range in.Networks[:i] {
			if len(n.Prefix) > 0 && string(before.Prefix) == string(n.Prefix) {
				return fmt.Errorf(".networks[%d].prefix: it is there twice", i)
			}
		}
		// What is left by the collector may be one network several times.
		if n.Share > 100 || total+n.Share > 100 {
			return fmt.Errorf(".networks[%d].share: it makes more than 100 percent", i)
		}
		total += n.Share
		if !isCountry(n.Country) {
			if !utf8.ValidString(n.Country) || len(n.Country) > MaxFactString {
				return fmt.Errorf(".networks[%d].country: it is no country", i)
			}
			n.Country = ""
		}
	}
	return nil
}

func isCountry(s string) bool {
	return s == "" || len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}

// known is v, or Other if d, which may be nil, lacks it.
func known(v uint32, d *Dimension) uint32 {
	if d == nil || int64(v) >= int64(len(d.Values)) {
		return uint32(Other)
	}
	return v
}

// Addresses is the network's prefix as addresses; not valid if there is none.
func (n *SourceNetwork) Addresses() netip.Prefix {
	switch p := n.GetPrefix(); len(p) {
	case 3:
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{p[0], p[1], p[2]}), 24)
	case 6:
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{p[0], p[1], p[2], p[3], p[4], p[5]}), 48)
	}
	return netip.Prefix{}
}

// NetworkPrefix is the prefix of an address as a SourceNetwork has it.
func NetworkPrefix(a netip.Addr) []byte {
	a = a.Unmap()
	switch {
	case a.Is4():
		b := a.As4()
		return b[:3]
	case a.Is6():
		b := a.As16()
		return b[:6]
	}
	return nil
}

// ResolveNetworks takes every network's prefix out of the report and puts in
// what look says of it. It is the collector's, before it stores the report;
// what an instance claims to have looked up is forgotten. It reports whether
// there was any network.
func (r *Report) ResolveNetworks(look func(netip.Prefix) (asn uint32, country string)) bool {
	any := false
	for _, w := range r.GetWindows() {
		for _, in := range w.GetIncidents() {
			for _, n := range in.GetNetworks() {
				if n == nil {
					continue
				}
				any = true
				p := n.Addresses()
				n.Prefix, n.Asn, n.Country = nil, 0, ""
				if look != nil && p.IsValid() {
					n.Asn, n.Country = look(p)
				}
			}
		}
	}
	return any
}
