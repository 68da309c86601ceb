package reporter

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-evergreen/evergreen/wire"
)

var (
	errTooLarge   = errors.New("the report is larger than a server takes")
	errUnreadable = errors.New("unreadable")
)

// windowSize bounds the memory that compressing takes, at no loss: reports are
// rarely larger.
const windowSize = 256 << 10

// encode makes the body of a report as it is spooled and sent.
func encode(rep *wire.Report) ([]byte, error) {
	if len(rep.Windows) > wire.MaxWindows || proto.Size(rep) > wire.MaxReport {
		return nil, errTooLarge
	}
	plain, err := proto.Marshal(rep)
	if err != nil {
		return nil, fmt.Errorf("encoding report %d: %w", rep.Number, err)
	}
	// Made anew each time: it is needed for a millisecond every five minutes, and
	// its tables would be the largest thing that telemetry keeps in memory. The
	// next level makes a report 1 to 5 % smaller for ten times the work.
	w, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(windowSize),
		zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	defer w.Close()
	body := w.EncodeAll(plain, nil)
	if len(body) > wire.MaxBody {
		return nil, errTooLarge
	}
	return body, nil
}

// decode is the inverse of encode, for files that may have been damaged. All
// its errors are errUnreadable.
func decode(body []byte) (*wire.Report, error) {
	if len(body) > wire.MaxBody {
		return nil, fmt.Errorf("%w: %d bytes", errUnreadable, len(body))
	}
	r, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(wire.MaxReport))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	plain, err := r.DecodeAll(body, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	rep := new(wire.Report)
	if err := proto.Unmarshal(plain, rep); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if rep.Number == 0 || len(rep.Windows) == 0 || len(rep.Windows) > wire.MaxWindows {
		return nil, fmt.Errorf("%w: report %d with %d windows", errUnreadable, rep.Number, len(rep.Windows))
	}
	return rep, nil
}
