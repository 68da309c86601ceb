package delta

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
)

// streams are what bsdiff makes; see the package comment.
type streams struct{ control, extra, diff []byte }

// bsdiff is Colin Percival's algorithm: it walks through what is new, finds for
// each place the longest match in what is old, and extends matches forwards and
// backwards over bytes that differ here and there, as addresses do.
func bsdiff(ctx context.Context, old, fresh []byte) (streams, error) {
	sa, err := suffixes(old)
	if err != nil {
		return streams{}, err
	}
	var w stepWriter
	var scan, length, pos, lastScan, lastPos, lastOffset int
	same := func(at int) bool {
		o := at + lastOffset
		return o >= 0 && o < len(old) && old[o] == fresh[at]
	}
	for checked := 0; scan < len(fresh); {
		// score is how many bytes of the match would be right as well if the
		// last match went on.
		score := 0
		scan += length
		for scored := scan; scan < len(fresh); scan++ {
			if checked++; checked%(1<<16) == 0 && ctx.Err() != nil {
				return streams{}, fmt.Errorf("making a bsdiff patch: %w", context.Cause(ctx))
			}
			pos, length = longest(sa, old, fresh[scan:])
			for ; scored < scan+length; scored++ {
				if same(scored) {
					score++
				}
			}
			if length == score && length != 0 || length > score+8 {
				break
			}
			if same(scan) {
				score--
			}
		}
		if length == score && scan != len(fresh) {
			continue
		}
		forward := extend(scan-lastScan, len(old)-lastPos, func(i int) bool { return old[lastPos+i] == fresh[lastScan+i] })
		back := 0
		if scan < len(fresh) {
			back = extend(scan-lastScan, pos, func(i int) bool { return old[pos-1-i] == fresh[scan-1-i] })
		}
		if overlap := lastScan + forward - (scan - back); overlap > 0 {
			// Where both matches claim bytes, cut where most are right.
			best, at, sum := 0, 0, 0
			for i := range overlap {
				if fresh[lastScan+forward-overlap+i] == old[lastPos+forward-overlap+i] {
					sum++
				}
				if fresh[scan-back+i] == old[pos-back+i] {
					sum--
				}
				if sum > best {
					best, at = sum, i+1
				}
			}
			forward += at - overlap
			back -= at
		}
		w.step(old[lastPos:lastPos+forward], fresh[lastScan:lastScan+forward], fresh[lastScan+forward:scan-back], lastPos)
		lastScan, lastPos, lastOffset = scan-back, pos-back, pos-scan
	}
	return w.streams, nil
}

// extend tells over how many of n bytes, at most limit, a match is worth being
// continued: where right ones outnumber wrong ones the most.
func extend(n, limit int, right func(int) bool) int {
	sum, best, at := 0, 0, 0
	for i := 0; i < n && i < limit; i++ {
		if right(i) {
			sum++
		}
		if sum*2-(i+1) > best*2-at {
			best, at = sum, i+1
		}
	}
	return at
}

// longest finds the longest match of a prefix of b in old.
func longest(sa []int32, old, b []byte) (pos, n int) {
	if len(sa) == 0 {
		return 0, 0
	}
	lo, hi := 0, len(sa)-1
	for hi-lo >= 2 {
		mid := lo + (hi-lo)/2
		o := old[sa[mid]:]
		if bytes.Compare(o[:min(len(o), len(b))], b) < 0 {
			lo = mid
		} else {
			hi = mid
		}
	}
	x, y := common(old[sa[lo]:], b), common(old[sa[hi]:], b)
	if x > y {
		return int(sa[lo]), x
	}
	return int(sa[hi]), y
}

// common is the length of the prefix that a and b share.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if binary.LittleEndian.Uint64(a[i:]) != binary.LittleEndian.Uint64(b[i:]) {
			break
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// stepWriter appends steps to the streams.
type stepWriter struct {
	streams
	at int // place in the old file after the last step
}

func (w *stepWriter) step(old, fresh, extra []byte, at int) {
	if len(fresh) == 0 && len(extra) == 0 {
		return
	}
	w.control = binary.AppendVarint(w.control, int64(at-w.at))
	w.control = binary.AppendUvarint(w.control, uint64(len(fresh)))
	w.control = binary.AppendUvarint(w.control, uint64(len(extra)))
	for i := range fresh {
		w.diff = append(w.diff, fresh[i]-old[i])
	}
	w.extra = append(w.extra, extra...)
	w.at = at + len(fresh)
}
