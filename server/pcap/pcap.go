// Package pcap reads capture files, in pcap's and pcapng's format, and the TCP and
// UDP that is in their packets.
//
// What arrives is a file of a stranger; what leaves are packets, one after the
// other, and no length in the file is trusted: a packet or block of more than
// [MaxPacket] bytes is an error, and nothing else is kept than the packet at
// hand and what interfaces a pcapng file has, of which [MaxInterfaces] are allowed.
package pcap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	MaxPacket     = 1 << 20
	MaxInterfaces = 4096
)

// ErrFormat is wrapped by errors about what is in the file, in contrast to those of reading it.
var ErrFormat = errors.New("not a well-formed capture")

// A Packet is one frame. Data is overwritten by the next one.
type Packet struct {
	Link uint32 // the link type, as libpcap numbers them
	Data []byte
}

// A Reader reads the packets of a capture file.
type Reader struct {
	r          *bufio.Reader
	order      binary.ByteOrder
	ng         bool
	link       uint32
	interfaces []uint32 // link types of a pcapng section
	buf        []byte
}

const (
	magicMicro   = 0xa1b2c3d4
	magicNano    = 0xa1b23c4d
	magicSection = 0x0a0d0d0a // the same in both byte orders
	magicOrder   = 0x1a2b3c4d
)

// Looks reports whether a file that begins with b, of 4 bytes or more, is a capture.
func Looks(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	for _, m := range []uint32{binary.LittleEndian.Uint32(b), binary.BigEndian.Uint32(b)} {
		if m == magicMicro || m == magicNano || m == magicSection {
			return true
		}
	}
	return false
}

// NewReader reads the head of a capture file.
func NewReader(r io.Reader) (*Reader, error) {
	p := &Reader{r: bufio.NewReaderSize(r, 64<<10)}
	head, err := p.r.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("%w: its first 4 bytes: %w", ErrFormat, short(err))
	}
	if binary.LittleEndian.Uint32(head) == magicSection {
		p.ng = true
		return p, nil // the section header is a block like the others
	}
	b, err := p.read(24)
	if err != nil {
		return nil, err
	}
	switch le, be := binary.LittleEndian.Uint32(b), binary.BigEndian.Uint32(b); {
	case le == magicMicro || le == magicNano:
		p.order = binary.LittleEndian
	case be == magicMicro || be == magicNano:
		p.order = binary.BigEndian
	default:
		return nil, fmt.Errorf("%w: it begins with %x, as neither pcap nor pcapng does", ErrFormat, b[:4])
	}
	p.link = p.order.Uint32(b[20:]) & 0xffff
	return p, nil
}

func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// read reads n bytes into the reader's buffer. It is io.EOF only if there were none.
func (p *Reader) read(n int) ([]byte, error) {
	if cap(p.buf) < n {
		p.buf = make([]byte, max(n, 4096))
	}
	b := p.buf[:n]
	switch _, err := io.ReadFull(p.r, b); {
	case err == nil:
		return b, nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("%w: it ends amid a packet", ErrFormat)
	default:
		return nil, err
	}
}

// Next is the next packet, or io.EOF after the last.
func (p *Reader) Next() (Packet, error) {
	if p.ng {
		return p.nextBlock()
	}
	b, err := p.read(16)
	if err != nil {
		return Packet{}, err
	}
	n := p.order.Uint32(b[8:])
	if n > MaxPacket {
		return Packet{}, fmt.Errorf("%w: a packet of %d bytes", ErrFormat, n)
	}
	data, err := p.read(int(n))
	if err != nil {
		return Packet{}, fmt.Errorf("%w: it ends amid a packet", ErrFormat)
	}
	return Packet{p.link, data}, nil
}

const (
	blockInterface = 1
	blockOldPacket = 2
	blockSimple    = 3
	blockPacket    = 6
)

// nextBlock reads blocks up to one that has a packet.
func (p *Reader) nextBlock() (Packet, error) {
	for {
		head, err := p.r.Peek(12)
		if len(head) == 0 && errors.Is(err, io.EOF) {
			return Packet{}, io.EOF
		} else if err != nil {
			return Packet{}, fmt.Errorf("%w: its last block: %w", ErrFormat, short(err))
		}
		if binary.LittleEndian.Uint32(head) == magicSection {
			p.interfaces = p.interfaces[:0]
			switch {
			case binary.LittleEndian.Uint32(head[8:]) == magicOrder:
				p.order = binary.LittleEndian
			case binary.BigEndian.Uint32(head[8:]) == magicOrder:
				p.order = binary.BigEndian
			default:
				return Packet{}, fmt.Errorf("%w: a section without a byte order", ErrFormat)
			}
		}
		if p.order == nil {
			return Packet{}, fmt.Errorf("%w: no section header", ErrFormat)
		}
		kind, size := p.order.Uint32(head), p.order.Uint32(head[4:])
		if size < 12 || size%4 != 0 || size > MaxPacket {
			return Packet{}, fmt.Errorf("%w: a block of %d bytes", ErrFormat, size)
		}
		b, err := p.read(int(size))
		if err != nil {
			return Packet{}, fmt.Errorf("%w: it ends amid a block", ErrFormat)
		}
		if packet, ok, err := p.block(kind, b[8:len(b)-4]); ok || err != nil {
			return packet, err
		}
	}
}

// block reads the body of one block.
func (p *Reader) block(kind uint32, b []byte) (packet Packet, ok bool, err error) {
	var iface, size uint32
	var data []byte
	switch {
	case kind == blockInterface && len(b) >= 8:
		if len(p.interfaces) == MaxInterfaces {
			return Packet{}, false, fmt.Errorf("%w: more than %d interfaces", ErrFormat, MaxInterfaces)
		}
		p.interfaces = append(p.interfaces, uint32(p.order.Uint16(b)))
		return Packet{}, false, nil
	case kind == blockPacket && len(b) >= 20:
		iface, size, data = p.order.Uint32(b), p.order.Uint32(b[12:]), b[20:]
	case kind == blockOldPacket && len(b) >= 20:
		iface, size, data = uint32(p.order.Uint16(b)), p.order.Uint32(b[12:]), b[20:]
	case kind == blockSimple && len(b) >= 4:
		data = b[4:]
		size = min(p.order.Uint32(b), uint32(len(data)))
	default:
		return Packet{}, false, nil // statistics, names, comments, secrets
	}
	if int64(size) > int64(len(data)) || int64(iface) >= int64(len(p.interfaces)) {
		return Packet{}, false, fmt.Errorf("%w: a packet of %d bytes in %d, of interface %d of %d", ErrFormat, size, len(data), iface, len(p.interfaces))
	}
	return Packet{p.interfaces[iface], data[:size]}, true, nil
}
