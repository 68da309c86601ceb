package delta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"index/suffixarray"
	"math"
)

// suffixes sorts the suffixes of b: the result's i-th element is where the i-th
// smallest begins. The standard library sorts them in linear time but keeps the
// array to itself; its serialized form is public, so that is read, on the fly.
func suffixes(b []byte) ([]int32, error) {
	if int64(len(b)) >= math.MaxInt32 {
		return nil, fmt.Errorf("%w: a file of %d bytes is too large for bsdiff: use zstd-patch", ErrLimit, len(b))
	}
	if len(b) == 0 {
		return nil, nil
	}
	s := &suffixSink{sa: make([]int32, 0, len(b))}
	if err := suffixarray.New(b).Write(s); err != nil {
		return nil, fmt.Errorf("sorting suffixes: %w", err)
	}
	if len(s.sa) != len(b) {
		return nil, fmt.Errorf("sorting suffixes: %w", errSuffixes)
	}
	return s.sa, nil
}

var errSuffixes = errors.New("the standard library writes the array in a form that is not known here")

// suffixSink reads what suffixarray.Index.Write writes: the number of bytes as a
// varint in 10 bytes; the bytes; and the array in groups, each written at once:
// its length, these 10 bytes included, and its elements as uvarints.
type suffixSink struct {
	writes int
	sa     []int32
}

func (s *suffixSink) Write(p []byte) (int, error) {
	n := len(p)
	s.writes++
	if s.writes == 2 {
		return n, nil
	}
	if n < binary.MaxVarintLen64 {
		return 0, errSuffixes
	}
	v, _ := binary.Varint(p)
	if s.writes == 1 {
		if v != int64(cap(s.sa)) {
			return 0, errSuffixes
		}
		return n, nil
	}
	if v != int64(n) {
		return 0, errSuffixes
	}
	for p = p[binary.MaxVarintLen64:]; len(p) > 0; {
		v, k := binary.Uvarint(p)
		if k <= 0 || v >= uint64(cap(s.sa)) || len(s.sa) == cap(s.sa) {
			return 0, errSuffixes
		}
		s.sa, p = append(s.sa, int32(v)), p[k:]
	}
	return n, nil
}
