// Package hsts remembers which clients were told to use HTTPS only, so that one
// that comes back over plain HTTP is noticed (RFC 6797, HTTP Strict Transport
// Security).
//
// What arrives: the Strict-Transport-Security header of a response over TLS,
// with the client's address, User-Agent and the host's name; later, the same of
// any request. What leaves: whether that client was told so for that host, and
// is still bound by it.
//
// What is guaranteed:
//
//   - Nothing that was given can be read back. Memory keeps 39 bits of a hash of
//     client and host under a random key that is the process's and never
//     leaves it, the minute when the policy ends, and two flags.
//   - Memory has [Size] bytes from the first policy on and none before, whatever
//     clients send. When the eight places where a pair may lie are taken, one of
//     them is forgotten, chosen by the hash. A client that is forgotten is never
//     taken for one that disobeys: the errors are misses.
//   - Every operation takes a bounded number of steps, neither locks nor
//     allocates, and may be called from any number of goroutines.
//   - A client counts as bound never longer than its policy says: the end is
//     rounded down to a minute.
//
// It imports nothing of ours.
package hsts
