package reporter

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A folder is where identity and spool lie. Names are slash-separated. An
// operation that returns an error has changed nothing.
type folder interface {
	// lock excludes every other process and every other folder of the same
	// place. It answers errBusy if another one holds it for long.
	lock() (unlock func(), err error)
	// sender is the right to send, which is held until released. It is nil if
	// another process has it.
	sender() (release func(), err error)
	// list names what is directly in dir, sorted; nothing if there is no dir.
	list(dir string) ([]file, error)
	read(name string) ([]byte, error)
	// write replaces name at once and makes the folders above it.
	write(name string, content []byte) error
	rename(from, to string) error
	remove(name string) error
	// removeAll removes a folder with the files in it.
	removeAll(dir string) error
}

type file struct {
	name string
	size int64
	dir  bool
}

// errBusy says that another process holds the lock.
var errBusy = errors.New("another process has been using the telemetry folder for five seconds")

// lockPatience is how long lock tries. An operation takes milliseconds.
const lockPatience = 5 * time.Second

// disk is a folder on disk.
type disk struct {
	root string
	// step is called before each change that a crash could separate from the
	// next one; tests let it fail or panic.
	step func(op, name string) error
	// noSync saves tests the time of syncing, which only a power failure shows.
	noSync bool
}

func (d *disk) path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

func (d *disk) before(op, name string) error {
	if d.step == nil {
		return nil
	}
	return d.step(op, name)
}

func (d *disk) lock() (func(), error) {
	if err := os.MkdirAll(d.root, 0o700); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockPatience); ; {
		unlock, err := lockFile(d.path("lock"))
		if err != nil || unlock != nil {
			return unlock, err
		}
		if time.Now().After(deadline) {
			return nil, errBusy
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (d *disk) sender() (func(), error) { return lockFile(d.path("sender.lock")) }

func (d *disk) list(dir string) ([]file, error) {
	entries, err := os.ReadDir(d.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []file
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, file{e.Name(), info.Size(), info.IsDir()})
	}
	return files, nil
}

// maxFile is more than any file of ours can have.
const maxFile = 1 << 20

func (d *disk) read(name string) ([]byte, error) {
	info, err := os.Stat(d.path(name))
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%w: %s has %d bytes and mode %s", errUnreadable, name, info.Size(), info.Mode())
	}
	return os.ReadFile(d.path(name))
}

func (d *disk) write(name string, content []byte) (err error) {
	to := d.path(name)
	if err := d.before("create", name); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	// One name per target: the lock keeps others away, and what a crash leaves
	// is overwritten. A file that is not ours to overwrite is refused.
	tmp, err := os.OpenFile(to+tmpSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	err = d.before("write", name)
	if err == nil {
		_, err = tmp.Write(content)
	}
	if err == nil {
		err = d.before("sync", name)
	}
	if err == nil && !d.noSync {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = d.before("rename", name)
	}
	if err == nil {
		err = os.Rename(tmp.Name(), to)
	}
	if err != nil {
		return err
	}
	d.syncDir(name)
	return nil
}

func (d *disk) rename(from, to string) error {
	if err := d.before("rename", to); err != nil {
		return err
	}
	if err := os.Rename(d.path(from), d.path(to)); err != nil {
		return err
	}
	d.syncDir(to)
	return nil
}

func (d *disk) remove(name string) error {
	if err := d.before("remove", name); err != nil {
		return err
	}
	if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.syncDir(name)
	return nil
}

func (d *disk) removeAll(dir string) error {
	if err := d.before("remove", dir); err != nil {
		return err
	}
	err := os.RemoveAll(d.path(dir))
	d.syncDir(dir)
	return err
}

// syncDir makes a rename last through a power failure. It has no error,
// because the rename is done and can't be said not to be; some file systems
// can't sync folders at all.
func (d *disk) syncDir(name string) {
	if d.before("syncdir", name) != nil || d.noSync {
		return
	}
	if f, err := os.Open(filepath.Dir(d.path(name))); err == nil {
		_ = f.Sync()
		_ = f.Close()
	}
}

const tmpSuffix = ".tmp"

// memory is a folder that ends with the process.
type memory map[string][]byte

func (m memory) lock() (func(), error)   { return func() {}, nil }
func (m memory) sender() (func(), error) { return func() {}, nil }

func (m memory) list(dir string) ([]file, error) {
	var files []file
	for _, name := range slices.Sorted(maps.Keys(m)) {
		rest, ok := strings.CutPrefix(name, dir+"/")
		if !ok {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		f := file{name: first, size: int64(len(m[name])), dir: deeper}
		if len(files) == 0 || files[len(files)-1].name != f.name {
			files = append(files, f)
		}
	}
	return files, nil
}

func (m memory) read(name string) ([]byte, error) {
	content, ok := m[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return content, nil
}

func (m memory) write(name string, content []byte) error {
	m[name] = content
	return nil
}

func (m memory) rename(from, to string) error {
	content, ok := m[from]
	if !ok {
		return fs.ErrNotExist
	}
	delete(m, from)
	m[to] = content
	return nil
}

func (m memory) remove(name string) error {
	delete(m, name)
	return nil
}

func (m memory) removeAll(dir string) error {
	maps.DeleteFunc(m, func(name string, _ []byte) bool { return strings.HasPrefix(path.Clean(name), dir+"/") })
	return nil
}
