// Package recorder counts what a server sees, on the hot path.
//
// What arrives are finished requests, connections and TLS handshakes, in terms
// of the dictionary (package wire). What leaves are [wire.Window]s for reports
// and a Prometheus collector for the operator's own monitoring.
//
// # How it counts
//
// Every cell of every metric of the dictionary has its place in one dense array
// of 64-bit words, at an offset that is computed from the cell's values. An
// event is an atomic add there: no lock, no allocation, no goroutine, and no
// memory beyond the array, whatever clients send, since what a vocabulary lacks
// is counted as other.
//
// The words are cumulative and never reset. Closing a window reads them and
// takes the difference to what the previous close read, so that an event that
// happens during a close is in this window or in the next one: never in none,
// never in both. Prometheus reads the same words.
//
// There are up to four copies of the array (stripes); a goroutine chooses one
// by the address of its stack, so that processors rarely write to the same
// cache line. Readers add the copies up.
//
// # Windows
//
// Windows have the length of [wire.Timing] and are aligned to UTC. The recorder
// does not look at the clock when it counts: what is counted between two calls
// of Close belongs to the window that was open after the first of them.
// Whoever calls Close should therefore do so soon after each boundary. If it
// comes late (the machine slept, the clock was set forward) everything is put
// in the window that was open; windows between that one and the present are not
// made up, as nobody knows whether the server ran then. If the clock went
// backwards, what was counted stays and is put in the window that the clock now
// says; that may be a window that was reported before, and two windows with the
// same start add up.
package recorder
