package build

import (
	"archive/zip"
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"
)

// Our module's source reaches `go` as a module of its own version, from a
// folder that is laid out like a module proxy's.
//
// The server can't embed the root module's files where they are: go:embed does
// not look above its own package, and the package at the root is the Caddy
// app, which would bring all of Caddy with it. So `make evergreen` puts them
// into embedded/ before it compiles. An executable that was made without is
// either run inside a checkout, which is then the source, or was installed
// with `go install …@version`, and its own build list says which released
// version to get from the module proxy, and with which hash.

// embeddedName is the zip below embedded/. It is never checked in.
const embeddedName = "evergreen.zip"

//go:embed embedded
var embedded embed.FS

// A Source is our own module, as `go` is offered it.
type Source struct {
	Version string // of the module
	files   []sourceFile
}

type sourceFile struct {
	name string // slash-separated, below the module's root
	data []byte
}

// notSource are folders of the checkout that no build needs. The nested
// module is none of the root module's.
var notSource = []string{"server", "docs", "testdata", "bin", "tmp"}

// sourceFiles are the extensions of Go files and of what they embed.
var sourceFiles = []string{".go", ".mod", ".sum", ".txt", ".tsv", ".json"}

const (
	maxSourceFile = 8 << 20
	maxSource     = 64 << 20
)

// unreleased begins the versions of sources that no release has.
const unreleased = "v0.0.0-00010101000000-"

// ReadSource reads our module's source from the root of a file system. Its
// version, v0.0.0-00010101000000- and a hash, tells what is in it: equal
// sources have equal versions.
func ReadSource(fsys fs.FS) (*Source, error) {
	s := &Source{}
	total := 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || slices.Contains(notSource, base)) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || strings.HasSuffix(base, "_test.go") || base != "LICENSE" && !slices.Contains(sourceFiles, path.Ext(base)) {
			return nil
		}
		f, err := fsys.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxSourceFile+1))
		if err != nil {
			return err
		}
		if total += len(b); len(b) > maxSourceFile || total > maxSource {
			return fmt.Errorf("%s: a file of the source may have %d bytes, and all of them %d", name, maxSourceFile, maxSource)
		}
		s.files = append(s.files, sourceFile{name, b})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the module's source: %w", err)
	}
	slices.SortFunc(s.files, func(a, b sourceFile) int { return cmp.Compare(a.name, b.name) })
	mod, ok := s.file("go.mod")
	if !ok || !bytes.HasPrefix(mod, []byte("module "+Module+"\n")) {
		return nil, fmt.Errorf("reading the module's source: its go.mod is not that of %s", Module)
	}
	names := make([]string, len(s.files))
	for i, f := range s.files {
		names[i] = f.name
	}
	sum, err := dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		b, _ := s.file(name)
		return io.NopCloser(bytes.NewReader(b)), nil
	})
	if err != nil {
		return nil, fmt.Errorf("hashing the module's source: %w", err)
	}
	h := sha256.Sum256([]byte(sum))
	s.Version = unreleased + hex.EncodeToString(h[:6])
	return s, nil
}

func (s *Source) file(name string) ([]byte, bool) {
	i, ok := slices.BinarySearchFunc(s.files, name, func(f sourceFile, n string) int { return cmp.Compare(f.name, n) })
	if !ok {
		return nil, false
	}
	return s.files[i].data, true
}

// FindOwn finds our module's source: in folder if that is set, else what is
// embedded, else the checkout that dir lies in. Where there is none of them it
// is nil, with the released version that this executable was made of.
func FindOwn(folder, dir string) (*Source, string, error) {
	if folder != "" {
		s, err := ReadSource(os.DirFS(folder))
		return s, "", err
	}
	if b, err := embedded.ReadFile("embedded/" + embeddedName); err == nil {
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return nil, "", fmt.Errorf("reading the embedded source: %w", err)
		}
		s, err := ReadSource(z)
		return s, "", err
	}
	checkout, err := FindSource(dir)
	if err == nil {
		s, err := ReadSource(os.DirFS(checkout))
		return s, "", err
	} else if !errors.Is(err, ErrNoSource) {
		return nil, "", err
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == Module && d.Sum != "" && d.Replace == nil {
				return nil, d.Version, nil
			}
		}
	}
	return nil, "", fmt.Errorf("%w, and this program has no copy of its source: run it in a checkout, say where one is, or make it with `make evergreen`", ErrNoSource)
}

// GoMod is the module's go.mod file.
func (s *Source) GoMod() []byte {
	b, _ := s.file("go.mod")
	return b
}

// WriteZip writes the source as a plain zip, which is what is embedded.
func (s *Source) WriteZip(w io.Writer) error {
	z := zip.NewWriter(w)
	for _, f := range s.files {
		e, err := z.Create(f.name)
		if err != nil {
			return err
		}
		if _, err := e.Write(f.data); err != nil {
			return err
		}
	}
	return z.Close()
}

// offer writes the module below a folder in the layout of a module proxy, and
// returns the address for GOPROXY. The files depend on the source alone.
func (s *Source) offer(dir string) (string, error) {
	escaped, err := module.EscapePath(Module)
	if err != nil {
		return "", err
	}
	at := filepath.Join(dir, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return "", fmt.Errorf("making a folder to offer our module in: %w", err)
	}
	info, err := json.Marshal(struct{ Version string }{s.Version})
	if err != nil {
		return "", err
	}
	mod, _ := s.file("go.mod")
	var archive bytes.Buffer
	files := make([]modzip.File, len(s.files))
	for i, f := range s.files {
		files[i] = f
	}
	if err := modzip.Create(&archive, module.Version{Path: Module, Version: s.Version}, files); err != nil {
		return "", fmt.Errorf("packing our module: %w", err)
	}
	for name, b := range map[string][]byte{
		"list": []byte(s.Version + "\n"), s.Version + ".info": info, s.Version + ".mod": mod, s.Version + ".zip": archive.Bytes(),
	} {
		if err := writeFile(filepath.Join(at, name), b); err != nil {
			return "", fmt.Errorf("offering our module: %w", err)
		}
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if dir = filepath.ToSlash(dir); !strings.HasPrefix(dir, "/") {
		dir = "/" + dir // Windows
	}
	return "file://" + dir, nil
}

// writeFile replaces a file in one step, durably.
func writeFile(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func (f sourceFile) Path() string { return f.name }

func (f sourceFile) Lstat() (fs.FileInfo, error) {
	h := &zip.FileHeader{Name: f.name, UncompressedSize64: uint64(len(f.data))}
	h.SetMode(0o644)
	return h.FileInfo(), nil
}

func (f sourceFile) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.data)), nil }
