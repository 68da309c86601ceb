// Package clienthello reads TLS ClientHellos as they are on the wire and computes
// their JA3 and JA4 fingerprints. It depends on the standard library only.
//
// What arrives is bytes of a stranger: the segments of one direction of a TCP
// connection, for [Records], or a handshake message, for [Hello.Parse]. What
// leaves is whole handshake messages and plaintext alerts from Records, and a
// [Hello] from Parse: lists in the order of the wire, with GREASE, from which
// [Hello.JA3] and [Hello.JA4] are computed.
//
// No length that was received is trusted: nothing is allocated because of it, and
// nothing is read beyond what is there. Records keeps at most [MaxClear] bytes
// of a connection, and none where a message arrives in one segment. Neither it, nor
// a Hello that is used again, nor [Hello.AppendJA4] allocates for a usual hello,
// except for a server name other than the hello before had.
//
// # Fingerprints
//
// JA3 is by its description of 2017 at Salesforce: MD5 over decimal numbers. JA4
// follows the text of FoxIO's specification (the part under the BSD licence: JA4 of TLS
// clients, nothing else of that family). Where the text and the published
// program differ we follow the text: an ALPN value whose first or last byte is
// neither a letter nor a digit of ASCII gives the first and last digit of its
// hexadecimal form, where the program gives 99.
//
// A hello in SSLv2's format has no extensions and has cipher kinds of three bytes. Both
// fingerprints are computed from those kinds that stand for cipher suites
// of TLS: neither text says what else to do.
package clienthello
