package geo

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// tinyMMDB is the smallest MaxMind DB there is: one node, over IPv4, whose left
// half (0.0.0.0/1) has no data and whose right half (128.0.0.0/1) has an AS
// number and a country. See the MaxMind DB file format's specification.
func tinyMMDB(network uint32) []byte {
	text := func(s string) []byte { return append([]byte{2<<5 | byte(len(s))}, s...) }
	number := func(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{6<<5 | 4}, n) }
	short := func(n uint16) []byte { return binary.BigEndian.AppendUint16([]byte{5<<5 | 2}, n) }
	mapping := func(pairs int, parts ...[]byte) []byte {
		return append([]byte{7<<5 | byte(pairs)}, bytes.Join(parts, nil)...)
	}
	const nodes, separator = 1, 16
	tree := []byte{0, 0, nodes, 0, 0, nodes + separator} // "not found", and the data's first byte
	data := mapping(2,
		text("autonomous_system_number"), number(network),
		text("country"), mapping(1, text("iso_code"), text("NZ")))
	meta := mapping(7,
		text("node_count"), number(nodes),
		text("record_size"), short(24),
		text("ip_version"), short(4),
		text("database_type"), text("Test-ASN"),
		text("languages"), []byte{0, 11 - 7}, // an empty array
		text("binary_format_major_version"), short(2),
		text("binary_format_minor_version"), short(0))
	return bytes.Join([][]byte{tree, make([]byte, separator), data, []byte("\xab\xcd\xefMaxMind.com"), meta}, nil)
}

func TestNetworkInMMDB(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "asn.mmdb", string(tinyMMDB(64496)))
	db, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for ip, want := range map[string]uint32{"198.51.100.1": 64496, "8.8.8.8": 0, "2001:db8::1": 0} {
		country, network := db.Lookup(netip.MustParseAddr(ip))
		if network != want || (country == "NZ") != (want != 0) {
			t.Errorf("%s is in %q, AS%d; want AS%d", ip, country, network, want)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	d, err := parse("x.mmdb", bytes.NewReader(tinyMMDB(64496)))
	if err != nil {
		b.Fatal(err)
	}
	db := &DB{files: []database{d}}
	ip := netip.MustParseAddr("198.51.100.1")
	b.ReportAllocs()
	for b.Loop() {
		db.Lookup(ip)
	}
}
