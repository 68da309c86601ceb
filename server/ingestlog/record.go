package ingestlog

import (
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A Record is one report as it was received: verified, but not decoded again.
type Record struct {
	Received  time.Time
	Instance  wire.InstanceID
	Number    uint64 // the report's
	From, To  int64  // Unix seconds: start of its first window, end of its last
	Country   string // ISO 3166-1 alpha-2 of the sender, "" if unknown
	Network   uint32 // autonomous system of the sender, 0 if unknown
	MediaType string // wire.TypeProtobuf or wire.TypeJSON
	Body      []byte // the report, zstd-compressed
}
