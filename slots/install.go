package slots

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Install writes a slot's executable over the file to, which gets its content at
// once and durably, and keeps its owner, permissions and capabilities. The slot
// belongs to whoever Caddy runs as, and the file to somebody with more rights:
// check is given a copy that is to's owner's own, before it takes to's place, and
// has to prove that it is right.
func (d *Dir) Install(id, to string, check func(file string) error) error {
	if !isID(id) {
		return fmt.Errorf("%w: %.80q is no id of one", ErrNoSlot, id)
	}
	if err := install(d.Executable(id), to, check); err != nil {
		return fmt.Errorf("writing slot %.12s over %s: %w", id, to, err)
	}
	return nil
}

func install(from, to string, check func(file string) error) (err error) {
	was, err := os.Stat(to)
	if err != nil {
		return err
	}
	if !was.Mode().IsRegular() {
		return errors.New("it is no regular file")
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), ".caddy-*")
	if err != nil {
		return err
	}
	temp := out.Name()
	defer func() {
		if temp != "" {
			err = errors.Join(err, os.Remove(temp))
		}
	}()
	_, err = io.Copy(out, io.LimitReader(in, maxExecutable))
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	if err := check(temp); err != nil {
		return err
	}
	// A change of owner takes away what comes after it.
	if err := keepOwner(was, temp); err != nil {
		return fmt.Errorf("keeping its owner: %w", err)
	}
	if err := os.Chmod(temp, was.Mode()); err != nil {
		return fmt.Errorf("keeping its permissions: %w", err)
	}
	if err := keepCapabilities(to, temp); err != nil {
		return fmt.Errorf("keeping its capabilities: %w", err)
	}
	if err := (disk{}).Sync(temp); err != nil {
		return err
	}
	if err := os.Rename(temp, to); err != nil {
		return err
	}
	temp = ""
	return disk{}.Sync(filepath.Dir(to))
}

const maxExecutable = 1 << 30
