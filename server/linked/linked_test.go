package linked_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/linked"
)

// program calls some functions of the standard library: one as it is, one that
// is inlined, a generic one, a method, one in a closure.
const program = `package main

import (
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

type list[T any] []T

//go:noinline
func (l *list[T]) Push(v T) { *l = append(*l, v) }

func main() {
	var l list[string]
	for _, a := range os.Args {
		u, err := url.Parse(a)
		if err == nil {
			l.Push(strings.ToUpper(u.String()))
		}
	}
	slices.SortFunc(l, func(a, b string) int { return strings.Compare(a, b) })
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 1, ' ', 0)
	defer w.Flush()
	w.Write([]byte(strings.Join(l, "\t")))
}
`

type platform struct{ os, arch, ldflags string }

// TestPlatforms reads real executables of all formats and byte orders, with
// symbols and without.
func TestPlatforms(t *testing.T) {
	platforms(t, []platform{{"linux", "amd64", ""}, {"linux", "amd64", "-s -w"}, {"windows", "amd64", "-s -w"}, {"darwin", "arm64", "-s -w"}})
}

func platforms(t *testing.T, ps []platform) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.com/odd.name\n\ngo 1.25.0\n", "main.go": program} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range ps {
		t.Run(p.os+"-"+p.arch+p.ldflags, func(t *testing.T) {
			exe := filepath.Join(t.TempDir(), "exe")
			cmd := exec.Command("go", "build", "-trimpath", "-ldflags="+p.ldflags, "-o", exe, ".")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOOS="+p.os, "GOARCH="+p.arch, "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("building: %v\n%s", err, out)
			}
			f, err := os.Open(exe)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			n, err := linked.Read(f)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]bool{}
			for _, s := range [][2]string{
				{"net/url", "Parse"}, {"net/url", "URL.String"}, {"text/tabwriter", "Writer.Flush"},
				{"strings", "Join"}, {"strings", "Compare"}, {"net/url", "URL.MarshalBinary"}, {"net/url", "JoinPath"}, {"crypto/tls", "Dial"},
			} {
				got[s[0]+" "+s[1]] = n.Symbol(s[0], s[1])
			}
			want := map[string]bool{
				"net/url Parse": true, "net/url URL.String": true, "text/tabwriter Writer.Flush": true,
				"strings Join": true, "strings Compare": true, // inlined everywhere
				"net/url URL.MarshalBinary": false, "net/url JoinPath": false, "crypto/tls Dial": false,
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("functions (-want +got):\n%s", d)
			}
			packages := map[string]bool{"net/url": n.Package("net/url"), "crypto/tls": n.Package("crypto/tls"), "main": n.Package("main")}
			if d := cmp.Diff(map[string]bool{"net/url": true, "crypto/tls": false, "main": true}, packages); d != "" {
				t.Errorf("packages (-want +got):\n%s", d)
			}
		})
	}
}

// TestNoTable says so of what has no table.
func TestNoTable(t *testing.T) {
	sh, err := os.Open("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	defer sh.Close()
	if n, err := linked.Read(sh); !errors.Is(err, linked.ErrNoTable) {
		t.Errorf("/bin/sh has the functions %v, error %v", n, err)
	}
	if _, err := linked.Read(bytes.NewReader([]byte("#!/bin/sh\necho hello\n"))); err == nil {
		t.Error("a script was read as an executable")
	}
}

// FuzzRead: whatever a file holds, reading it ends without a panic.
func FuzzRead(f *testing.F) {
	f.Add([]byte("\x7fELF"))
	f.Add([]byte("MZ"))
	f.Add(elfWith(table([]byte("runtime.main\x00net/http.(*conn).serve.func1\x00gopkg.in/yaml%2ev3.Unmarshal\x00main.F[go.shape.*example.com/x.T]\x00"), 0)))
	f.Add(elfWith(table([]byte("runtime.main\x00"), 1<<40)))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := linked.Read(bytes.NewReader(b))
		if (n == nil) == (err == nil) {
			t.Errorf("both or neither of names and error: %v, %v", n, err)
		}
	})
}

// TestNames reads the names that a linker writes.
func TestNames(t *testing.T) {
	n, err := linked.Read(bytes.NewReader(elfWith(table([]byte("runtime.main\x00net/http.(*conn).serve.func1\x00gopkg.in/yaml%2ev3.Unmarshal\x00"+
		"example.com/m/v2/sub.F[go.shape.*example.com/x.T].func2\x00example.com/m.(*List[...]).Push\x00example.com/m.T.Read-fm\x00go:main.inittasks\x00"), 0))))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range [][2]string{{"net/http", "conn.serve"}, {"gopkg.in/yaml.v3", "Unmarshal"}, {"example.com/m/v2/sub", "F"}, {"example.com/m", "List.Push"}, {"example.com/m", "T.Read"}} {
		if !n.Symbol(s[0], s[1]) {
			t.Errorf("%s %s is not found in %v", s[0], s[1], n)
		}
	}
	modules := []string{"example.com/m", "example.com/m/v2", "example.com/o"}
	got := map[string]bool{}
	for _, m := range append(modules, "example.com/m/v2/sub") {
		got[m] = n.In(m, modules)
	}
	if d := cmp.Diff(map[string]bool{"example.com/m": true, "example.com/m/v2": true, "example.com/o": false, "example.com/m/v2/sub": true}, got); d != "" {
		t.Errorf("modules in the executable (-want +got):\n%s", d)
	}
}

// table is a pclntab with names and nothing else; its end of the names is off
// by wrong.
func table(names []byte, wrong uint64) []byte {
	const head = 8 + 8*8
	b := make([]byte, head)
	binary.LittleEndian.PutUint32(b, 0xfffffff1)
	b[6], b[7] = 1, 8
	binary.LittleEndian.PutUint64(b[8+8*3:], head)
	binary.LittleEndian.PutUint64(b[8+8*4:], head+uint64(len(names))+wrong)
	return append(b, names...)
}

// elfWith is an ELF file with a .gopclntab.
func elfWith(tab []byte) []byte {
	const names = "\x00.gopclntab\x00.shstrtab\x00"
	le := binary.LittleEndian
	h := make([]byte, 64)
	copy(h, "\x7fELF\x02\x01\x01")
	le.PutUint16(h[16:], 2)
	le.PutUint16(h[18:], 62)
	le.PutUint32(h[20:], 1)
	le.PutUint64(h[40:], uint64(64+len(tab)+len(names))) // sections
	le.PutUint16(h[52:], 64)
	le.PutUint16(h[58:], 64)
	le.PutUint16(h[60:], 3)
	le.PutUint16(h[62:], 2)
	section := func(name, kind uint32, at, size int) []byte {
		s := make([]byte, 64)
		le.PutUint32(s, name)
		le.PutUint32(s[4:], kind)
		le.PutUint64(s[24:], uint64(at))
		le.PutUint64(s[32:], uint64(size))
		return s
	}
	b := append(append(h, tab...), names...)
	b = append(b, make([]byte, 64)...)
	b = append(b, section(1, 1, 64, len(tab))...)
	return append(b, section(12, 3, 64+len(tab), len(names))...)
}
