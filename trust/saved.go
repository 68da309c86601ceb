package trust

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// Limits of what VerifySaved reads.
const (
	maxSavedRoots = 1024 // versions of the root metadata
	maxSavedRoles = 32   // delegated roles on the way to a target
)

// Saved is the metadata that proves a target, for VerifySaved at a later time:
// file names ("1.root.json", "targets.json" and one for each delegated role on
// the way) and contents. The target is one that this client gave.
func (c *Client) Saved(t Target) (map[string][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	saved := map[string][]byte{rootName(c.roots.first): c.c.Root}
	for v := c.roots.first + 1; v <= c.roots.version; v++ {
		b, err := c.readOwn(c.roots.name(v))
		if err != nil {
			return nil, fmt.Errorf("saving what proves %.200q: %w", t.Name, err)
		}
		saved[rootName(v)] = b
	}
	_, got, err := walk(sha256.Sum256(c.c.Root), func(name string) ([]byte, error) {
		if b, ok := saved[name]; ok {
			return b, nil
		}
		if strings.HasSuffix(name, ".root.json") {
			return nil, fs.ErrNotExist
		}
		b, err := c.readOwn(filepath.Join(c.c.Dir, "metadata", name))
		if err == nil {
			saved[name] = b
		}
		return b, err
	}, []int64{c.roots.first}, t.Name)
	if err != nil {
		return nil, fmt.Errorf("saving what proves %.200q: %w", t.Name, err)
	}
	if got.SHA256 != t.SHA256 || got.Size != t.Size {
		return nil, fmt.Errorf("saving what proves %.200q: %w: the repository has another one by now", t.Name, ErrMismatch)
	}
	return saved, nil
}

func (c *Client) readOwn(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, c.c.Limits.Metadata+1))
	if err == nil && int64(len(b)) > c.c.Limits.Metadata {
		err = fmt.Errorf("%w: %s has more than %d bytes", ErrTooLarge, name, c.c.Limits.Metadata)
	}
	return b, err
}

func rootName(version int64) string { return fmt.Sprintf("%d.root.json", version) }

// VerifySaved proves without a network that a file is the target of a name. root
// is the SHA-256 of root metadata that is trusted, of any version; saved is what
// Saved gave. The root metadata that has the hash begins the chain, each version
// of which is signed by the keys of the one before; older ones are left aside.
//
// What is proven is that the keys vouched for the file. Whether they still do is
// not: nothing expires here. Who can replace the saved metadata can put older
// metadata in its place, and so has to be held to newer versions by the caller.
func VerifySaved(root [sha256.Size]byte, saved map[string][]byte, name, file string) (Target, error) {
	t, err := savedTarget(root, saved, name)
	if err == nil {
		err = t.verifyFile(file)
	}
	if err != nil {
		return Target{}, fmt.Errorf("verifying %s: %w", file, err)
	}
	return t, nil
}

func savedTarget(root [sha256.Size]byte, saved map[string][]byte, name string) (Target, error) {
	var versions []int64
	for n, b := range saved {
		if sha256.Sum256(b) != root {
			continue
		}
		var v int64
		if _, err := fmt.Sscanf(n, "%d.root.json", &v); err == nil && n == rootName(v) {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	_, t, err := walk(root, func(n string) ([]byte, error) {
		if b, ok := saved[n]; ok {
			return b, nil
		}
		return nil, fs.ErrNotExist
	}, versions, name)
	return t, err
}

// verifyFile compares a file's size and hash.
func (t Target) verifyFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, t.Size+1))
	if err != nil {
		return err
	}
	if n != t.Size || [sha256.Size]byte(sum.Sum(nil)) != t.SHA256 {
		return fmt.Errorf("%w: it has at least %d bytes and SHA-256 %x, and %q has %d and %x", ErrMismatch, n, sum.Sum(nil), t.Name, t.Size, t.SHA256)
	}
	return nil
}

// walk follows metadata from the root of a hash, which one of the versions has,
// to a target. read gives files by name; fs.ErrNotExist ends the chain of roots.
func walk(root [sha256.Size]byte, read func(name string) ([]byte, error), versions []int64, name string) (version int64, t Target, err error) {
	err = guard(func() error {
		if len(versions) == 0 {
			return fmt.Errorf("%w: there is no root metadata of SHA-256 %x, which is the one to trust", ErrSignatures, root)
		}
		b, err := read(rootName(versions[0]))
		if err != nil {
			return err
		}
		trusted, err := trustedmetadata.New(b)
		if err != nil {
			return fmt.Errorf("root metadata: %w", classify(err))
		}
		version = trusted.Root.Signed.Version
		if version != versions[0] {
			return fmt.Errorf("%w: %s is version %d", ErrMalformed, rootName(versions[0]), version)
		}
		for range maxSavedRoots {
			b, err := read(rootName(version + 1))
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err != nil {
				return err
			}
			if _, err := trusted.UpdateRoot(b); err != nil {
				return fmt.Errorf("root metadata of version %d: %w", version+1, classify(err))
			}
			version++
		}
		t, err = follow(trusted.Root, read, name)
		return err
	})
	return version, t, err
}

// A delegator is metadata that says who signs for a role.
type delegator interface {
	VerifyDelegate(role string, signed any) error
}

// follow goes from a root through the roles that are responsible for a name, in
// the order that TUF's walk has: depth first, terminating delegations end it.
func follow(root delegator, read func(string) ([]byte, error), name string) (Target, error) {
	type visit struct {
		role string
		from delegator
	}
	stack := []visit{{metadata.TARGETS, root}}
	seen := map[string]bool{}
	for len(stack) > 0 && len(seen) < maxSavedRoles {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[v.role] {
			continue
		}
		seen[v.role] = true
		b, err := read(url.PathEscape(v.role) + ".json")
		if err != nil {
			return Target{}, fmt.Errorf("metadata of %.80q: %w", v.role, err)
		}
		m, err := metadata.Targets().FromBytes(b)
		if err == nil {
			err = v.from.VerifyDelegate(v.role, m)
		}
		if err != nil {
			return Target{}, fmt.Errorf("metadata of %.80q: %w", v.role, classify(err))
		}
		if tf, ok := m.Signed.Targets[name]; ok {
			return newTarget(name, tf)
		}
		if m.Signed.Delegations == nil {
			continue
		}
		var next []visit
		for _, r := range m.Signed.Delegations.GetRolesForTarget(name) {
			next = append(next, visit{r.Name, m})
			if r.Terminating {
				stack = nil
				break
			}
		}
		slices.Reverse(next)
		stack = append(stack, next...)
	}
	return Target{}, fmt.Errorf("%w: %.200q", ErrNoTarget, name)
}
