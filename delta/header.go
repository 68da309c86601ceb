package delta

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A Method is how a patch is made.
type Method byte

const (
	Zstd      Method = 1 // whole, compressed: needs no old file
	ZstdPatch Method = 2 // made in seconds
	Bsdiff    Method = 3 // smaller, made in half a minute, with fourteen times the old file's memory
)

// Methods are all of them.
var methods = []Method{Zstd, ZstdPatch, Bsdiff}

func (m Method) String() string {
	switch m {
	case Zstd:
		return "zstd"
	case ZstdPatch:
		return "zstd-patch"
	case Bsdiff:
		return "bsdiff"
	}
	return fmt.Sprintf("method %d", byte(m))
}

// ParseMethod reads the name of a method.
func ParseMethod(s string) (Method, error) {
	for _, m := range methods {
		if m.String() == s {
			return m, nil
		}
	}
	return 0, fmt.Errorf("there is no method %.40q: it is one of zstd, zstd-patch, bsdiff", s)
}

// ErrFormat is what is wrong with a patch that no encoder makes.
var ErrFormat = errors.New("malformed patch")

// ErrOld says that the old file is not the one that the patch was made from.
var ErrOld = errors.New("the patch was made from another old file")

// ErrResult says that the new file is not what was promised.
var ErrResult = errors.New("the result is not the promised file")

// ErrLimit says that a patch asks for more than it is allowed.
var ErrLimit = errors.New("the patch exceeds a limit")

// HeaderSize is the length of a header, in bytes.
const HeaderSize = 104

const (
	magic   = "\xe9EGDLT\r\n"
	version = 1
	// maxSize is that of any file: sums of two stay far from overflowing.
	maxSize = 1 << 40
)

// A Header is what a patch says of itself. Sizes are in bytes.
type Header struct {
	Method    Method
	OldSize   int64
	NewSize   int64
	Payload   int64
	OldSHA256 [32]byte
	NewSHA256 [32]byte
}

// Size is that of the whole patch.
func (h Header) Size() int64 { return HeaderSize + h.Payload }

// AppendBinary appends the header's bytes.
func (h Header) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, magic...)
	b = append(b, version, byte(h.Method), 0, 0, 0, 0, 0, 0)
	for _, n := range []int64{h.OldSize, h.NewSize, h.Payload} {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	b = append(b, h.OldSHA256[:]...)
	return append(b, h.NewSHA256[:]...), nil
}

// ParseHeader reads a header from the first HeaderSize bytes of a patch. Its
// error is an ErrFormat.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%w: its header is cut short", ErrFormat)
	}
	if string(b[:8]) != magic {
		return Header{}, fmt.Errorf("%w: it does not begin like one", ErrFormat)
	}
	if b[8] != version {
		return Header{}, fmt.Errorf("%w: its version %d is not known here: a newer program reads it", ErrFormat, b[8])
	}
	h := Header{Method: Method(b[9])}
	if h.Method < Zstd || h.Method > Bsdiff {
		return Header{}, fmt.Errorf("%w: its %v is not known here: a newer program reads it", ErrFormat, h.Method)
	}
	if [6]byte(b[10:16]) != [6]byte{} {
		return Header{}, fmt.Errorf("%w: reserved bytes are not zero", ErrFormat)
	}
	for i, n := range []*int64{&h.OldSize, &h.NewSize, &h.Payload} {
		v := binary.LittleEndian.Uint64(b[16+8*i:])
		if v > maxSize {
			return Header{}, fmt.Errorf("%w: a size of %d bytes", ErrFormat, v)
		}
		*n = int64(v)
	}
	h.OldSHA256, h.NewSHA256 = [32]byte(b[40:]), [32]byte(b[72:])
	if h.Method == Zstd && (h.OldSize != 0 || h.OldSHA256 != [32]byte{}) {
		return Header{}, fmt.Errorf("%w: method zstd has no old file", ErrFormat)
	}
	return h, nil
}
