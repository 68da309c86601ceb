package recorder

import (
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A Request is what the recorder is told of one request when it ends. The
// values are of the dictionary's dimensions.
type Request struct {
	Protocol  wire.Value // wire.Protocol
	Method    string
	Status    int // 0 if none was sent
	Transport wire.Value
	Family    wire.Value
	Role      wire.Value
	UserAgent string
	Features  Features // of the connection

	RequestBytes  int64         // of the body, as read
	ResponseBytes int64         // of the body, as written
	FirstByte     time.Duration // 0 if no header was written
	Duration      time.Duration

	HandlerError int // status that the handler's error carries, 0 if it returned none
	Panicked     bool
	Aborted      bool       // the client gave up
	Upgrade      wire.Value // wire.Upgrade
	Upgraded     bool
}
