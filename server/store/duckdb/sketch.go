package duckdb

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	driver "github.com/duckdb/duckdb-go/v2"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Buckets and registers are stored as one BLOB each, because most of them are
// zero in most rows, and a dense list of 128 numbers costs many times the row
// that it belongs to.
//
// Buckets: for each bucket that is not zero, in ascending order, the distance
// from the one before (from -1 for the first) and the count, both as uvarint.
// All zero is the empty BLOB; none at all is NULL.
//
// Registers: one byte log2 of their number, then either as many bytes as that,
// or, if that is shorter, a pair (distance as uvarint, value as byte) for each
// one that is not zero, in ascending order. One byte before them, 0 or 1, tells
// which.
//
// They are merged inside SQL by two scalar functions of ours, each taking a
// list of BLOBs and returning one.

// maxRegisters is the greatest number of HyperLogLog registers of a row.
const maxRegisters = 1 << 16

var errSketch = errors.New("buckets or registers in the store are damaged")

// saturate keeps a number in the range that SQL can add in.
func saturate(n uint64) uint64 { return min(n, math.MaxInt64) }

func encodeBuckets(b []uint64) []byte {
	out := make([]byte, 0, 64)
	last := -1
	for i, n := range b {
		if n == 0 {
			continue
		}
		out = binary.AppendUvarint(out, uint64(i-last))
		out = binary.AppendUvarint(out, saturate(n))
		last = i
	}
	return out
}

// addBuckets adds encoded buckets to sum.
func addBuckets(sum *[wire.Buckets]uint64, enc []byte) error {
	i := -1
	for len(enc) > 0 {
		gap, n := binary.Uvarint(enc)
		if n <= 0 || gap == 0 || gap > wire.Buckets {
			return errSketch
		}
		count, m := binary.Uvarint(enc[n:])
		if i += int(gap); m <= 0 || i >= wire.Buckets || count > math.MaxInt64 {
			return errSketch
		}
		sum[i] = saturate(sum[i] + count)
		enc = enc[n+m:]
	}
	return nil
}

func decodeBuckets(enc []byte) ([]uint64, error) {
	var b [wire.Buckets]uint64
	if err := addBuckets(&b, enc); err != nil {
		return nil, err
	}
	return b[:], nil
}

const (
	denseRegisters  = 0
	sparseRegisters = 1
)

func encodeRegisters(r []byte) []byte {
	out := make([]byte, 2, 2+len(r))
	out[0], out[1] = sparseRegisters, byte(bits.TrailingZeros(uint(len(r))))
	last := -1
	for i, v := range r {
		if v == 0 {
			continue
		}
		out = binary.AppendUvarint(out, uint64(i-last))
		out = append(out, v)
		last = i
		if len(out) > 2+len(r) {
			break
		}
	}
	if len(out) >= 2+len(r) {
		out[0] = denseRegisters
		out = append(out[:2], r...)
	}
	return out
}

// raiseRegisters raises the registers in top to those encoded and returns it; nil
// stands for no registers yet.
func raiseRegisters(top, enc []byte) ([]byte, error) {
	if len(enc) < 2 || enc[1] > 16 {
		return nil, errSketch
	}
	size := 1 << enc[1]
	if top == nil {
		top = make([]byte, size)
	}
	if len(top) != size {
		return nil, fmt.Errorf("%w: %d registers can't be merged with %d", errSketch, size, len(top))
	}
	kind, enc := enc[0], enc[2:]
	switch kind {
	case denseRegisters:
		if len(enc) != size {
			return nil, errSketch
		}
		for i, v := range enc {
			top[i] = max(top[i], v)
		}
	case sparseRegisters:
		for i := -1; len(enc) > 0; {
			gap, n := binary.Uvarint(enc)
			if n <= 0 || gap == 0 || gap > maxRegisters || n >= len(enc) {
				return nil, errSketch
			}
			if i += int(gap); i >= size {
				return nil, errSketch
			}
			top[i] = max(top[i], enc[n])
			enc = enc[n+1:]
		}
	default:
		return nil, errSketch
	}
	return top, nil
}

func mergeBuckets(encs []any) ([]byte, error) {
	var sum [wire.Buckets]uint64
	for _, e := range encs {
		enc, ok := e.([]byte)
		if !ok {
			return nil, errSketch
		}
		if err := addBuckets(&sum, enc); err != nil {
			return nil, err
		}
	}
	return encodeBuckets(sum[:]), nil
}

func mergeRegisters(encs []any) ([]byte, error) {
	var top []byte
	for _, e := range encs {
		enc, ok := e.([]byte)
		if !ok {
			return nil, errSketch
		}
		var err error
		if top, err = raiseRegisters(top, enc); err != nil {
			return nil, err
		}
	}
	if top == nil {
		return nil, errSketch
	}
	return encodeRegisters(top), nil
}

// A merger is a scalar function from BLOB[] to BLOB; NULL makes NULL.
type merger func([]any) ([]byte, error)

func (merger) Config() driver.ScalarFuncConfig {
	blob, err := driver.NewTypeInfo(driver.TYPE_BLOB)
	if err != nil {
		panic(err) // BLOB is a type
	}
	list, err := driver.NewListInfo(blob)
	if err != nil {
		panic(err)
	}
	return driver.ScalarFuncConfig{InputTypeInfos: []driver.TypeInfo{list}, ResultTypeInfo: blob}
}

func (m merger) Executor() driver.ScalarFuncExecutor {
	return driver.ScalarFuncExecutor{RowExecutor: func(args []sqldriver.Value) (any, error) {
		list, ok := args[0].([]any)
		if !ok {
			return nil, errSketch
		}
		return m(list)
	}}
}

// registerSketches makes the functions known to the whole database.
func registerSketches(conn *sql.Conn) error {
	buckets, registers := merger(mergeBuckets), merger(mergeRegisters)
	return errors.Join(
		driver.RegisterScalarUDF(conn, "merge_buckets", &buckets),
		driver.RegisterScalarUDF(conn, "merge_registers", &registers),
	)
}
