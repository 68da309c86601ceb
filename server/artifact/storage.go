package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"
)

// A Storage is where a repository's files are: metadata, and below targets/ what
// they vouch for. A copy of it, served by any web server, is a mirror.
type Storage struct {
	bucket *blob.Bucket
	dir    string // "" if it is no folder
	// before and after are called with each file's name when it is written; tests
	// crash there.
	before func(name string) error
	after  func(name string)
}

// OpenStorage opens a folder, or a bucket by the URL of a driver of
// gocloud.dev/blob that this program has, such as file:///var/lib/evergreen/tuf.
func OpenStorage(ctx context.Context, where string) (*Storage, error) {
	dir := where
	if u, err := url.Parse(where); err == nil && u.Scheme != "" && len(u.Scheme) > 1 {
		if u.Scheme != "file" {
			b, err := blob.OpenBucket(ctx, where)
			if err != nil {
				return nil, fmt.Errorf("opening the repository %s: %w", u.Redacted(), err)
			}
			return &Storage{bucket: b}, nil
		}
		dir = filepath.FromSlash(u.Path)
	}
	b, err := fileblob.OpenBucket(dir, &fileblob.Options{
		CreateDir: true, DirFileMode: 0o755,
		NoTempDir: true,                       // renaming across file systems is not atomic
		Metadata:  fileblob.MetadataDontWrite, // a mirror is a plain copy
	})
	if err != nil {
		return nil, fmt.Errorf("opening the repository: %w", err)
	}
	return &Storage{bucket: b, dir: dir}, nil
}

// Close gives back what the storage holds.
func (s *Storage) Close() error { return s.bucket.Close() }

// maxMetadata bounds a metadata file, in bytes.
const maxMetadata = 32 << 20

func (s *Storage) read(ctx context.Context, name string) ([]byte, error) {
	r, err := s.bucket.NewReader(ctx, name, nil)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	defer r.Close()
	if r.Size() > maxMetadata {
		return nil, fmt.Errorf("reading %s: it has %d bytes: at most %d are taken", name, r.Size(), maxMetadata)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return b, nil
}

// write makes a file appear whole. In a folder it is on the disk when write
// returns, so that what is written later never refers to what a crash undoes.
func (s *Storage) write(ctx context.Context, name string, r io.Reader) error {
	if s.before != nil {
		if err := s.before(name); err != nil {
			return err
		}
	}
	if err := s.put(ctx, name, r); err != nil {
		return err
	}
	if s.after != nil {
		s.after(name)
	}
	return nil
}

func (s *Storage) put(ctx context.Context, name string, r io.Reader) error {
	w, err := s.bucket.NewWriter(ctx, name, &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if _, err = io.Copy(w, r); err != nil {
		return fmt.Errorf("writing %s: %w", name, errors.Join(err, w.Close()))
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if s.dir == "" {
		return nil
	}
	file := filepath.Join(s.dir, filepath.FromSlash(name))
	for _, n := range []string{file, filepath.Dir(file)} {
		if err := syncFile(n); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (s *Storage) has(ctx context.Context, name string, size int64) bool {
	a, err := s.bucket.Attributes(ctx, name)
	return err == nil && a.Size == size
}

func missing(err error) bool { return gcerrors.Code(err) == gcerrors.NotFound }

// versioned is a name of metadata: version, role.
var versioned = regexp.MustCompile(`^([1-9][0-9]{0,17})\.(root|targets|snapshot|builds-[0-9a-f]{1,8})\.json$`)

func parseVersioned(name string) (version int64, role string, ok bool) {
	m := versioned.FindStringSubmatch(name)
	if m == nil {
		return 0, "", false
	}
	v, err := strconv.ParseInt(m[1], 10, 64)
	return v, m[2], err == nil
}

// list gives the names of files in a folder of the storage; "" is the top.
func (s *Storage) list(ctx context.Context, folder string, f func(*blob.ListObject) error) error {
	it := s.bucket.List(&blob.ListOptions{Prefix: folder, Delimiter: "/"})
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listing the repository: %w", err)
		}
		if o.IsDir || strings.HasSuffix(o.Key, ".lock") {
			continue
		}
		if err := f(o); err != nil {
			return err
		}
	}
}
