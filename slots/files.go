package slots

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// files is what is asked of a file system. Nothing but Sync is durable: of a
// file its content and mode, of a folder the names in it.
type files interface {
	MkdirAll(name string) error // 0755
	Create(name string, mode fs.FileMode) (file, error)
	Sync(name string) error
	Rename(from, to string) error
	RemoveAll(name string) error
	Symlink(to, name string) error
	Chmod(name string, mode fs.FileMode) error
	Open(name string) (io.ReadCloser, error)
	ReadFile(name string, most int64) ([]byte, error) // an error if it has more
	ReadDir(name string) ([]string, error)            // sorted
	Readlink(name string) (string, error)
	// Lock waits until nobody else has the lock that the file is.
	Lock(name string) (unlock func(), err error)
}

type file interface {
	io.WriteCloser
	Sync() error
}

// disk is the operating system's.
type disk struct{}

func (disk) MkdirAll(name string) error                { return os.MkdirAll(name, 0o755) }
func (disk) Rename(from, to string) error              { return os.Rename(from, to) }
func (disk) RemoveAll(name string) error               { return os.RemoveAll(name) }
func (disk) Symlink(to, name string) error             { return os.Symlink(to, name) }
func (disk) Chmod(name string, mode fs.FileMode) error { return os.Chmod(name, mode) }
func (disk) Open(name string) (io.ReadCloser, error)   { return os.Open(name) }
func (disk) Readlink(name string) (string, error)      { return os.Readlink(name) }

func (disk) Create(name string, mode fs.FileMode) (file, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
}

func (disk) Sync(name string) error {
	f, err := openToSync(name)
	if err != nil || f == nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (disk) ReadFile(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return b, err
}

func (disk) ReadDir(name string) ([]string, error) {
	es, err := os.ReadDir(name)
	names := make([]string, len(es))
	for i, e := range es {
		names[i] = e.Name()
	}
	return names, err
}

// write makes a file appear whole and durable, or not at all: name must be in a
// folder that exists. The caller holds the lock, so the name of what is not
// whole yet is nobody else's.
func (d *Dir) write(name string, mode fs.FileMode, b []byte) error {
	temp := name + ".new"
	if err := d.files.RemoveAll(temp); err != nil {
		return err
	}
	if err := d.fill(temp, mode, b); err != nil {
		return errors.Join(err, d.files.RemoveAll(temp))
	}
	if err := d.files.Rename(temp, name); err != nil {
		return errors.Join(err, d.files.RemoveAll(temp))
	}
	return d.files.Sync(dirOf(name))
}

// fill writes a file and syncs its content, not its name.
func (d *Dir) fill(name string, mode fs.FileMode, b []byte) error {
	f, err := d.files.Create(name, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
