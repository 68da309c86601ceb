package geo

import (
	"fmt"
	"io"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"
)

type mmdb struct {
	r *maxminddb.Reader
}

func readMMDB(r io.Reader) (*mmdb, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	m, err := maxminddb.OpenBytes(b)
	if err != nil {
		return nil, fmt.Errorf("it is no MaxMind DB: %w", err)
	}
	return &mmdb{m}, nil
}

// lookup takes what it can't decode for unknown.
func (m *mmdb) lookup(ip netip.Addr) (country string, network uint32) {
	if ip.Is6() && m.r.Metadata.IPVersion == 4 {
		return "", 0
	}
	found := m.r.Lookup(ip)
	if !found.Found() {
		return "", 0
	}
	var code string
	if found.DecodePath(&code, "country_code") == nil {
		country = countryCode(code)
	}
	if country == "" && found.DecodePath(&code, "country", "iso_code") == nil {
		country = countryCode(code)
	}
	if found.DecodePath(&network, "autonomous_system_number") != nil {
		network = 0
	}
	return country, network
}
