// Package reporter brings what the recorder counted to the service.
//
// What arrives are closed windows, what leaves are signed reports over HTTP.
// In between lies a spool on disk. Guaranteed is:
//
//  1. A closed window is in the spool before it is anywhere else. A crash loses
//     at most the window that was open.
//  2. A report's number is used for one content only, whatever crashes when,
//     and a window is in one report only. Sending again sends the same bytes.
//  3. A report leaves the spool when the server says that it is stored, or when
//     it is dropped, and then the drop is itself counted and reported.
//  4. Nothing is sent before the notice of the first start was in the log for
//     Timing.Notice, nor without an endpoint; without an endpoint nothing is
//     written to disk either.
//  5. Failing disks and failing servers never become an error of the caller: Run
//     only ends when its context does.
//
// # The folder
//
//	identity.key                    Ed25519 private key (PKCS #8, PEM)
//	notice                          when the first start's notice was logged
//	lock                            held for the duration of one operation
//	sender.lock                     held by the process that sends
//	spool/INSTANCE/state.json       ledger: highest number sealed, highest stored
//	spool/INSTANCE/NUMBER.open      report that still takes in windows
//	spool/INSTANCE/NUMBER.report    sealed report, waiting to be stored
//
// A report's file holds the body exactly as it is sent: protobuf in a zstd frame
// with a checksum. Every file is written beside its place, synced and renamed.
//
// There is at most one open report. A window that closes is added to it by
// replacing the file, so that number, windows and facts change at once. When a
// report is due and no sealed one waits, the open one is sealed: first the
// ledger notes its number, then the file is renamed. Only sealed reports are
// sent, one at a time, lowest first, and a sealed one never changes. While a
// server can't be reached, the open report goes on to take in windows up to the
// limits of a report, so that a week offline is some twenty reports. When
// the server has stored a report, first the ledger notes it, then the file is
// removed; what the ledger covers is removed at the next occasion, too. The
// next number is one more than the highest of the ledger's and the files'.
//
// The spool lies below the instance's id, and a new identity begins by writing
// its own ledger, then replacing the key: that is the moment of change. A key
// without a ledger has lost count of its numbers and is replaced for that
// reason. The spool of a former identity is dropped, not sent under a new name:
// the server may have stored part of it already, and whoever asks for a new
// identity asks not to be linked to the old one.
//
// # Several processes
//
// An old and a new Caddy may overlap, and two may share a data directory. Every
// operation on the folder holds the lock and begins by reading the folder, so
// that all of them share one identity, one sequence of numbers and one spool.
// Only the holder of sender.lock sends; the lock passes on when it exits.
// Those processes are one instance to the service.
//
// # Where the disk fails
//
// A folder that can't be used at the start, or has failed for an hour, is
// replaced by one in memory, with its own identity and a small bound; that is
// logged once. What is in the folder stays there for the next start.
package reporter
