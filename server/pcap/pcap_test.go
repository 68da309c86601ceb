package pcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// classic makes a pcap, and ng a pcapng, of two packets.
func classic(order binary.ByteOrder, magic uint32) []byte {
	b := make([]byte, 24)
	order.PutUint32(b, magic)
	order.PutUint32(b[20:], 1)
	for _, p := range []string{"one", "other"} {
		head := make([]byte, 16)
		order.PutUint32(head[8:], uint32(len(p)))
		b = append(append(b, head...), p...)
	}
	return b
}

func block(order binary.ByteOrder, kind uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	b := make([]byte, 8)
	order.PutUint32(b, kind)
	order.PutUint32(b[4:], uint32(12+len(body)))
	return append(append(b, body...), b[4:8]...)
}

func ng(order binary.ByteOrder) []byte {
	section := make([]byte, 16)
	order.PutUint32(section, magicOrder)
	iface := make([]byte, 8)
	order.PutUint16(iface, 101)
	enhanced := make([]byte, 20)
	order.PutUint32(enhanced[12:], 3)
	simple := make([]byte, 4)
	order.PutUint32(simple, 5)
	return bytes.Join([][]byte{block(order, magicSection, section), block(order, blockInterface, iface), block(order, 5, make([]byte, 12)),
		block(order, blockPacket, append(enhanced, "one"...)), block(order, blockSimple, append(simple, "other"...))}, nil)
}

func packets(b []byte) (all []string, link uint32, err error) {
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, 0, err
	}
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, link, nil
		} else if err != nil {
			return all, link, err
		}
		all, link = append(all, string(p.Data)), p.Link
	}
}

func TestReader(t *testing.T) {
	for name, c := range map[string]struct {
		file []byte
		link uint32
	}{
		"little":    {classic(binary.LittleEndian, magicMicro), 1},
		"big":       {classic(binary.BigEndian, magicMicro), 1},
		"nano":      {classic(binary.LittleEndian, magicNano), 1},
		"ng":        {ng(binary.LittleEndian), 101},
		"ng big":    {ng(binary.BigEndian), 101},
		"ng joined": {append(ng(binary.BigEndian), ng(binary.LittleEndian)...), 101},
	} {
		want := []string{"one", "other"}
		if name == "ng joined" {
			want = append(want, want...)
		}
		got, link, err := packets(c.file)
		if diff := cmp.Diff(want, got); diff != "" || err != nil || link != c.link || !Looks(c.file) {
			t.Errorf("%s: %v, link %d, %s", name, err, link, diff)
		}
		for n := range c.file {
			got, _, err := packets(c.file[:n])
			if err == nil && len(got) == len(want) || err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, io.EOF) {
				t.Errorf("%s, its first %d bytes: %q, %v", name, n, got, err)
			}
		}
	}
	huge := classic(binary.LittleEndian, magicMicro)
	huge[24+11] = 0xff
	if _, _, err := packets(huge); !errors.Is(err, ErrFormat) {
		t.Errorf("a packet of 4 GB: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(classic(binary.LittleEndian, magicMicro))
	f.Add(ng(binary.BigEndian))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		total := 0
		for {
			p, err := r.Next()
			if err != nil {
				break
			}
			Decode(p)
			if total += len(p.Data) + 12; total > len(b) {
				t.Fatalf("%d bytes out of %d", total, len(b))
			}
		}
		for _, link := range []uint32{linkNull, linkEthernet, linkRaw, linkSLL, linkSLL2} {
			Decode(Packet{link, b})
		}
	})
}
