package slots

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/internal/filelock"
)

// Lock makes this process the one that updates in this folder, until it ends,
// executes another program, or unlocks. Else the error is ErrLocked and names
// the process that is.
func (d *Dir) Lock() (unlock func(), err error) {
	if err := d.files.MkdirAll(d.path); err != nil {
		return nil, fmt.Errorf("making the folder of updates: %w", err)
	}
	name := d.at("lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the folder of updates: %w", err)
	}
	err = filelock.Try(f)
	if errors.Is(err, filelock.ErrLocked) {
		pid, _ := io.ReadAll(io.LimitReader(f, 20))
		f.Close()
		return nil, fmt.Errorf("%w: process %s has %s", ErrLocked, orUnknown(strings.TrimSpace(string(pid))), name)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", name, err), f.Close())
	}
	// Who has it is for people; without it the lock is as good.
	if f.Truncate(0) == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return func() { f.Close() }, nil
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// patience is how long a change waits for another's, which takes milliseconds.
// Who holds the lock for longer is stopped or stuck, and a start of Caddy can't
// wait for that.
const patience = 5 * time.Second

func (disk) Lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := filelock.Try(f)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, filelock.ErrLocked) {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", name, err), f.Close())
		}
		if time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("another process has held %s for %v: is it stopped?", name, patience), f.Close())
		}
	}
}
