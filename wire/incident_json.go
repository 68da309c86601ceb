package wire

import (
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

type (
	incidentJSON struct {
		Number      uint64        `json:"number"`
		Start       int64         `json:"start"`
		Seconds     uint32        `json:"seconds"`
		Open        bool          `json:"open,omitempty"`
		Kind        string        `json:"kind"`
		Scan        string        `json:"scan,omitempty"`
		Events      uint64        `json:"events"`
		Peak        uint64        `json:"peak,omitempty"`    // in a minute
		Sources     string        `json:"sources,omitempty"` // by class
		TopShare    uint32        `json:"top_share,omitempty"`
		Fingerprint string        `json:"fingerprint,omitempty"`
		Networks    []networkJSON `json:"networks,omitempty"`
	}
	networkJSON struct {
		Prefix  string `json:"prefix,omitempty"` // such as 192.0.2.0/24
		Share   uint32 `json:"share,omitempty"`
		ASN     uint32 `json:"asn,omitempty"`
		Country string `json:"country,omitempty"`
	}
)

func incidentToJSON(in *Incident) incidentJSON {
	j := incidentJSON{
		Number: in.GetNumber(), Start: in.GetStart(), Seconds: in.GetSeconds(), Open: in.GetOpen(),
		Kind: valueToJSON(IncidentKind, in.GetKind()), Events: in.GetEvents(), Peak: in.GetPeak(), TopShare: in.GetTopShare(),
		Scan: optionalToJSON(ScanClass, in.GetScan()), Sources: optionalToJSON(SourceClass, in.GetSources()),
		Fingerprint: optionalToJSON(fingerprints, in.GetFingerprint()),
	}
	for _, n := range in.GetNetworks() {
		j.Networks = append(j.Networks, networkJSON{prefixToJSON(n), n.GetShare(), n.GetAsn(), n.GetCountry()})
	}
	return j
}

func incidentFromJSON(j incidentJSON) (*Incident, error) {
	in := &Incident{
		Number: j.Number, Start: j.Start, Seconds: j.Seconds, Open: j.Open,
		Kind: valueFromJSON(IncidentKind, j.Kind), Events: j.Events, Peak: j.Peak, TopShare: j.TopShare,
		Scan: optionalFromJSON(ScanClass, j.Scan), Sources: optionalFromJSON(SourceClass, j.Sources),
		Fingerprint: optionalFromJSON(fingerprints, j.Fingerprint),
	}
	for i, nj := range j.Networks {
		n := &SourceNetwork{Share: nj.Share, Asn: nj.ASN, Country: nj.Country}
		var err error
		if n.Prefix, err = prefixFromJSON(nj.Prefix); err != nil {
			return nil, fmt.Errorf("networks[%d]: %w", i, err)
		}
		in.Networks = append(in.Networks, n)
	}
	return in, nil
}

func valueToJSON(d *Dimension, v uint32) string {
	if d != nil && int64(v) < int64(len(d.Values)) {
		return d.Values[v]
	}
	return "#" + strconv.FormatUint(uint64(v), 10)
}

// valueFromJSON makes a value that is not valid of a name that d lacks.
func valueFromJSON(d *Dimension, s string) uint32 {
	if d != nil && d.Has(s) {
		return uint32(d.Value(s))
	}
	if digits, ok := strings.CutPrefix(s, "#"); ok {
		if n, err := strconv.ParseUint(digits, 10, 32); err == nil {
			return uint32(n)
		}
	}
	return math.MaxUint32
}

// optionalToJSON leaves out what is not there.
func optionalToJSON(d *Dimension, v uint32) string {
	if v == 0 {
		return ""
	}
	return valueToJSON(d, v)
}

func optionalFromJSON(d *Dimension, s string) uint32 {
	if s == "" {
		return 0
	}
	return valueFromJSON(d, s)
}

// prefixToJSON writes what is no prefix as "#" and hexadecimal digits.
func prefixToJSON(n *SourceNetwork) string {
	switch p := n.Addresses(); {
	case p.IsValid():
		return p.String()
	case len(n.GetPrefix()) > 0:
		return "#" + hex.EncodeToString(n.GetPrefix())
	}
	return ""
}

func prefixFromJSON(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	if digits, ok := strings.CutPrefix(s, "#"); ok {
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) == 0 {
			return nil, fmt.Errorf("%.60q is no prefix", s)
		}
		return b, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p != p.Masked() || p.Addr().Is4() && p.Bits() != 24 || p.Addr().Is6() && (p.Bits() != 48 || p.Addr().Is4In6()) {
		return nil, fmt.Errorf("%.60q is no /24 of IPv4 or /48 of IPv6", s)
	}
	return NetworkPrefix(p.Addr()), nil
}
