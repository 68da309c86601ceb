package delta

import (
	"bufio"
	"bytes"
	"cmp"
	stdbzip2 "compress/bzip2"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Limits are what a patch may ask for. The zero value is meant for executables
// of servers.
type Limits struct {
	// Size is that of the new file, at most, in bytes; 0 is 1 GiB.
	Size int64
	// Memory is about what applying holds at once, in bytes; 0 is 512 MiB. Bsdiff
	// holds 8 MiB and its smaller streams, zstd-patch the old file and twice the
	// window, which is as large as both files.
	Memory int64
	// SHA256 is the hash that the result must have whatever the patch promises;
	// zero takes the patch's word. A bare Zstandard frame has none: it needs this.
	SHA256 [32]byte
}

func (l Limits) or() Limits {
	l.Size = cmp.Or(l.Size, 1<<30)
	l.Memory = cmp.Or(l.Memory, 512<<20)
	return l
}

// Apply writes to out the new file that a patch makes of old, which may be nil
// for method zstd, and nothing but the patch may be left in patch. What is in out
// after an error is worth nothing. Its errors are ErrFormat, ErrOld, ErrResult,
// ErrLimit, and those of reading and writing.
func Apply(old *io.SectionReader, patch io.Reader, out io.Writer, l Limits) (Header, error) {
	l = l.or()
	in := bufio.NewReaderSize(patch, 64<<10)
	h, err := begin(in, old, l)
	if err != nil {
		return Header{}, err
	}
	payload := io.Reader(in)
	if h.Payload >= 0 {
		payload = io.LimitReader(in, h.Payload)
	}
	w := &verifier{out: out, hash: sha256.New(), left: h.NewSize}
	switch h.Method {
	case Zstd:
		err = unzstd(nil, payload, w, l.Memory)
	case ZstdPatch:
		err = unzstd(old, payload, w, l.Memory)
	case Bsdiff:
		err = bspatch(old, payload, h, w, l.Memory)
	}
	if err != nil {
		return h, err
	}
	if _, err := in.ReadByte(); err == nil {
		return h, fmt.Errorf("%w: something follows it", ErrFormat)
	} else if !errors.Is(err, io.EOF) {
		return h, fmt.Errorf("reading a patch: %w", err)
	}
	if h.Payload < 0 {
		h.NewSize = l.Size - w.left
	} else if w.left != 0 {
		return h, fmt.Errorf("%w: it ends %d bytes early", ErrResult, w.left)
	}
	if got := [32]byte(w.hash.Sum(nil)); got != h.NewSHA256 {
		return h, fmt.Errorf("%w: its SHA-256 is %x, not %x", ErrResult, got, h.NewSHA256)
	}
	return h, nil
}

// begin reads the header and checks the old file. The header of a bare frame has
// a negative Payload.
func begin(in *bufio.Reader, old *io.SectionReader, l Limits) (Header, error) {
	head, err := in.Peek(HeaderSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return Header{}, fmt.Errorf("reading a patch: %w", err)
	}
	if len(head) >= 4 && binary.LittleEndian.Uint32(head) == 0xfd2fb528 {
		if l.SHA256 == [32]byte{} {
			return Header{}, fmt.Errorf("%w: a bare Zstandard frame says not what it makes: give the SHA-256 that the result must have", ErrFormat)
		}
		h := Header{Method: Zstd, NewSize: l.Size, Payload: -1, NewSHA256: l.SHA256}
		if old != nil {
			h.Method, h.OldSize = ZstdPatch, old.Size()
		}
		return h, nil
	}
	h, err := ParseHeader(head)
	if err != nil {
		return Header{}, err
	}
	if _, err := in.Discard(HeaderSize); err != nil {
		return Header{}, fmt.Errorf("reading a patch: %w", err)
	}
	if h.NewSize > l.Size {
		return Header{}, fmt.Errorf("%w: the new file would have %d bytes: at most %d are allowed", ErrLimit, h.NewSize, l.Size)
	}
	if l.SHA256 != [32]byte{} && l.SHA256 != h.NewSHA256 {
		return Header{}, fmt.Errorf("%w: the patch makes the file with SHA-256 %x, not %x", ErrResult, h.NewSHA256, l.SHA256)
	}
	if h.Method == Zstd {
		return h, nil
	}
	if old == nil {
		return Header{}, fmt.Errorf("%w: method %v needs the old file", ErrOld, h.Method)
	}
	if old.Size() != h.OldSize {
		return Header{}, fmt.Errorf("%w: it has %d bytes, not %d", ErrOld, old.Size(), h.OldSize)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(old, 0, h.OldSize)); err != nil {
		return Header{}, fmt.Errorf("reading the old file: %w", err)
	}
	if got := [32]byte(sum.Sum(nil)); got != h.OldSHA256 {
		return Header{}, fmt.Errorf("%w: its SHA-256 is %x, not %x", ErrOld, got, h.OldSHA256)
	}
	return h, nil
}

// verifier passes on at most as many bytes as are left, and hashes them.
type verifier struct {
	out  io.Writer
	hash hash.Hash
	left int64
}

func (v *verifier) Write(b []byte) (int, error) {
	if int64(len(b)) > v.left {
		return 0, fmt.Errorf("%w: the new file goes on after its size", ErrLimit)
	}
	v.left -= int64(len(b))
	v.hash.Write(b)
	n, err := v.out.Write(b)
	if err != nil {
		return n, fmt.Errorf("writing the new file: %w", err)
	}
	return n, nil
}

func unzstd(old *io.SectionReader, payload io.Reader, w io.Writer, memory int64) error {
	options := []zstd.DOption{zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true)}
	if old != nil && old.Size() > 0 {
		if old.Size() > memory {
			return fmt.Errorf("%w: the old file has %d bytes: at most %d of memory are allowed", ErrLimit, old.Size(), memory)
		}
		memory -= old.Size()
		dictionary := make([]byte, old.Size())
		if _, err := io.ReadFull(io.NewSectionReader(old, 0, old.Size()), dictionary); err != nil {
			return fmt.Errorf("reading the old file: %w", err)
		}
		options = append(options, zstd.WithDecoderDictRaw(0, dictionary))
	}
	// Of the history, the decoder holds a window and a little more.
	window := uint64(max(min(memory/2, maxWindow), zstd.MinWindowSize))
	d, err := zstd.NewReader(payload, append(options, zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(maxSize))...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	defer d.Close()
	if _, err := io.Copy(w, d.IOReadCloser()); err != nil {
		return decoding(err)
	}
	return nil
}

// decoding tells errors of ours and of reading from those of a decoder.
func decoding(err error) error {
	switch {
	case errors.Is(err, ErrLimit), errors.Is(err, ErrFormat):
		return err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("%w: %w", ErrLimit, err)
	}
	return fmt.Errorf("%w: %w", ErrFormat, err)
}

// A description is that of a stream of bsdiff.
type description struct {
	compression      byte
	size, compressed int64
}

func parseDescription(b []byte) (description, error) {
	d := description{b[0], int64(binary.LittleEndian.Uint64(b[1:])), int64(binary.LittleEndian.Uint64(b[9:]))}
	if d.compression != bzip2Stream && d.compression != zstdStream {
		return d, fmt.Errorf("%w: compression %d is not known here", ErrFormat, d.compression)
	}
	if d.size < 0 || d.size > maxSize || d.compressed < 0 || d.compressed > maxSize {
		return d, fmt.Errorf("%w: a stream of %d bytes, compressed %d", ErrFormat, uint64(d.size), uint64(d.compressed))
	}
	return d, nil
}

// streamWindow bounds the memory of each of bsdiff's Zstandard streams.
const streamWindow = 128 << 20

// open gives the stream's bytes and one more if there is, so that a reader who
// took all of them sees its checksum verified.
func (d description) open(r io.Reader, memory int64) (*bufio.Reader, func(), error) {
	if d.compression == bzip2Stream {
		return bufio.NewReader(io.LimitReader(stdbzip2.NewReader(r), d.size+1)), func() {}, nil
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxSize), zstd.WithDecoderMaxWindow(uint64(max(min(memory, streamWindow), zstd.MinWindowSize))))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return bufio.NewReader(io.LimitReader(z, d.size+1)), z.Close, nil
}

func bspatch(old *io.SectionReader, payload io.Reader, h Header, w io.Writer, memory int64) error {
	var head [3 * describeSize]byte
	if _, err := io.ReadFull(payload, head[:]); err != nil {
		return fmt.Errorf("%w: its payload is cut short: %w", ErrFormat, err)
	}
	var d [3]description
	for i := range d {
		var err error
		if d[i], err = parseDescription(head[i*describeSize:]); err != nil {
			return err
		}
	}
	control, extra, diff := d[0], d[1], d[2]
	switch {
	case extra.size+diff.size != h.NewSize:
		return fmt.Errorf("%w: its streams make %d bytes, not %d", ErrFormat, extra.size+diff.size, h.NewSize)
	case control.compressed+extra.compressed+diff.compressed != h.Payload-int64(len(head)):
		return fmt.Errorf("%w: its streams are not as long as its payload", ErrFormat)
	case control.compressed+extra.compressed > memory:
		return fmt.Errorf("%w: %d bytes of streams: at most %d of memory are allowed", ErrLimit, control.compressed+extra.compressed, memory)
	}
	// Control and extra are held in memory, compressed; the difference is read on.
	var readers [3]*bufio.Reader
	for i := range d {
		from := payload
		if i < 2 {
			var b bytes.Buffer
			if n, err := io.Copy(&b, io.LimitReader(payload, d[i].compressed)); err != nil {
				return fmt.Errorf("reading a patch: %w", err)
			} else if n < d[i].compressed {
				return fmt.Errorf("%w: a stream is cut short", ErrFormat)
			}
			from = &b
		}
		r, stop, err := d[i].open(from, memory/4)
		if err != nil {
			return err
		}
		defer stop()
		readers[i] = r
	}
	return steps(old, readers[0], readers[1], readers[2], w)
}

func steps(old *io.SectionReader, control, extra, diff *bufio.Reader, w io.Writer) error {
	var at int64
	buf, add := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		if _, err := control.Peek(1); errors.Is(err, io.EOF) {
			break
		}
		seek, err := binary.ReadVarint(control)
		if err != nil {
			return fmt.Errorf("%w: its control stream: %w", ErrFormat, err)
		}
		var n [2]uint64
		for i := range n {
			if n[i], err = binary.ReadUvarint(control); err != nil {
				return fmt.Errorf("%w: its control stream: %w", ErrFormat, err)
			}
		}
		if seek < -maxSize || seek > maxSize || n[0] > maxSize || n[1] > maxSize || n[0]+n[1] == 0 {
			return fmt.Errorf("%w: a step seeks %d, adds %d, copies %d", ErrFormat, seek, n[0], n[1])
		}
		at += seek
		if at < 0 || at+int64(n[0]) > old.Size() {
			return fmt.Errorf("%w: a step reads %d bytes at %d of an old file of %d", ErrFormat, n[0], at, old.Size())
		}
		for left := n[0]; left > 0; {
			k := min(left, uint64(len(buf)))
			if _, err := io.ReadFull(diff, add[:k]); err != nil {
				return decoding(fmt.Errorf("its difference stream: %w", err))
			}
			if _, err := old.ReadAt(buf[:k], at); err != nil {
				return fmt.Errorf("reading the old file: %w", err)
			}
			for i := range buf[:k] {
				buf[i] += add[i]
			}
			if _, err := w.Write(buf[:k]); err != nil {
				return err
			}
			at, left = at+int64(k), left-k
		}
		for left := n[1]; left > 0; {
			k := min(left, uint64(len(buf)))
			if _, err := io.ReadFull(extra, buf[:k]); err != nil {
				return decoding(fmt.Errorf("its extra stream: %w", err))
			}
			if _, err := w.Write(buf[:k]); err != nil {
				return err
			}
			left -= k
		}
	}
	// Each stream ends here, its checksums included.
	for _, r := range []*bufio.Reader{control, extra, diff} {
		if _, err := r.ReadByte(); err == nil {
			return fmt.Errorf("%w: a stream goes on after the last step", ErrFormat)
		} else if !errors.Is(err, io.EOF) {
			return decoding(err)
		}
	}
	return nil
}
