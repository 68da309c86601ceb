// Package linked tells which packages and functions an executable made by Go
// contains, also one whose symbols were stripped.
//
// In goes an ELF, Mach-O or PE file; out come the names of all functions, from
// the table that the Go runtime itself needs to print a stack (the pclntab),
// which the linker's -s and -w leave in place. The names of functions that were
// inlined everywhere are in that table too, so a name that is absent has no
// code of its own in the executable; what the compiler folded away altogether
// can still have left none.
//
// The file may be hostile: nothing is trusted, everything read is bounded by
// the file's own size and by the limits below, and no input panics.
package linked

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ErrNoTable says that a file has no table of functions that is understood: it
// is no executable made by Go 1.18 or later.
var ErrNoTable = errors.New("no table of Go functions: is this an executable made by Go 1.18 or later?")

// maxTable is how much of a file is read to find its table. Caddy's with many
// plugins is 40 MB.
const maxTable = 512 << 20

// Names are the functions in an executable. A nil *Names knows nothing.
type Names struct {
	packages map[string]map[string]bool // package path → "Conn.Read"
}

// Known tells whether anything is known.
func (n *Names) Known() bool { return n != nil }

// Package tells whether code of a package is in the executable.
func (n *Names) Package(path string) bool {
	_, ok := n.packages[path]
	return ok
}

// Symbol tells whether a function or method is in the executable, the latter
// written as "Conn.Read" whether its receiver is a pointer or not.
func (n *Names) Symbol(pkg, name string) bool { return n.packages[pkg][name] }

// Len is the number of packages.
func (n *Names) Len() int { return len(n.packages) }

// In tells whether code of any package of a module is in the executable, given
// the paths of all modules in it: the longest that is a prefix has the package.
func (n *Names) In(module string, modules []string) bool {
	for p := range n.packages {
		if !within(p, module) {
			continue
		}
		own := true
		for _, m := range modules {
			own = own && !(len(m) > len(module) && within(m, module) && within(p, m))
		}
		if own {
			return true
		}
	}
	return false
}

func within(p, module string) bool {
	return p == module || len(p) > len(module) && p[len(module)] == '/' && p[:len(module)] == module
}

// Read reads an executable.
func Read(r io.ReaderAt) (*Names, error) {
	tables, order, err := sections(r)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		for b := t; len(b) > 0; {
			at := findHeader(b, order)
			if at < 0 {
				break
			}
			b = b[at:]
			if n := parse(b, order); n != nil {
				return n, nil
			}
			b = b[1:] // bytes that only look like a header
		}
	}
	return nil, ErrNoTable
}

// sections returns the parts of a file where the table may be, likeliest first.
func sections(r io.ReaderAt) ([][]byte, binary.ByteOrder, error) {
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil {
		return nil, nil, fmt.Errorf("reading the executable's head: %w", err)
	}
	switch {
	case string(magic[:]) == "\x7fELF":
		return elfSections(r)
	case string(magic[:2]) == "MZ":
		return peSections(r)
	default:
		return machoSections(r)
	}
}

func elfSections(r io.ReaderAt) ([][]byte, binary.ByteOrder, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, nil, fmt.Errorf("reading an ELF executable: %w", err)
	}
	var first, rest [][]byte
	for _, s := range f.Sections {
		switch {
		case s.Type == elf.SHT_NOBITS:
		case s.Name == ".gopclntab" || s.Name == ".data.rel.ro.gopclntab":
			if b := part(s.ReaderAt, s.FileSize); b != nil {
				first = append(first, b)
			}
		case s.Name == ".data.rel.ro" || s.Name == ".rodata":
			// Where the external linker put it.
			if b := part(s.ReaderAt, s.FileSize); b != nil {
				rest = append(rest, b)
			}
		}
	}
	return append(first, rest...), f.ByteOrder, nil
}

func machoSections(r io.ReaderAt) ([][]byte, binary.ByteOrder, error) {
	f, err := macho.NewFile(r)
	if err != nil {
		return nil, nil, fmt.Errorf("this is no ELF, PE or Mach-O executable: %w", err)
	}
	var parts [][]byte
	for _, s := range f.Sections {
		if s.Name == "__gopclntab" {
			if b := part(s.ReaderAt, s.Size); b != nil {
				parts = append(parts, b)
			}
		}
	}
	return parts, f.ByteOrder, nil
}

func peSections(r io.ReaderAt) ([][]byte, binary.ByteOrder, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return nil, nil, fmt.Errorf("reading a PE executable: %w", err)
	}
	var parts [][]byte
	for _, s := range f.Sections {
		// The table has no section of its own here.
		if s.Name == ".rdata" || s.Name == ".data" || s.Name == ".gopclnt" {
			if b := part(s.ReaderAt, uint64(s.Size)); b != nil {
				parts = append(parts, b)
			}
		}
	}
	return parts, binary.LittleEndian, nil
}

// part reads a section; nil if it can't be read, which a broken file is free
// to claim.
func part(r io.ReaderAt, size uint64) []byte {
	if r == nil || size == 0 || size > maxTable {
		return nil
	}
	// A section's header can claim more than the file has, so the buffer grows
	// with what is there.
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.NewSectionReader(r, 0, int64(size))); err != nil && b.Len() == 0 {
		return nil
	}
	return b.Bytes()
}

// Magic numbers of the table since Go 1.18 and since Go 1.20; between them
// lies nothing that matters to us.
const (
	magic118 = 0xfffffff0
	magic120 = 0xfffffff1
)

// findHeader is where a header begins; -1 if nowhere.
func findHeader(b []byte, order binary.ByteOrder) int {
	best := -1
	for _, m := range []uint32{magic120, magic118} {
		var want [6]byte // the two zeros after the magic number belong to it
		order.PutUint32(want[:], m)
		if at := bytes.Index(b, want[:]); at >= 0 && (best < 0 || at < best) {
			best = at
		}
	}
	return best
}

// parse reads the names from a table; nil if it is none.
//
//	magic uint32, 0, 0, quantum byte, size of a pointer byte; then, a pointer
//	wide each: number of functions, number of files, start of the text, and the
//	offsets from the header's start of the names, the units, the files, the
//	tables of lines, and the functions
func parse(b []byte, order binary.ByteOrder) *Names {
	if len(b) < 8 {
		return nil
	}
	wide := int(b[7])
	if wide != 4 && wide != 8 || b[6] != 1 && b[6] != 2 && b[6] != 4 || len(b) < 8+8*wide {
		return nil
	}
	word := func(i int) uint64 {
		if wide == 4 {
			return uint64(order.Uint32(b[8+4*i:]))
		}
		return order.Uint64(b[8+8*i:])
	}
	from, to := word(3), word(4)
	if from < uint64(8+8*wide) || from >= to || to > uint64(len(b)) {
		return nil
	}
	n := &Names{packages: map[string]map[string]bool{}}
	for name := range strings.SplitSeq(string(b[from:to]), "\x00") {
		n.add(name)
	}
	if !n.Package("runtime") {
		return nil
	}
	return n
}

// add takes a function's full name apart: "net/http.(*conn).serve.func1".
func (n *Names) add(name string) {
	// Type arguments may hold dots, slashes and brackets of their own.
	if i := strings.IndexByte(name, '['); i >= 0 {
		end := strings.LastIndexByte(name, ']')
		if end < i {
			return
		}
		name = name[:i] + name[end+1:]
	}
	slash := strings.LastIndexByte(name, '/') + 1
	dot := strings.IndexByte(name[slash:], '.')
	if dot < 0 || slash+dot == 0 {
		return
	}
	pkg, symbol := unescape(name[:slash+dot]), name[slash+dot+1:]
	if strings.HasPrefix(pkg, "go:") || strings.HasPrefix(pkg, "type:") {
		return
	}
	if n.packages[pkg] == nil {
		n.packages[pkg] = map[string]bool{}
	}
	symbol = strings.TrimSuffix(symbol, "-fm") // a method value
	// A closure's name goes on after its function's; so both are noted, the
	// shorter ones only if they are names of functions or methods.
	parts := strings.SplitN(symbol, ".", 4)
	switch recv := strings.TrimSuffix(strings.TrimPrefix(parts[0], "(*"), ")"); {
	case len(parts) == 1:
		n.packages[pkg][recv] = true
	case recv != parts[0]:
		n.packages[pkg][recv+"."+parts[1]] = true
	default:
		// "Conn.Read" is a method, "Dial.func1" a closure in Dial.
		n.packages[pkg][parts[0]] = true
		n.packages[pkg][parts[0]+"."+parts[1]] = true
	}
}

// unescape undoes what the linker does to a package's path: in its last element
// dots, and anywhere bytes that no symbol may have, are written as %2e.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
