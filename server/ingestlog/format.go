package ingestlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	segmentMagic  = "evergreen log 1\n"
	segmentHeader = 32
	frameHeader   = 12
	metaBytes     = 55 // of a payload, before the country
	maxPayload    = 1 << 20
	maxBatch      = 4 << 20
	offsetBits    = 40
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// A Position is a place in the log: the number of a segment and an offset in it.
type Position uint64

func position(segment uint64, offset int64) Position {
	return Position(segment<<offsetBits | uint64(offset))
}

func (p Position) segment() uint64 { return uint64(p) >> offsetBits }
func (p Position) offset() int64   { return int64(p & (1<<offsetBits - 1)) }

func (p Position) String() string { return fmt.Sprintf("%d:%d", p.segment(), p.offset()) }

// encodeSegmentHeader is what a segment begins with.
func encodeSegmentHeader(number uint64) []byte {
	b := append(make([]byte, 0, segmentHeader), segmentMagic...)
	b = binary.LittleEndian.AppendUint64(b, number)
	b = binary.LittleEndian.AppendUint32(b, checksum(b))
	return append(b, 0, 0, 0, 0)
}

// encodeFrame leaves room for the header's first eight bytes, which depend on
// where the frame will lie.
func encodeFrame(r Record) ([]byte, error) {
	var media byte
	switch r.MediaType {
	case wire.TypeProtobuf:
	case wire.TypeJSON:
		media = 1
	default:
		return nil, fmt.Errorf("a report of type %.60q can't be logged", r.MediaType)
	}
	n := metaBytes + len(r.Country) + len(r.Body)
	if len(r.Country) > 255 || n > maxPayload {
		return nil, fmt.Errorf("a report of %d bytes is too large to be logged: at most %d", len(r.Body), maxPayload-metaBytes-255)
	}
	b := make([]byte, frameHeader, frameHeader+n)
	b = append(b, 1, media)
	b = append(b, r.Instance[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Received.UnixNano()))
	b = binary.LittleEndian.AppendUint64(b, r.Number)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.From))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.To))
	b = binary.LittleEndian.AppendUint32(b, r.Network)
	b = append(b, byte(len(r.Country)))
	b = append(b, r.Country...)
	b = append(b, r.Body...)
	binary.LittleEndian.PutUint32(b[8:], checksum(b[frameHeader:]))
	return b, nil
}

// placeFrame completes the header of a frame that will lie at an offset.
func placeFrame(frame []byte, segment uint64, offset int64) {
	n := uint32(len(frame) - frameHeader)
	binary.LittleEndian.PutUint32(frame, n)
	binary.LittleEndian.PutUint32(frame[4:], placeChecksum(segment, offset, n))
}

func placeChecksum(segment uint64, offset int64, n uint32) uint32 {
	var b [20]byte
	binary.LittleEndian.PutUint64(b[0:], segment)
	binary.LittleEndian.PutUint64(b[8:], uint64(offset))
	binary.LittleEndian.PutUint32(b[16:], n)
	return checksum(b[:])
}

// frameLength reads the first eight bytes of the frame at an offset. It answers
// 0 if they are not those of a frame.
func frameLength(b []byte, segment uint64, offset int64) int {
	n := binary.LittleEndian.Uint32(b)
	if n < metaBytes || n > maxPayload || binary.LittleEndian.Uint32(b[4:]) != placeChecksum(segment, offset, n) {
		return 0
	}
	return frameHeader + int(n)
}

// What became of a frame.
type frameState int

const (
	frameWhole frameState = iota
	frameErased
	frameDamaged
)

func stateOf(frame []byte) frameState {
	if binary.LittleEndian.Uint32(frame[8:]) == checksum(frame[frameHeader:]) {
		return frameWhole
	}
	for _, c := range frame[8:] {
		if c != 0 {
			return frameDamaged
		}
	}
	return frameErased
}

var errPayload = errors.New("the record is of a version that this server does not know: update the server")

// decodePayload decodes what a whole frame holds. The record's body shares b.
func decodePayload(b []byte) (Record, error) {
	if len(b) < metaBytes || b[0] != 1 || b[1] > 1 {
		return Record{}, errPayload
	}
	country := int(b[54])
	if metaBytes+country > len(b) {
		return Record{}, errPayload
	}
	r := Record{
		Received:  time.Unix(0, int64(binary.LittleEndian.Uint64(b[18:]))).UTC(),
		Instance:  wire.InstanceID(b[2:18]),
		Number:    binary.LittleEndian.Uint64(b[26:]),
		From:      int64(binary.LittleEndian.Uint64(b[34:])),
		To:        int64(binary.LittleEndian.Uint64(b[42:])),
		Network:   binary.LittleEndian.Uint32(b[50:]),
		Country:   string(b[metaBytes : metaBytes+country]),
		MediaType: wire.TypeProtobuf,
		Body:      b[metaBytes+country : len(b) : len(b)],
	}
	if b[1] == 1 {
		r.MediaType = wire.TypeJSON
	}
	return r, nil
}
