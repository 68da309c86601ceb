package updater

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// A disk is what replace needs of a file system, so that tests can have one that
// fails, or loses power, at each step.
type disk interface {
	create(name string) (file, error) // empty, also if it was there
	rename(from, to string) error
	remove(name string) error
	syncDir(name string) error
}

type file interface {
	io.Writer
	Sync() error
	Close() error
}

// replace makes b the content of a file that has its old content or b, whatever
// happens: a temporary file beside it is durable before it takes the name, and
// the name is durable before replace returns nil.
func replace(d disk, name string, b []byte) error {
	temp := name + ".new"
	f, err := d.create(temp)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.rename(temp, name)
	}
	if err != nil {
		// What can't be removed either is overwritten next time.
		_ = d.remove(temp)
		return err
	}
	return d.syncDir(filepath.Dir(name))
}

type osDisk struct{}

func (osDisk) create(name string) (file, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}
func (osDisk) rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) remove(name string) error     { return os.Remove(name) }

func (osDisk) syncDir(name string) error {
	if runtime.GOOS == "windows" { // has no such thing; a rename is in its journal
		return nil
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("making the entries of %s durable: %w", name, err)
	}
	return nil
}
