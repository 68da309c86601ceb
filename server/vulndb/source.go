package vulndb

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// A source is where a database is, and how it was when it was last read.
type source struct {
	place  string
	client *http.Client
	cache  string

	etag, lastModified string            // of the URL that was asked
	stamp              string            // of a file or folder
	seen               map[string]*entry // of a layout fetched one by one, by id
}

// content is what a source had.
type content struct {
	source  *source // as it is now
	asOf    time.Time
	entries []entry
}

var errUnchanged = errors.New("unchanged")

// errMissing is of a status that says that there is nothing, or not for us.
var errMissing = errors.New("it is not there")

// read answers nil if nothing changed since prev, which may be nil.
func (s *source) read(ctx context.Context, modules []string, prev *source) (*content, error) {
	var got *content
	var err error
	switch u, isURL := s.url(); {
	case isURL:
		got, err = s.fetch(ctx, u, modules, prev)
	default:
		got, err = s.readFile(prev)
	}
	if errors.Is(err, errUnchanged) && prev != nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	sortByID(got.entries)
	for i, e := range got.entries {
		if i > 0 && got.entries[i-1].ID == e.ID {
			return nil, fmt.Errorf("two entries have the id %s", e.ID)
		}
	}
	return got, nil
}

func (s *source) url() (*url.URL, bool) {
	if !strings.HasPrefix(s.place, "http://") && !strings.HasPrefix(s.place, "https://") {
		return nil, false
	}
	u, err := url.Parse(s.place)
	return u, err == nil && u.Host != ""
}

func (s *source) readFile(prev *source) (*content, error) {
	name := strings.TrimPrefix(s.place, "file://")
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	stamped := name
	if info.IsDir() {
		stamped = filepath.Join(name, "index", "db.json")
		if info, err = os.Stat(stamped); err != nil {
			return nil, fmt.Errorf("%w (a database's folder has index and ID in it)", err)
		}
	}
	next := *s
	next.stamp = fmt.Sprint(info.Size(), info.ModTime().UnixNano())
	if prev != nil && prev.stamp == next.stamp {
		return nil, errUnchanged
	}
	if stamped != name {
		return layout(os.DirFS(name), &next)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return zipped(f, info.Size(), &next)
}

func zipped(r io.ReaderAt, size int64, as *source) (*content, error) {
	if size > maxZip {
		return nil, fmt.Errorf("it has %d bytes: at most %d are read", size, maxZip)
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, err
	}
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("it holds %d files: at most %d are read", len(z.File), maxEntries)
	}
	return layout(z, as)
}

// layout reads a whole database.
func layout(fsys fs.FS, as *source) (*content, error) {
	got := &content{source: as}
	b, err := readIn(fsys, "index/db.json", maxEntry)
	if err != nil {
		return nil, err
	}
	if got.asOf, err = parseIndexDB(b); err != nil {
		return nil, fmt.Errorf("index/db.json: %w", err)
	}
	err = eachEntry(fsys, "ID", func(_ string, e entry) error {
		got.entries = append(got.entries, e)
		return nil
	})
	if err == nil && len(got.entries) == 0 {
		err = errors.New("its folder ID has no entry")
	}
	return got, err
}

// eachEntry calls f with the entries in and below a folder.
func eachEntry(fsys fs.FS, root string, f func(name string, e entry) error) error {
	left, n := int64(maxTotal), 0
	return fs.WalkDir(fsys, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".json" {
			return err
		}
		if n++; n > maxEntries {
			return fmt.Errorf("there are more than %d entries", maxEntries)
		}
		b, err := readIn(fsys, name, min(left, maxEntry))
		if err != nil {
			return err
		}
		left -= int64(len(b))
		e, err := parseEntry(b)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return f(name, e)
	})
}

func readIn(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readBounded(f, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

func parseIndexDB(b []byte) (time.Time, error) {
	var v struct {
		Modified time.Time `json:"modified"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return time.Time{}, err
	}
	if v.Modified.IsZero() {
		return time.Time{}, errors.New("modified is missing: it is not known how old the database is")
	}
	return v.Modified.UTC(), nil
}

// An indexModule is one of index/modules.json.
type indexModule struct {
	Path  string `json:"path"`
	Vulns []struct {
		ID       string    `json:"id"`
		Modified time.Time `json:"modified"`
	} `json:"vulns"`
}

func parseIndexModules(b []byte) ([]indexModule, error) {
	var ms []indexModule
	if err := json.Unmarshal(b, &ms); err != nil {
		return nil, err
	}
	for _, m := range ms {
		for _, v := range m.Vulns {
			if !goodID.MatchString(v.ID) {
				return nil, fmt.Errorf("module %.70q: id is %.70q", m.Path, v.ID)
			}
		}
	}
	return ms, nil
}

// fromBytes reads a zip that was fetched.
func fromBytes(b []byte, as *source) (*content, error) {
	return zipped(bytes.NewReader(b), int64(len(b)), as)
}
