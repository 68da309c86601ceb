// Package delta makes and applies patches from one executable to another.
//
// An old and a new file arrive, a patch leaves; or an old file and a patch
// arrive and the new file leaves. Apply trusts neither: it holds no more memory
// than it is allowed, reads and writes nothing out of bounds, and reports
// success only if what it wrote has the hash that was promised. It imports
// nothing of ours.
//
// # Format
//
// A patch is a header of 104 bytes and a payload. Integers are unsigned and
// little-endian.
//
//	offset  bytes
//	     0      8  magic: e9 "EGDLT" 0d 0a
//	     8      1  version: 1
//	     9      1  method
//	    10      6  zero
//	    16      8  size of the old file; 0 if the method needs none
//	    24      8  size of the new file
//	    32      8  size of the payload
//	    40     32  SHA-256 of the old file; zero if the method needs none
//	    72     32  SHA-256 of the new file
//	   104         payload; nothing follows it
//
// The methods are
//
//	1  zstd        the new file as a Zstandard frame
//	2  zstd-patch  a Zstandard frame whose dictionary is the old file, raw: what
//	               `zstd --patch-from=OLD NEW` writes
//	3  bsdiff      see below
//	4  reserved for bsdiff with reference prediction: the payload of bsdiff,
//	               whose old image is first rewritten by a transformation that
//	               the control stream determines
//
// A reader refuses versions and methods that it does not know. A bare
// Zstandard frame, with or without a dictionary, is read as well; its promised
// hash must then come from elsewhere.
//
// # Payload of bsdiff
//
// Three streams: control, extra and difference, in this order. First comes what
// describes them, 17 bytes each, then their compressed bytes.
//
//	0  1  compression: 1 bzip2, 2 Zstandard
//	1  8  size
//	9  8  size when compressed
//
// The control stream is a list of steps, each of three variable-length integers
// as in encoding/binary: seek (signed), add and copy (unsigned). A step moves
// the place in the old file by seek; adds the next add bytes of the difference
// stream to as many bytes of the old file, byte by byte modulo 256, which are
// the next of the new file, and moves the place in the old file behind them;
// then appends the next copy bytes of the extra stream. No step is empty.
// The sizes of difference and extra together are the size of the new file.
package delta
