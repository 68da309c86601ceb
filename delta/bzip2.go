package delta

import "slices"

// This is an encoder of bzip2, of which the standard library has the decoder:
// the difference stream of bsdiff is a tenth smaller in it than in Zstandard.

const (
	bzBlock  = 900_000 - 19 // bytes of a block after the first run-length coding
	bzGroup  = 50           // symbols that share a Huffman table
	bzMaxLen = 17           // bits of a code
)

// bitWriter appends bits, the highest first.
type bitWriter struct {
	out  []byte
	acc  uint64
	bits uint
}

func (w *bitWriter) write(v uint64, n uint) {
	for n > 32 {
		n -= 32
		w.write(v>>n&0xffffffff, 32)
	}
	w.acc = w.acc<<n | v&(1<<n-1)
	w.bits += n
	for w.bits >= 8 {
		w.bits -= 8
		w.out = append(w.out, byte(w.acc>>w.bits))
	}
}

// bzip2 compresses b.
func bzip2(b []byte) ([]byte, error) {
	w := &bitWriter{out: []byte("BZh9")}
	var sum uint32
	for len(b) > 0 {
		block, n := runs(b)
		crc := bzCRC(b[:n])
		sum = (sum<<1 | sum>>31) ^ crc
		w.write(0x314159265359, 48)
		w.write(uint64(crc), 32)
		w.write(0, 1)
		if err := w.block(block); err != nil {
			return nil, err
		}
		b = b[n:]
	}
	w.write(0x177245385090, 48)
	w.write(uint64(sum), 32)
	if w.bits > 0 {
		w.write(0, 8-w.bits)
	}
	return w.out, nil
}

var bzTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			if c&(1<<31) != 0 {
				c = c<<1 ^ 0x04c11db7
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

func bzCRC(b []byte) uint32 {
	c := ^uint32(0)
	for _, x := range b {
		c = bzTable[byte(c>>24)^x] ^ c<<8
	}
	return ^c
}

// runs codes the first n bytes of b: four equal bytes are followed by how many
// more of them there are.
func runs(b []byte) (block []byte, n int) {
	for n < len(b) && len(block)+5 <= bzBlock {
		k := 1
		for k < 255 && n+k < len(b) && b[n+k] == b[n] {
			k++
		}
		for range min(k, 4) {
			block = append(block, b[n])
		}
		if k >= 4 {
			block = append(block, byte(k-4))
		}
		n += k
	}
	return block, n
}

// block writes a block after its checksum.
func (w *bitWriter) block(b []byte) error {
	// The order of a block's rotations is that of the suffixes of it twice.
	sa, err := suffixes(slices.Concat(b, b))
	if err != nil {
		return err
	}
	last := make([]byte, 0, len(b))
	origin := -1
	for _, s := range sa {
		switch {
		case int(s) >= len(b):
			continue
		case s == 0:
			origin = len(last)
			last = append(last, b[len(b)-1])
		default:
			last = append(last, b[s-1])
		}
	}
	w.write(uint64(origin), 24)
	var used [256]bool
	for _, x := range last {
		used[x] = true
	}
	var groups uint64
	for g := range 16 {
		groups <<= 1
		if slices.Contains(used[16*g:16*g+16], true) {
			groups |= 1
		}
	}
	w.write(groups, 16)
	var front []byte
	for g := range 16 {
		if groups>>(15-g)&1 == 0 {
			continue
		}
		var bits uint64
		for i := range 16 {
			bits <<= 1
			if used[16*g+i] {
				bits |= 1
				front = append(front, byte(16*g+i))
			}
		}
		w.write(bits, 16)
	}
	end := uint16(len(front) + 1)
	w.symbols(moveToFront(last, front, end), int(end)+1)
	return nil
}

// moveToFront codes each byte as how many others were seen since it was, and
// runs of zero as numbers with the digits 1 (symbol 0) and 2 (symbol 1).
func moveToFront(b, front []byte, end uint16) []uint16 {
	out := make([]uint16, 0, len(b)/2)
	zeros := 0
	flush := func() {
		for ; zeros > 0; zeros = (zeros - 1) / 2 {
			out = append(out, uint16(1-zeros&1))
		}
	}
	for _, x := range b {
		i := slices.Index(front, x)
		if i == 0 {
			zeros++
			continue
		}
		flush()
		copy(front[1:i+1], front[:i])
		front[0] = x
		out = append(out, uint16(i+1))
	}
	flush()
	return append(out, end)
}

// symbols writes symbols below size with two to six Huffman tables, of which
// each group takes the one that fits it best.
func (w *bitWriter) symbols(in []uint16, size int) {
	tables := 6
	switch {
	case len(in) < 200:
		tables = 2
	case len(in) < 600:
		tables = 3
	case len(in) < 1200:
		tables = 4
	case len(in) < 2400:
		tables = 5
	}
	total := make([]int, size)
	for _, s := range in {
		total[s]++
	}
	// At first each table is good at a range of symbols that are as many.
	lengths := make([][]uint8, tables)
	from, left := 0, len(in)
	for t := range lengths {
		lengths[t] = slices.Repeat([]uint8{15}, size)
		for sum, goal := 0, left/(tables-t); from < size && (sum < goal || t == tables-1); from++ {
			lengths[t][from] = 0
			sum += total[from]
			left -= total[from]
		}
	}
	var selectors []uint8
	for range 4 {
		selectors = selectors[:0]
		counts := make([][]int, tables)
		for t := range counts {
			counts[t] = make([]int, size)
		}
		for group := range slices.Chunk(in, bzGroup) {
			best, at := 1<<30, 0
			for t := range lengths {
				cost := 0
				for _, s := range group {
					cost += int(lengths[t][s])
				}
				if cost < best {
					best, at = cost, t
				}
			}
			selectors = append(selectors, uint8(at))
			for _, s := range group {
				counts[at][s]++
			}
		}
		for t := range lengths {
			lengths[t] = huffman(counts[t])
		}
	}
	w.write(uint64(tables), 3)
	w.write(uint64(len(selectors)), 15)
	order := []uint8{0, 1, 2, 3, 4, 5}
	for _, s := range selectors {
		i := slices.Index(order, s)
		copy(order[1:i+1], order[:i])
		order[0] = s
		w.write(1<<(i+1)-2, uint(i+1))
	}
	codes := make([][]uint32, tables)
	for t, l := range lengths {
		codes[t] = canonical(l)
		at := l[0]
		w.write(uint64(at), 5)
		for _, n := range l {
			for ; at < n; at++ {
				w.write(2, 2)
			}
			for ; at > n; at-- {
				w.write(3, 2)
			}
			w.write(0, 1)
		}
	}
	g := 0
	for group := range slices.Chunk(in, bzGroup) {
		t := selectors[g]
		for _, s := range group {
			w.write(uint64(codes[t][s]), uint(lengths[t][s]))
		}
		g++
	}
}

// huffman gives each symbol a length of code: at least 1, at most bzMaxLen.
func huffman(counts []int) []uint8 {
	type node struct {
		weight      int
		depth       uint8
		left, right int
	}
	lengths := make([]uint8, len(counts))
	for halve := uint(0); ; halve++ {
		var nodes []node
		var heap []int // nodes without a parent, the lightest last
		for _, c := range counts {
			heap = append(heap, len(nodes))
			nodes = append(nodes, node{weight: max(c, 1)>>halve + 1, left: -1})
		}
		order := func(a, b int) int {
			if nodes[a].weight != nodes[b].weight {
				return nodes[b].weight - nodes[a].weight
			}
			return int(nodes[b].depth) - int(nodes[a].depth)
		}
		slices.SortStableFunc(heap, order)
		for len(heap) > 1 {
			a, b := heap[len(heap)-1], heap[len(heap)-2]
			heap = heap[:len(heap)-2]
			parent := len(nodes)
			nodes = append(nodes, node{nodes[a].weight + nodes[b].weight, max(nodes[a].depth, nodes[b].depth) + 1, a, b})
			at, _ := slices.BinarySearchFunc(heap, parent, order)
			heap = slices.Insert(heap, at, parent)
		}
		if nodes[heap[0]].depth > bzMaxLen {
			continue
		}
		var walk func(n int, depth uint8)
		walk = func(n int, depth uint8) {
			if nodes[n].left < 0 {
				lengths[n] = depth
				return
			}
			walk(nodes[n].left, depth+1)
			walk(nodes[n].right, depth+1)
		}
		walk(heap[0], 0)
		return lengths
	}
}

// canonical numbers the codes by length, then symbol.
func canonical(lengths []uint8) []uint32 {
	codes := make([]uint32, len(lengths))
	code := uint32(0)
	for n := uint8(1); n <= bzMaxLen; n++ {
		for s, l := range lengths {
			if l == n {
				codes[s] = code
				code++
			}
		}
		code <<= 1
	}
	return codes
}
