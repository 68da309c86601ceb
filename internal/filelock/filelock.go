// Package filelock gives a file's name to one process at a time.
package filelock

import (
	"errors"
	"fmt"
	"os"
)

// ErrLocked is that another process has the lock.
var ErrLocked = errors.New("another process has it locked")

// A Lock is this process's alone until it is closed, or the process ends in
// whatever way: the kernel gives it back. The file stays.
type Lock struct{ f *os.File }

// Take locks the file, which is made if it is missing, without waiting. Its
// error is ErrLocked if another process has it, or of opening the file.
func Take(name string) (*Lock, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := Try(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return &Lock{f}, nil
}

// Try locks an open file, without waiting, until it is closed. What is in the
// file can be read and written all the same.
func Try(f *os.File) error { return lock(f) }

// Close gives the lock back.
func (l *Lock) Close() error { return l.f.Close() }
