package campaigns

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/caddy-evergreen/evergreen/server/store"
)

// A group is the episodes that make a campaign.
type group struct {
	id         string
	traits     []store.Trait // the one that it is named after first
	begin, end int64
	ongoing    bool
	peak       uint64 // of any of the traits
}

func (g group) equal(o group) bool {
	return g.id == o.id && g.end == o.end && g.begin == o.begin && slices.Equal(g.traits, o.traits)
}

// before is the order that gives a campaign its name: by the first hour, then
// fingerprints before networks.
func before(a, b episode) int {
	return cmp.Or(cmp.Compare(a.begin, b.begin),
		cmp.Compare(a.trait.Kind, b.trait.Kind), cmp.Compare(a.trait.Scan, b.trait.Scan),
		cmp.Compare(a.trait.Network, b.trait.Network), cmp.Compare(a.trait.Fingerprint, b.trait.Fingerprint))
}

// merge makes one group of the episodes that the same instances took part in.
func merge(episodes []episode) []group {
	slices.SortFunc(episodes, before)
	parent := make([]int, len(episodes)) // an episode that comes before, or itself
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	var open []int // episodes that may overlap with the next one
	for i, e := range episodes {
		parent[i] = i
		open = slices.DeleteFunc(open, func(j int) bool { return episodes[j].end <= e.begin })
		for _, j := range open {
			if a, b := root(i), root(j); a != b && same(episodes[j], e) {
				parent[max(a, b)] = min(a, b)
			}
		}
		open = append(open, i)
	}
	var groups []group
	at := map[int]int{} // from a root to its group
	for i, e := range episodes {
		r := root(i)
		n, ok := at[r]
		if !ok {
			n = len(groups)
			at[r] = n
			groups = append(groups, group{id: identify(e), begin: e.begin})
		}
		g := &groups[n]
		if !slices.Contains(g.traits, e.trait) {
			g.traits = append(g.traits, e.trait)
		}
		g.end, g.peak, g.ongoing = max(g.end, e.end), max(g.peak, e.peak), g.ongoing || e.ongoing
	}
	return groups
}

// same reports whether at least half of the instances of one are those of the other.
func same(a, b episode) bool {
	if a.trait.Kind != b.trait.Kind || a.trait.Scan != b.trait.Scan {
		return false
	}
	var best int64
	var most uint64
	for h := max(a.begin, b.begin); h < min(a.end, b.end); h += hour {
		if n := min(a.hours[h].Instances, b.hours[h].Instances); n > most {
			best, most = h, n
		}
	}
	return most > 0 && alike(a.hours[best].Sample, b.hours[best].Sample)
}

// alike compares the part of two samples that both would hold: up to the
// greatest hash of one that is cut.
func alike(a, b []uint64) bool {
	for _, s := range [][]uint64{a, b} {
		if len(s) < store.SampleSize {
			continue
		}
		for _, o := range []*[]uint64{&a, &b} {
			n, found := slices.BinarySearch(*o, s[len(s)-1])
			if found {
				n++
			}
			*o = (*o)[:n]
		}
	}
	both := 0
	for _, h := range a {
		if _, ok := slices.BinarySearch(b, h); ok {
			both++
		}
	}
	return both > 0 && 2*both >= min(len(a), len(b))
}

// identify makes an id of what a campaign began with.
func identify(e episode) string {
	b := []byte("evergreen campaign 1\n")
	b = binary.BigEndian.AppendUint16(b, uint16(e.trait.Kind))
	b = binary.BigEndian.AppendUint16(b, uint16(e.trait.Scan))
	b = binary.BigEndian.AppendUint16(b, uint16(e.trait.Fingerprint))
	b = binary.BigEndian.AppendUint32(b, e.trait.Network)
	b = binary.BigEndian.AppendUint64(b, uint64(e.begin))
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}
