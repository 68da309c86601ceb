package geo

import (
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// maxRanges bounds the ranges of a file; the whole Internet's routing table
// has about a million.
const maxRanges = 8 << 20

// ranges are sorted by their first address and don't overlap.
type ranges struct {
	v4 []range4
	v6 []range6
}

type value struct {
	network uint32
	country [2]byte // zero for unknown
}

type range4 struct {
	first, last uint32
	value
}

type range6 struct {
	first, last [2]uint64 // high, low
	value
}

// readRanges reads text with fields first,last,country or
// first,last,network,name or first,last,network,country,name.
func readRanges(r io.Reader, comma rune) (*ranges, error) {
	in := csv.NewReader(r)
	in.Comma = comma
	in.FieldsPerRecord = -1
	in.LazyQuotes = true // names have quotation marks in them
	in.ReuseRecord = true
	t := &ranges{}
	for n := 0; ; n++ {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if n >= maxRanges {
			return nil, errTooLarge
		}
		if err := t.add(fields); err != nil {
			line, _ := in.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
	if len(t.v4)+len(t.v6) == 0 {
		return nil, errors.New("no range of addresses is in it")
	}
	slices.SortFunc(t.v4, func(a, b range4) int { return int(int64(a.first) - int64(b.first)) })
	slices.SortFunc(t.v6, func(a, b range6) int { return slices.Compare(a.first[:], b.first[:]) })
	for i := 1; i < len(t.v4); i++ {
		if t.v4[i].first <= t.v4[i-1].last {
			return nil, errors.New("ranges of IPv4 addresses overlap")
		}
	}
	for i := 1; i < len(t.v6); i++ {
		if slices.Compare(t.v6[i].first[:], t.v6[i-1].last[:]) <= 0 {
			return nil, errors.New("ranges of IPv6 addresses overlap")
		}
	}
	t.v4, t.v6 = slices.Clip(t.v4), slices.Clip(t.v6)
	return t, nil
}

func (t *ranges) add(fields []string) error {
	if len(fields) < 3 {
		return fmt.Errorf("%d fields are too few", len(fields))
	}
	first, err1 := netip.ParseAddr(strings.TrimSpace(fields[0]))
	last, err2 := netip.ParseAddr(strings.TrimSpace(fields[1]))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	first, last = first.Unmap(), last.Unmap()
	if first.Is4() != last.Is4() || first.Zone()+last.Zone() != "" || last.Less(first) {
		return fmt.Errorf("%s to %s is no range", first, last)
	}
	var v value
	if len(fields) == 3 {
		copy(v.country[:], countryCode(strings.TrimSpace(fields[2])))
	} else {
		n, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(fields[2]), "AS"), 10, 32)
		if err != nil {
			return fmt.Errorf("%.20q is no AS number", fields[2])
		}
		v.network = uint32(n)
		if len(fields) >= 5 {
			copy(v.country[:], countryCode(strings.TrimSpace(fields[3])))
		}
	}
	if v == (value{}) {
		return nil
	}
	if first.Is4() {
		t.v4 = append(t.v4, range4{number4(first), number4(last), v})
	} else {
		t.v6 = append(t.v6, range6{number6(first), number6(last), v})
	}
	return nil
}

func (t *ranges) lookup(ip netip.Addr) (country string, network uint32) {
	var v value
	if ip.Is4() {
		n := number4(ip)
		i := sort.Search(len(t.v4), func(i int) bool { return t.v4[i].first > n })
		if i > 0 && n <= t.v4[i-1].last {
			v = t.v4[i-1].value
		}
	} else {
		n := number6(ip)
		i := sort.Search(len(t.v6), func(i int) bool { return slices.Compare(t.v6[i].first[:], n[:]) > 0 })
		if i > 0 && slices.Compare(n[:], t.v6[i-1].last[:]) <= 0 {
			v = t.v6[i-1].value
		}
	}
	if v.country != ([2]byte{}) {
		country = string(v.country[:])
	}
	return country, v.network
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func number6(a netip.Addr) [2]uint64 {
	b := a.As16()
	return [2]uint64{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}
