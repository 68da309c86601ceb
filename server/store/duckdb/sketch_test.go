package duckdb

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

func TestSketches(t *testing.T) {
	for _, r := range [][]byte{{0}, {7}, make([]byte, 4096), bytes.Repeat([]byte{9}, 1024), append(make([]byte, 1023), 5), append([]byte{5}, make([]byte, maxRegisters-1)...)} {
		enc := encodeRegisters(r)
		got, err := raiseRegisters(nil, enc)
		if err != nil || !bytes.Equal(got, r) {
			t.Errorf("%d registers came back as %d: %v", len(r), len(got), err)
		}
		if len(enc) > 2+len(r) {
			t.Errorf("%d registers take %d bytes", len(r), len(enc))
		}
	}
	if _, err := raiseRegisters(make([]byte, 8), encodeRegisters(make([]byte, 16))); err == nil {
		t.Error("registers of different numbers were merged")
	}
}

func FuzzBuckets(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(encodeBuckets(make([]uint64, wire.Buckets)))
	f.Add(encodeBuckets(slices.Repeat([]uint64{1<<64 - 1}, wire.Buckets)))
	f.Add([]byte{128, 1, 0})
	f.Add([]byte{129, 1, 0})
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, enc []byte) {
		b, err := decodeBuckets(enc)
		if err != nil {
			return
		}
		again, err := decodeBuckets(encodeBuckets(b))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b, again); d != "" {
			t.Error(d)
		}
	})
}

func FuzzRegisters(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte{0, 0, 1})
	f.Add([]byte{1, 16, 255, 255, 3, 9})
	f.Add([]byte{1, 17})
	f.Add([]byte{2, 1, 0, 0})
	f.Add(encodeRegisters(make([]byte, 64)))
	f.Fuzz(func(t *testing.T, enc []byte) {
		r, err := raiseRegisters(nil, enc)
		if err != nil {
			return
		}
		again, err := raiseRegisters(nil, encodeRegisters(r))
		if err != nil || !bytes.Equal(r, again) {
			t.Errorf("%v came back as %v: %v", r, again, err)
		}
	})
}
