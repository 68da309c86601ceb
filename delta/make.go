package delta

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"
)

// Compressions of a stream of bsdiff.
const (
	bzip2Stream byte = 1
	zstdStream  byte = 2
)

// describeSize is the length of a stream's description.
const describeSize = 17

// Make writes a patch from old to fresh to out; Zstd ignores old. Bsdiff holds
// about fourteen times the old file's size in memory. Its errors are out's, and ctx's.
func Make(ctx context.Context, old, fresh []byte, m Method, out io.Writer) (Header, error) {
	h := Header{Method: m, NewSize: int64(len(fresh)), NewSHA256: sha256.Sum256(fresh)}
	if m != Zstd {
		h.OldSize, h.OldSHA256 = int64(len(old)), sha256.Sum256(old)
	}
	var payload []byte
	var err error
	switch m {
	case Zstd:
		payload, err = Compress(nil, fresh)
	case ZstdPatch:
		payload, err = Compress(old, fresh)
	case Bsdiff:
		payload, err = bsdiffPayload(ctx, old, fresh)
	default:
		err = fmt.Errorf("no patch can be made by %v", m)
	}
	if err != nil {
		return Header{}, err
	}
	h.Payload = int64(len(payload))
	b, err := h.AppendBinary(nil)
	if err != nil {
		return Header{}, err
	}
	if _, err := out.Write(b); err != nil {
		return Header{}, fmt.Errorf("writing a patch: %w", err)
	}
	if _, err := out.Write(payload); err != nil {
		return Header{}, fmt.Errorf("writing a patch: %w", err)
	}
	return h, nil
}

// maxWindow is the farthest that a Zstandard frame refers back, of which this
// encoder and decoder know: 512 MiB.
const maxWindow = 1 << 29

// Compress gives b as a Zstandard frame with a checksum, with dictionary as a
// raw dictionary unless it is empty. `zstd -d`, with --patch-from, reads it.
func Compress(dictionary, b []byte) ([]byte, error) {
	// The whole dictionary must be in reach from the last byte. Without one, it is
	// more memory for who decodes, and less than a hundredth smaller.
	window := 8 << 20
	if len(dictionary) > 0 {
		window = 1 << bits.Len(uint(len(dictionary)+len(b)))
	}
	level := zstd.SpeedBestCompression // the only one that uses a raw dictionary
	if len(dictionary) == 0 && len(b) < 1<<16 {
		level = zstd.SpeedBetterCompression // without tables of a hundred times b's size
	}
	options := []zstd.EOption{
		zstd.WithEncoderLevel(level),
		zstd.WithWindowSize(min(max(window, zstd.MinWindowSize), maxWindow)),
		zstd.WithEncoderConcurrency(1),
	}
	if len(dictionary) > 0 {
		options = append(options, zstd.WithEncoderDictRaw(0, dictionary))
	}
	e, err := zstd.NewWriter(nil, options...)
	if err != nil {
		return nil, fmt.Errorf("compressing: %w", err)
	}
	return e.EncodeAll(b, nil), nil
}

func bsdiffPayload(ctx context.Context, old, fresh []byte) ([]byte, error) {
	s, err := bsdiff(ctx, old, fresh)
	if err != nil {
		return nil, err
	}
	var head, body []byte
	for _, stream := range [][]byte{s.control, s.extra, s.diff} {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("making a bsdiff patch: %w", context.Cause(ctx))
		}
		kind := bzip2Stream
		packed, err := bzip2(stream)
		if err != nil {
			return nil, err
		}
		z, err := Compress(nil, stream)
		if err != nil {
			return nil, err
		}
		if len(z) < len(packed) {
			kind, packed = zstdStream, z
		}
		head = append(head, kind)
		head = binary.LittleEndian.AppendUint64(head, uint64(len(stream)))
		head = binary.LittleEndian.AppendUint64(head, uint64(len(packed)))
		body = append(body, packed...)
	}
	return bytes.Join([][]byte{head, body}, nil), nil
}
