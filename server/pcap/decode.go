package pcap

import (
	"encoding/binary"
	"net/netip"
)

// The link types that Decode knows.
const (
	linkNull     = 0 // loopback of BSD
	linkEthernet = 1
	linkRaw      = 101
	linkLoop     = 108 // loopback of OpenBSD
	linkSLL      = 113 // "any" of Linux
	linkIPv4     = 228
	linkIPv6     = 229
	linkSLL2     = 276
)

// A Segment is what one packet carries of TCP or UDP. Data is part of the packet.
type Segment struct {
	From, To netip.AddrPort
	UDP      bool
	Seq      uint32 // of TCP
	SYN      bool
	Data     []byte
}

// Decode finds the TCP or UDP in a packet. There is none in other protocols, in links
// of other types, in fragments of IP and in what is cut short before its header's end.
func Decode(p Packet) (Segment, bool) {
	b := p.Data
	protocol := uint16(0)
	skip := func(header, at int) bool { // a header with an EtherType
		if len(b) < header {
			return false
		}
		protocol = binary.BigEndian.Uint16(b[at:])
		b = b[header:]
		return true
	}
	switch p.Link {
	case linkEthernet:
		if !skip(14, 12) {
			return Segment{}, false
		}
	case linkSLL:
		if !skip(16, 14) {
			return Segment{}, false
		}
	case linkSLL2:
		if !skip(20, 0) {
			return Segment{}, false
		}
	case linkNull, linkLoop:
		if len(b) < 4 {
			return Segment{}, false
		}
		b = b[4:]
		return ip(b)
	case linkRaw, 12, 14, linkIPv4, linkIPv6: // raw IP has had several numbers
		return ip(b)
	default:
		return Segment{}, false
	}
	for range 3 { // VLANs
		if protocol != 0x8100 && protocol != 0x88a8 {
			break
		}
		if !skip(4, 2) {
			return Segment{}, false
		}
	}
	if protocol != 0x0800 && protocol != 0x86dd {
		return Segment{}, false
	}
	return ip(b)
}

func ip(b []byte) (Segment, bool) {
	if len(b) < 20 {
		return Segment{}, false
	}
	switch b[0] >> 4 {
	case 4:
		head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		if head < 20 || len(b) < head || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			return Segment{}, false
		}
		from, to := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		if total >= head && total < len(b) {
			b = b[:total] // without Ethernet's padding; a total of 0 is from segmentation offload
		}
		return transport(b[9], from, to, b[head:])
	case 6:
		if len(b) < 40 {
			return Segment{}, false
		}
		from, to := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		next, total := b[6], int(binary.BigEndian.Uint16(b[4:]))
		b = b[40:]
		if total > 0 && total < len(b) {
			b = b[:total]
		}
		for range 8 {
			switch next {
			case 0, 43, 60: // hop-by-hop, routing, destination
				if len(b) < 8 || len(b) < 8+int(b[1])*8 {
					return Segment{}, false
				}
				next, b = b[0], b[8+int(b[1])*8:]
			default:
				return transport(next, from, to, b)
			}
		}
	}
	return Segment{}, false
}

func transport(protocol byte, from, to netip.Addr, b []byte) (Segment, bool) {
	if len(b) < 8 {
		return Segment{}, false
	}
	s := Segment{
		From: netip.AddrPortFrom(from, binary.BigEndian.Uint16(b)),
		To:   netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[2:])),
	}
	switch protocol {
	case 6:
		if len(b) < 20 || len(b) < int(b[12]>>4)*4 || b[12]>>4 < 5 {
			return Segment{}, false
		}
		s.Seq, s.SYN, s.Data = binary.BigEndian.Uint32(b[4:]), b[13]&2 != 0, b[int(b[12]>>4)*4:]
		return s, true
	case 17:
		if n := int(binary.BigEndian.Uint16(b[4:])); n >= 8 && n < len(b) {
			b = b[:n]
		}
		s.UDP, s.Data = true, b[8:]
		return s, true
	}
	return Segment{}, false
}
