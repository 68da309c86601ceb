package fleet

import "math"

// mix is a hash of numbers: SplitMix64 (Steele, Lea, Flood 2014) over each.
func mix(xs ...uint64) uint64 {
	var h uint64 = 0x9e3779b97f4a7c15
	for _, x := range xs {
		h ^= x
		h += 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// hashOf is one of strings.
func hashOf(ss ...string) uint64 {
	var h uint64 = 14695981039346656037
	for _, s := range ss {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return mix(h)
}

// unit is a number from 0 to 1, without 1.
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// gauss is about normally distributed: the sum of four uniform numbers.
func gauss(h uint64) float64 {
	s := float64(h&0xffff) + float64(h>>16&0xffff) + float64(h>>32&0xffff) + float64(h>>48)
	return (s/65536 - 2) * math.Sqrt(3)
}
