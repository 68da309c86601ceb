package ingestlog

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-evergreen/evergreen/wire"
)

// decoders are costly to make: each holds tables and a window.
var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(wire.MaxReport),
		zstd.WithDecoderMaxWindow(wire.MaxReport))
	if err != nil {
		return err // of options that are constants: the test of Report would see it
	}
	return d
}}

// decompressed are buffers that reports are decompressed into; decoding copies
// what it keeps.
var decompressed = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// Report decompresses and decodes the record's body. It holds no more than
// wire.MaxReport bytes, whatever the body claims. The result is not checked:
// see (*wire.Report).Clean.
func (r Record) Report() (*wire.Report, error) {
	d, ok := decoders.Get().(*zstd.Decoder)
	if !ok {
		return nil, errors.New("no zstd decoder can be made")
	}
	defer decoders.Put(d)
	buf := decompressed.Get().(*[]byte)
	defer decompressed.Put(buf)
	b, err := d.DecodeAll(r.Body, (*buf)[:0])
	if err != nil {
		return nil, fmt.Errorf("decompressing the report: %w", err)
	}
	if len(b) > wire.MaxReport {
		return nil, fmt.Errorf("decompressing the report: it has more than %d bytes", wire.MaxReport)
	}
	*buf = b
	switch r.MediaType {
	case wire.TypeProtobuf:
		report := new(wire.Report)
		if err := proto.Unmarshal(b, report); err != nil {
			return nil, fmt.Errorf("decoding the report: %w", err)
		}
		return report, nil
	case wire.TypeJSON:
		report, err := wire.DecodeJSON(b)
		if err != nil {
			return nil, fmt.Errorf("decoding the report: %w", err)
		}
		return report, nil
	}
	return nil, fmt.Errorf("decoding the report: unknown type %.60q", r.MediaType)
}
