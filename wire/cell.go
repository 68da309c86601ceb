package wire

// MaxDims is the greatest number of dimensions of a metric.
const MaxDims = 5

// dimBits is the width of one dimension's value in a Cell.
const dimBits = 12

// A Value is the number of a name in a dimension's vocabulary; 0 is Other.
type Value = uint16

// Other is the value that every dimension has for what its vocabulary lacks.
const Other Value = 0

// Dims are a metric's values in the order of its dimensions; unused ones are 0.
type Dims [MaxDims]Value

// A Cell packs Dims for the wire, 12 bits each, the first dimension lowest.
// The packing does not depend on how long the vocabularies are, so that they
// can grow.
type Cell uint64

// Cell packs d. Values above 4095 can't occur: a test holds vocabularies to it.
func (d Dims) Cell() Cell {
	var c Cell
	for i, v := range d {
		c |= Cell(v) << (dimBits * i)
	}
	return c
}

// Dims unpacks c.
func (c Cell) Dims() Dims {
	var d Dims
	for i := range d {
		d[i] = Value(c>>(dimBits*i)) & (1<<dimBits - 1)
	}
	return d
}
