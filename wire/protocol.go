package wire

// Paths below the endpoint, which is the URL of a service such as
// https://telemetry.example.
const (
	PathReports  = "/api/v1/reports"
	PathForget   = "/api/v1/forget"
	PathInstance = "/instance/"
)

// Header fields of a signed request.
const (
	HeaderKey       = "Evergreen-Key"       // hexadecimal Ed25519 public key
	HeaderSignature = "Evergreen-Signature" // hexadecimal signature of the body as sent
)

// Media types of a report. Both may have Content-Encoding: zstd; the signature
// is of the encoded body.
const (
	TypeProtobuf = "application/vnd.evergreen.report+protobuf"
	TypeJSON     = "application/json"
)

// Limits of a report, which both sides keep.
const (
	MaxBody       = 256 << 10 // bytes, as sent
	MaxReport     = 2 << 20   // bytes of protobuf or JSON
	MaxWindows    = 96        // windows in one report: eight hours
	MaxModules    = 2048
	MaxFactString = 256 // bytes of any string in Facts
)

// An Ack answers a report with status 200.
type Ack struct {
	// StoredThrough is the highest report number such that this one and all
	// that this instance sent before it are on the server's disk.
	StoredThrough uint64 `json:"stored_through"`
	// ReportEvery tells the instance how often to report, in seconds; an
	// instance keeps it within five minutes and six hours.
	ReportEvery int64 `json:"report_every"`
}

// A Problem is the body of an error, as of RFC 9457. With status 429 or 503,
// Retry-After says when to try again. Status 410 tells an instance to send
// nothing more until it is started again.
type Problem struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// TypeProblem is a Problem's media type.
const TypeProblem = "application/problem+json"

// A Forget is the signed body of a request to delete an instance's reports and
// page. It is good for ten minutes before and after Time.
type Forget struct {
	Instance string `json:"instance"`
	Time     int64  `json:"time"` // Unix seconds
}
