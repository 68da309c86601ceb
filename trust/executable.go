package trust

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/caddy-evergreen/evergreen/delta"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Executable writes an executable that is a target to the file name, by the
// first of the ways to it that works: deltas from old, which may be nil, and the
// whole of it. What the service says of it in t is advice; what is signed counts:
// the executable has the SHA-256 that the repository vouches for under t.Name, or
// there is an error and no file. The file gets no permission to be executed.
func (c *Client) Executable(ctx context.Context, t wire.Target, old *io.SectionReader, name string) (Target, error) {
	target, err := c.Target(ctx, t.Name)
	if err != nil {
		return Target{}, err
	}
	if target.Custom.Kind != wire.TargetExecutable {
		return Target{}, fmt.Errorf("%w: %q is a %s, no executable", ErrMismatch, t.Name, target.Custom.Kind)
	}
	if target.Size > c.c.Limits.Target {
		return Target{}, fmt.Errorf("%w: %s has %d bytes: at most %d are taken", ErrTooLarge, t.Name, target.Size, c.c.Limits.Target)
	}
	// The whole of it is the last resort, even if the service did not say so.
	ways := append(slices.Clone(t.Files[:min(len(t.Files), maxWays)]), wire.TargetFile{Name: t.Name})
	var errs []error
	for _, w := range ways {
		if w.From != "" && old == nil {
			continue
		}
		err := c.way(ctx, target, w.Name, old, name)
		if err == nil {
			return target, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return Target{}, errors.Join(errs...)
}

// maxWays bounds how many files are tried for one executable.
const maxWays = 8

// way makes the executable target of the file called via.
func (c *Client) way(ctx context.Context, target Target, via string, old *io.SectionReader, name string) error {
	if via == target.Name {
		return c.Download(ctx, target, name)
	}
	t, err := c.Target(ctx, via)
	if err != nil {
		return err
	}
	if t.Custom.Of != hex.EncodeToString(target.SHA256[:]) {
		return fmt.Errorf("%w: %q makes another executable", ErrMismatch, via)
	}
	limits := delta.Limits{Size: target.Size, SHA256: target.SHA256}
	switch t.Custom.Kind {
	case wire.TargetCompressed:
		old = nil
	case wire.TargetDelta:
	default:
		return fmt.Errorf("%w: %q makes no executable", ErrMismatch, via)
	}
	// A file of ours beside the result, so that the last step is a rename.
	packed := filepath.Join(c.c.Dir, "parts", hex.EncodeToString(t.SHA256[:])+".packed")
	if err := c.Download(ctx, t, packed); err != nil {
		return err
	}
	defer os.Remove(packed)
	in, err := os.Open(packed)
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", via, err)
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", via, err)
	}
	_, err = delta.Apply(old, in, out, limits)
	if err = errors.Join(err, out.Sync(), out.Close()); err == nil {
		err = os.Rename(out.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", via, errors.Join(err, os.Remove(out.Name())))
	}
	return nil
}
