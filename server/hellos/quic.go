package hellos

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

// maxPieces bounds the CRYPTO frames of one connection that wait for what is before them.
const maxPieces = 256

// A quicFlow is what one sender of Initial packets has said so far.
type quicFlow struct {
	keys    []*initialKeys // of the first connection id, and of one after a Retry
	crypto  []byte         // of the CRYPTO stream, from its start
	pieces  []piece        // beyond that
	waiting int            // bytes in them
	done    bool
}

type piece struct {
	at   int
	data []byte
}

type initialKeys struct {
	id     string
	aead   cipher.AEAD
	header cipher.Block
	iv     []byte
}

// versions are those whose Initial packets have known keys: RFC 9001, RFC 9369, and drafts.
func salt(version uint32) (salt []byte, prefix string, ok bool) {
	switch {
	case version == 1:
		return []byte("\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a"), "quic ", true
	case version == 0x6b3343cf:
		return []byte("\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9"), "quicv2 ", true
	case version >= 0xff00001d && version <= 0xff000020:
		return []byte("\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99"), "quic ", true
	case version >= 0xff000017 && version <= 0xff00001c:
		return []byte("\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02"), "quic ", true
	}
	return nil, "", false
}

// clientKeys derives the keys of a client's Initial packets from the first
// connection id that it chose for the server.
func clientKeys(version uint32, id []byte) (*initialKeys, error) {
	salt, prefix, _ := salt(version)
	initial, err := hkdf.Extract(sha256.New, id, salt)
	if err != nil {
		return nil, err
	}
	client, err := expand(initial, "client in", 32)
	if err != nil {
		return nil, err
	}
	k := &initialKeys{id: string(id)}
	var key, header []byte
	for _, s := range []struct {
		label string
		size  int
		to    *[]byte
	}{{"key", 16, &key}, {"iv", 12, &k.iv}, {"hp", 16, &header}} {
		if *s.to, err = expand(client, prefix+s.label, s.size); err != nil {
			return nil, err
		}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	k.header, err = aes.NewCipher(header)
	return k, err
}

// expand is HKDF-Expand-Label of TLS 1.3.
func expand(secret []byte, label string, size int) ([]byte, error) {
	label = "tls13 " + label
	info := append([]byte{byte(size >> 8), byte(size), byte(len(label))}, label...)
	return hkdf.Expand(sha256.New, secret, string(append(info, 0)), size)
}

// datagram reads the Initial packets of a datagram, and returns the hello when it is whole.
func (q *quicFlow) datagram(b []byte) []byte {
	for len(b) > 0 && !q.done {
		var ok bool
		if b, ok = q.packet(b); !ok {
			return nil
		}
		if len(q.crypto) >= 4 {
			if n := 4 + (int(q.crypto[1])<<16 | int(q.crypto[2])<<8 | int(q.crypto[3])); q.crypto[0] != 1 || n > maxHello {
				q.done = true
			} else if len(q.crypto) >= n {
				q.done = true
				return q.crypto[:n]
			}
		}
	}
	return nil
}

// packet reads one packet and returns what comes behind it.
func (q *quicFlow) packet(b []byte) (rest []byte, ok bool) {
	if len(b) < 7 || b[0]&0xc0 != 0xc0 {
		return nil, false
	}
	version := binary.BigEndian.Uint32(b[1:])
	if _, _, known := salt(version); !known {
		return nil, false
	}
	initial := b[0]>>4&3 == 0
	if version == 0x6b3343cf {
		initial = b[0]>>4&3 == 1
	}
	at := 5
	id, at, ok := vector(b, at, uint64(b[at]), at+1)
	if !ok || len(id) > 20 || at >= len(b) {
		return nil, false
	}
	_, at, ok = vector(b, at, uint64(b[at]), at+1)
	if !ok {
		return nil, false
	}
	if initial {
		size, next, fine := varint(b, at)
		if _, at, ok = vector(b, at, size, next); !ok || !fine {
			return nil, false
		}
	}
	size, at, ok := varint(b, at)
	if !ok || size > uint64(len(b)-at) {
		return nil, false
	}
	end := at + int(size)
	rest = b[end:]
	if !initial {
		return rest, true
	}
	return rest, q.initial(version, id, b[:end], at)
}

// vector is the size bytes at next, if there are as many.
func vector(b []byte, _ int, size uint64, next int) (v []byte, after int, ok bool) {
	if next > len(b) || size > uint64(len(b)-next) {
		return nil, next, false
	}
	return b[next : next+int(size)], next + int(size), true
}

func varint(b []byte, at int) (v uint64, next int, ok bool) {
	if at >= len(b) {
		return 0, at, false
	}
	n := 1 << (b[at] >> 6)
	if len(b)-at < n {
		return 0, at, false
	}
	v = uint64(b[at] & 0x3f)
	for _, c := range b[at+1 : at+n] {
		v = v<<8 | uint64(c)
	}
	return v, at + n, true
}

// initial decrypts an Initial packet whose packet number is at number. A client goes on
// with the keys of the id that it chose first, or of the one that a Retry gave it.
func (q *quicFlow) initial(version uint32, id, packet []byte, number int) bool {
	for _, k := range q.keys {
		if plain, ok := k.open(packet, number); ok {
			return q.frames(plain)
		}
		if k.id == string(id) {
			return false
		}
	}
	k, err := clientKeys(version, id)
	if err != nil {
		return false
	}
	plain, ok := k.open(packet, number)
	if !ok {
		return false
	}
	if len(q.keys) == 2 {
		q.keys = q.keys[:0]
	}
	q.keys = append(q.keys, k)
	return q.frames(plain)
}

func (k *initialKeys) open(packet []byte, number int) ([]byte, bool) {
	if len(packet) < number+20 {
		return nil, false
	}
	var mask [16]byte
	k.header.Encrypt(mask[:], packet[number+4:number+20])
	first := packet[0] ^ mask[0]&0x0f
	size := int(first&3) + 1
	head := append([]byte(nil), packet[:number+size]...)
	head[0] = first
	nonce := append([]byte(nil), k.iv...)
	for i := range size {
		head[number+i] ^= mask[1+i]
		// The number is taken for the whole one: a client's first packets have small ones.
		nonce[len(nonce)-size+i] ^= head[number+i]
	}
	plain, err := k.aead.Open(nil, nonce, packet[number+size:], head)
	return plain, err == nil
}

// frames collects the CRYPTO frames of a packet. Those beside them that an Initial
// packet may have are skipped.
func (q *quicFlow) frames(b []byte) bool {
	at := 0
	for at < len(b) {
		kind := b[at]
		at++
		switch kind {
		case 0, 1: // PADDING, PING
		case 2, 3: // ACK
			values := uint64(4)
			for i := uint64(0); i < values; i++ {
				v, next, ok := varint(b, at)
				if !ok {
					return false
				}
				at = next
				if i == 2 { // the count of ranges
					if v > uint64(len(b)) {
						return false
					}
					values += 2 * v
					if kind == 3 {
						values += 3
					}
				}
			}
		case 6:
			offset, next, ok := varint(b, at)
			if !ok {
				return false
			}
			size, next, ok := varint(b, next)
			if !ok {
				return false
			}
			data, next, ok := vector(b, at, size, next)
			if !ok || offset > maxHello {
				return false
			}
			q.add(int(offset), data)
			at = next
		default:
			return true // CONNECTION_CLOSE, or what must not be there
		}
	}
	return true
}

// add puts a piece of the CRYPTO stream in its place.
func (q *quicFlow) add(at int, data []byte) {
	if at > len(q.crypto) {
		if len(q.pieces) < maxPieces && q.waiting+len(data) <= maxHello {
			q.pieces = append(q.pieces, piece{at, append([]byte(nil), data...)})
			q.waiting += len(data)
		}
		return
	}
	q.take(at, data)
	for progress := true; progress; {
		progress = false
		for i, p := range q.pieces {
			if p.at <= len(q.crypto) {
				q.take(p.at, p.data)
				q.waiting -= len(p.data)
				q.pieces = append(q.pieces[:i], q.pieces[i+1:]...)
				progress = true
				break
			}
		}
	}
}

func (q *quicFlow) take(at int, data []byte) {
	if skip := len(q.crypto) - at; skip < len(data) && len(q.crypto) <= maxHello {
		q.crypto = append(q.crypto, data[skip:]...)
	}
}
