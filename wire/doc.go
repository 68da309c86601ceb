// Package wire is what crosses the network between an instance (a Caddy with
// the module compiled in) and the service: reports, their answers, and the
// dictionary of metrics that both sides share.
//
// # A report's way
//
// The instance posts one [Report] to PathReports. The body is protobuf
// (TypeProtobuf) or JSON with names (TypeJSON), either of them optionally with
// Content-Encoding: zstd. Two header fields sign it: HeaderKey holds the
// instance's Ed25519 public key, HeaderSignature the signature of the body
// exactly as sent, made with Sign for PurposeReport. The instance's id is not
// in the body: it is [IDOf] the key.
//
// Reports are numbered by their sender from 1 and sent one at a time, in
// order. The server answers [Ack] with status 200 only when the report is on
// its disk; the sender drops from its spool what StoredThrough covers and
// sends all else again. A number that was stored before is acknowledged and
// counted no second time. Errors are [Problem] documents.
//
// # The dictionary
//
// [Metrics] lists what is counted. A metric has a kind, a unit and at most five
// dimensions, each a closed vocabulary in which 0 is "other": what a vocabulary
// lacks is counted as other, by the instance already. On the wire, metrics and
// values are numbers; numbers are never used again and vocabularies only grow,
// so that senders and servers of different age agree. A server drops, and
// counts, what it doesn't know.
package wire

//go:generate protoc --go_out=.. --go_opt=module=github.com/caddy-evergreen/evergreen --proto_path=.. wire/report.proto
//go:generate go run ./gendict ../docs/dictionary.md
