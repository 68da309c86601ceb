// Package ingestlog is a durable, append-only log of reports.
//
// In come [Record]s: reports as they were received, verified and compressed.
// Out go the same records, in the order of the log to whoever follows it with
// a cursor ([Log.Read], [Log.Wait]), and by instance and time ([Log.Instance]).
//
// # Guarantees
//
//   - Append returns nil only when the record is on disk: written and
//     fdatasynced. Appends that wait at the same time share one write and one
//     fdatasync.
//   - Append that fails, or whose context ends, says nothing: the record may
//     still be in the log. Reports have numbers, so that readers tell.
//   - A reader sees durable records only, and sees every record that is neither
//     erased nor damaged, in order, from any position that it was given before.
//   - After a crash, what Append acknowledged is there, once.
//   - Without room, Append answers [ErrFull], acknowledges nothing of the batch
//     and takes back what was written of it. It works again once there is room.
//   - One process has the log open; a second one's Open fails.
//
// # Files
//
// A log is a folder. All numbers are little-endian, all checksums CRC-32C.
//
//	LOCK                  held while the log is open
//	0000000001.seg        a segment; the one with the greatest number is written to
//	0000000001.idx        its index, once it is sealed
//	0000000001.seg.aside  a file with that name that was not a segment
//	erase.pending            an erasure under way
//
// A segment is a header and frames, without gaps:
//
//	0   16  "evergreen log 1\n"
//	16   8  the segment's number
//	24   4  checksum of bytes 0 to 24
//	28   4  zero
//
// A frame at offset o of segment s:
//
//	0    4  n: length of the payload, 55 to 1 MiB
//	4    4  checksum of s (8 bytes), o (8 bytes) and n (4 bytes)
//	8    4  checksum of the payload
//	12   n  payload
//
// The header's checksum covers its place, so that what an older file left on
// the disk is never taken for a frame. A frame is erased if its bytes from 8 on
// are all zero: what lies behind it can still be reached, and of the record
// nothing is left, not even a checksum. A payload:
//
//	0    1  1
//	1    1  media type: 0 protobuf, 1 JSON
//	2   16  instance
//	18   8  received, Unix nanoseconds
//	26   8  number of the report
//	34   8  start of its first window, Unix seconds
//	42   8  end of its last window, Unix seconds
//	50   4  autonomous system
//	54   1  c: length of the country
//	55   c  country
//	...     report, zstd-compressed
//
// # Positions
//
// A [Position] is a segment's number times 2^40 plus an offset in it. Positions
// only grow and stay valid over restarts; one that lies in a segment that was
// dropped since stands for the start of the oldest one.
//
// # Start
//
// Open cuts what a crash left behind the last whole frame of the last segment,
// and says how much. Frames that end before it are kept even if they were
// never acknowledged. A batch is at most 4 MiB: if more than that would have to
// be cut, this is no torn write but damage to what was acknowledged before, so
// the segment is sealed and kept as it is. Damaged frames of any segment are
// skipped, counted and reported, and lose nothing but themselves; where a
// frame's header is damaged, the index leads to the next one.
//
// # A failed fdatasync
//
// After fdatasync failed, Linux marks the pages that it could not write clean,
// and a second fdatasync succeeds without having written them ("fsyncgate",
// 2018; Rebello et al.: "Can Applications Recover from fsync Failures?", 2020).
// So nobody waiting is acknowledged, and the segment gets no second try: it is
// cut back to what an earlier fdatasync made durable, read again from disk to
// see that this much is still there, and sealed. The next append begins a new
// segment.
//
// # Index
//
// The index of a sealed segment holds an entry for each record. Deleting it
// costs a scan of the segment at the next start.
//
//	0   16  "evergreen idx 1\n"
//	16   8  the segment's number
//	24   8  length of the segment that is valid
//	32   8  number of entries
//	40   8  first and
//	48   8  last time that a record was received, Unix nanoseconds
//	56   8  the earliest start and
//	64   8  the latest end of the records' windows, Unix seconds
//	72   4  checksum of the entries
//	76   4  checksum of bytes 0 to 76
//	80      entries, ordered by instance, then offset:
//
//	0   16  instance
//	16   8  offset of the frame
//	24   8  start of its first window, Unix seconds
//	32   8  end of its last window, Unix seconds
//
// The entries of the segment that is written to are in memory.
//
// # Erasure
//
// Erase first writes down which frames it is going to erase (erase.pending), then
// overwrites them with zeros, removes their entries from the indexes and, when
// all that is on disk, removes the note. After a crash, Open does what the note
// says again. What the note holds, between two lines of text, are positions,
// eight bytes each, and their checksum. A file system that copies on write, and
// a flash drive, may keep overwritten blocks for some time.
package ingestlog
