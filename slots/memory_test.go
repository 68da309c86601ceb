package slots

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// memory is a file system that knows what a power cut would leave of it: names
// in folders that were synced, and contents and modes of files that were.
type memory struct {
	root    *node
	pending []operation // on names, in order, that no sync made durable
	calls   int         // that change something
	failAt  int         // which of them fails; 0: none
	err     error       // with what
	forever bool        // and all after it
}

type node struct {
	dir           bool
	link          string
	data, durable []byte
	mode, fixed   fs.FileMode // fixed is the durable one
	names, kept   map[string]*node
}

// An operation is a change of the names in a folder: nil removes. A rename is
// one change of two names.
type operation struct {
	dir   *node
	names map[string]*node
}

func newDir() *node { return &node{dir: true, names: map[string]*node{}, kept: map[string]*node{}} }

func newMemory() *memory { return &memory{root: newDir()} }

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// step counts a call, and makes it fail if it is its turn.
func (m *memory) step(op, name string) error {
	m.calls++
	if m.failAt > 0 && (m.calls == m.failAt || m.forever && m.calls > m.failAt) {
		return pathError(op, name, m.err)
	}
	return nil
}

func (m *memory) find(name string) (*node, error) {
	n := m.root
	for _, part := range strings.Split(strings.Trim(filepath.ToSlash(name), "/"), "/") {
		if part == "" {
			continue
		}
		if n = n.names[part]; n == nil {
			return nil, pathError("find", name, fs.ErrNotExist)
		}
	}
	return n, nil
}

func (m *memory) change(dir *node, names map[string]*node) {
	for name, n := range names {
		if n == nil {
			delete(dir.names, name)
		} else {
			dir.names[name] = n
		}
	}
	m.pending = append(m.pending, operation{dir, names})
}

func (m *memory) add(op, name string, n *node) error {
	if err := m.step(op, name); err != nil {
		return err
	}
	dir, err := m.find(filepath.Dir(name))
	if err != nil {
		return err
	}
	if dir.names[filepath.Base(name)] != nil {
		return pathError(op, name, fs.ErrExist)
	}
	m.change(dir, map[string]*node{filepath.Base(name): n})
	return nil
}

func (m *memory) MkdirAll(name string) error {
	if _, err := m.find(name); err == nil {
		return nil
	}
	if err := m.MkdirAll(filepath.Dir(name)); err != nil {
		return err
	}
	return m.add("mkdir", name, newDir())
}

func (m *memory) Create(name string, mode fs.FileMode) (file, error) {
	n := &node{mode: mode}
	if err := m.add("create", name, n); err != nil {
		return nil, err
	}
	return &open{m, name, n}, nil
}

func (m *memory) Symlink(to, name string) error { return m.add("symlink", name, &node{link: to}) }

func (m *memory) Rename(from, to string) error {
	if err := m.step("rename", to); err != nil {
		return err
	}
	if filepath.Dir(from) != filepath.Dir(to) {
		return pathError("rename", to, syscall.EXDEV) // no change of ours needs it
	}
	dir, err := m.find(filepath.Dir(from))
	if err != nil {
		return err
	}
	n := dir.names[filepath.Base(from)]
	if n == nil {
		return pathError("rename", from, fs.ErrNotExist)
	}
	m.change(dir, map[string]*node{filepath.Base(from): nil, filepath.Base(to): n})
	return nil
}

func (m *memory) RemoveAll(name string) error {
	n, err := m.find(name)
	if err != nil {
		return nil
	}
	for _, child := range slices.Sorted(maps.Keys(n.names)) {
		if err := m.RemoveAll(filepath.Join(name, child)); err != nil {
			return err
		}
	}
	if err := m.step("remove", name); err != nil {
		return err
	}
	dir, err := m.find(filepath.Dir(name))
	if err == nil {
		m.change(dir, map[string]*node{filepath.Base(name): nil})
	}
	return err
}

func (m *memory) Chmod(name string, mode fs.FileMode) error {
	n, err := m.find(name)
	if err != nil {
		return err
	}
	if err := m.step("chmod", name); err != nil {
		return err
	}
	n.mode = mode
	return nil
}

func (m *memory) Sync(name string) error {
	n, err := m.find(name)
	if err != nil {
		return err
	}
	if err := m.step("sync", name); err != nil {
		return err
	}
	n.durable, n.fixed = bytes.Clone(n.data), n.mode
	var rest []operation
	for _, o := range m.pending {
		if o.dir == n {
			o.apply()
		} else {
			rest = append(rest, o)
		}
	}
	m.pending = rest
	return nil
}

func (o operation) apply() {
	for name, n := range o.names {
		if n == nil {
			delete(o.dir.kept, name)
		} else {
			o.dir.kept[name] = n
		}
	}
}

func (m *memory) Open(name string) (io.ReadCloser, error) {
	n, err := m.find(name)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(n.data)), nil
}

func (m *memory) ReadFile(name string, most int64) ([]byte, error) {
	n, err := m.find(name)
	if err != nil {
		return nil, err
	}
	if int64(len(n.data)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return bytes.Clone(n.data), nil
}

func (m *memory) ReadDir(name string) ([]string, error) {
	n, err := m.find(name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, pathError("readdir", name, syscall.ENOTDIR)
	}
	return slices.Sorted(maps.Keys(n.names)), nil
}

func (m *memory) Readlink(name string) (string, error) {
	n, err := m.find(name)
	if err != nil {
		return "", err
	}
	return n.link, nil
}

func (m *memory) Lock(string) (func(), error) { return func() {}, nil }

type open struct {
	m    *memory
	name string
	n    *node
}

// Write writes half when the disk is full.
func (o *open) Write(b []byte) (int, error) {
	if err := o.m.step("write", o.name); err != nil {
		n := len(b) / 2
		o.n.data = append(o.n.data, b[:n]...)
		return n, err
	}
	o.n.data = append(o.n.data, b...)
	return len(b), nil
}

func (o *open) Sync() error {
	if err := o.m.step("sync", o.name); err != nil {
		return err
	}
	o.n.durable, o.n.fixed = bytes.Clone(o.n.data), o.n.mode
	return nil
}

func (o *open) Close() error { return nil }

// copy is the same file system, of its own.
func (m *memory) copy() *memory {
	seen := map[*node]*node{}
	var dup func(n *node) *node
	dup = func(n *node) *node {
		if n == nil {
			return nil
		}
		if c := seen[n]; c != nil {
			return c
		}
		c := *n
		seen[n] = &c
		c.data, c.durable = bytes.Clone(n.data), bytes.Clone(n.durable)
		if n.dir {
			c.names, c.kept = map[string]*node{}, map[string]*node{}
			for k, v := range n.names {
				c.names[k] = dup(v)
			}
			for k, v := range n.kept {
				c.kept[k] = dup(v)
			}
		}
		return &c
	}
	c := &memory{root: dup(m.root)}
	for _, o := range m.pending {
		names := map[string]*node{}
		for k, v := range o.names {
			names[k] = dup(v)
		}
		c.pending = append(c.pending, operation{dup(o.dir), names})
	}
	return c
}

// afterCut is what a power cut may leave: of the changes of names that were not
// synced the first none, some or all, or, since nothing promises their order, all
// but one; of contents that were not, nothing or all. The first has the least.
func (m *memory) afterCut() []*memory {
	var all []*memory
	leave := func(kept func(i int) bool) {
		for _, lost := range []bool{true, false} {
			c := m.copy()
			for i, o := range c.pending {
				if kept(i) {
					o.apply()
				}
			}
			c.pending = nil
			c.root.settle(lost)
			all = append(all, c)
		}
	}
	for n := range len(m.pending) + 1 {
		leave(func(i int) bool { return i < n })
	}
	for n := range max(0, len(m.pending)-1) {
		leave(func(i int) bool { return i != n })
	}
	return all
}

func (n *node) settle(lost bool) {
	if lost {
		n.data, n.mode = bytes.Clone(n.durable), n.fixed
	}
	n.durable, n.fixed = bytes.Clone(n.data), n.mode
	if n.dir {
		n.names = maps.Clone(n.kept)
		for _, c := range n.names {
			c.settle(lost)
		}
	}
}
