package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// A chain is the root metadata from the one that was built in to the newest,
// each signed by the keys of the one before. It is kept whole and verified again
// at each start, so that the folder is a memory, not an authority.
type chain struct {
	dir     string
	first   int64 // version of the one that was built in
	version int64
	raw     []byte // the newest
}

func openChain(dir string, first []byte) (*chain, error) {
	c := &chain{dir: filepath.Join(dir, "roots")}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the update repository: %w", err)
	}
	var t *trustedmetadata.TrustedMetadata
	if err := guard(func() (err error) {
		t, err = trustedmetadata.New(first)
		return err
	}); err != nil {
		return nil, fmt.Errorf("the root metadata that was built in: %w", classify(err))
	}
	c.first = t.Root.Signed.Version
	c.raw, c.version = first, c.first
	for {
		b, err := os.ReadFile(c.name(c.version + 1))
		if errors.Is(err, fs.ErrNotExist) {
			return c, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading root metadata: %w", err)
		}
		if guard(func() error {
			_, err := t.UpdateRoot(b)
			return err
		}) != nil {
			// Someone changed the file, or it was cut short: the repository has it.
			return c, nil
		}
		c.raw, c.version = b, t.Root.Signed.Version
	}
}

func (c *chain) name(version int64) string {
	return filepath.Join(c.dir, fmt.Sprintf("%d.root.json", version))
}

// keep writes down the roots that led to one that is trusted.
func (c *chain) keep(came map[int64][]byte, trusted *metadata.Metadata[metadata.RootType]) error {
	for v := c.version + 1; v <= trusted.Signed.Version; v++ {
		b := came[v]
		if err := writeFile(c.name(v), b); err != nil {
			return fmt.Errorf("keeping root metadata: %w", err)
		}
		c.raw, c.version = b, v
	}
	return nil
}

// writeFile makes a file appear whole.
func writeFile(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
