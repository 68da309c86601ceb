package gomods

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
)

// goSumDBKey is what follows the name in the verifier key of Go's own checksum
// database, as the go command has it. The first part is a hash of name and key,
// so that together with any other name it is no key.
const goSumDBKey = "+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"

// sums asks a checksum database through the proxies, as the go command does.
type sums struct {
	client *sumdb.Client
	ops    *sumOps
}

// newSums returns nil if nothing is to be checked.
func newSums(s *Source) (*sums, error) {
	key, _, _ := strings.Cut(s.cfg.SumDB, " ")
	if key == "" || key == "off" {
		return nil, nil
	}
	name, _, whole := strings.Cut(key, "+")
	if !whole {
		key += goSumDBKey
	}
	if _, err := note.NewVerifier(key); err != nil {
		return nil, fmt.Errorf("checksum database %.80q: write what `go env GOSUMDB` says, a verifier key, or off: %w", s.cfg.SumDB, err)
	}
	ops := &sumOps{source: s, key: key, name: name, config: map[string][]byte{}}
	return &sums{sumdb.NewClient(ops), ops}, nil
}

// check compares the hash of a go.mod file with the one that is on record.
func (s *sums) check(ctx context.Context, path, version, hash string) error {
	// The client's operations take no context: bound what they do by ours.
	if err := ctx.Err(); err != nil {
		return err
	}
	lines, err := s.client.Lookup(path, version+"/go.mod")
	if err != nil {
		return fmt.Errorf("checking %s@%s against %s: %w", path, version, s.ops.name, err)
	}
	want := path + " " + version + "/go.mod "
	for _, l := range lines {
		if have, ok := strings.CutPrefix(l, want); ok {
			if have == hash {
				return nil
			}
			return fmt.Errorf("the go.mod of %s@%s has the hash %s, but %s has %s on record: the proxy or the way to it is not to be trusted", path, version, hash, s.ops.name, have)
		}
	}
	return fmt.Errorf("%s has no go.mod of %s@%s on record", s.ops.name, path, version)
}

// sumOps is what sumdb.Client needs: requests, a cache, and a memory of the
// newest tree that it saw.
type sumOps struct {
	source *Source
	key    string
	name   string

	mu     sync.Mutex
	config map[string][]byte // where the folder can't be written
}

func (o *sumOps) ReadRemote(path string) ([]byte, error) {
	// A lookup's first miss is a fault here: what a proxy served is on record.
	const limit = 1 << 20
	b, err := o.source.fetch(context.Background(), "sumdb/"+o.name+path, limit)
	if errors.Is(err, ErrNotFound) {
		// No proxy passes it on: ask it itself.
		return o.source.get(context.Background(), "https://"+o.name+path, limit)
	}
	return b, err
}

func (o *sumOps) file(name string) string {
	return filepath.ToSlash(filepath.Join("evergreen-sumdb", name))
}

func (o *sumOps) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(o.key), nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if b, ok := o.config[file]; ok {
		return b, nil
	}
	b, err := o.source.kept(o.file(file))
	if errors.Is(err, fs.ErrNotExist) {
		return []byte{}, nil // as the interface asks: a tree of nothing
	}
	return b, err
}

func (o *sumOps) WriteConfig(file string, old, new []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	have, ok := o.config[file]
	if !ok {
		b, err := o.source.kept(o.file(file))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		have = b
	}
	if string(have) != string(old) {
		return sumdb.ErrWriteConflict
	}
	if err := o.source.keep(o.file(file), new); err != nil {
		return err
	}
	o.config[file] = new
	return nil
}

func (o *sumOps) ReadCache(file string) ([]byte, error) {
	return o.source.kept(o.file(filepath.Join("cache", filepath.FromSlash(file))))
}

func (o *sumOps) WriteCache(file string, data []byte) {
	// What can't be kept is asked for again.
	_ = o.source.keep(o.file(filepath.Join("cache", filepath.FromSlash(file))), data)
}

// Log drops what the client tells of its progress.
func (o *sumOps) Log(string) {}

// SecurityError is told of a database that contradicts itself; Lookup returns
// the same as its error.
func (o *sumOps) SecurityError(string) {}
