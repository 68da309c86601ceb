// Package sandbox runs a program that works on strangers' input.
//
// In comes a Command: a program, the folders it may see, and limits. Out comes
// what it printed, and an error that tells a program's own failure from a limit
// that it hit. Guaranteed on Linux, where Isolation is Namespaces:
//
//   - the program sees the folders it was given, at the places where they are,
//     a few devices, and nothing else of the file system; what is not marked
//     as writable can't be written,
//   - it has no network, unless asked for, and sees no process but its own,
//   - it has no capability and can't gain one; started by root, it runs as
//     another user,
//   - it and all its children end when the context ends, when a limit is hit,
//     and when the process that started it ends, even by SIGKILL.
//
// Where the system has no namespaces to give, Isolation is Limits: the limits
// hold, and the rest does not. Elsewhere than on Linux only the limits of time
// and output hold.
//
// The program is started by way of this executable itself, which enters the
// sandbox and then becomes the program: an executable that uses this package
// calls Enter first thing in main, and in TestMain.
package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Isolation is how much of a sandbox there is.
type Isolation string

const (
	Namespaces Isolation = "namespaces"
	Limits     Isolation = "limits"
)

// A Command is a program to run.
type Command struct {
	Path    string // of the program, absolute
	Args    []string
	Env     []string // all of it
	Dir     string   // must be in Folders
	Folders []Folder
	Network bool
	Bounds  Bounds
	// User is the user and group id to become when this process is root's;
	// 0 stays root's, without capabilities.
	User int
	// Stdout and Stderr get what the program prints, together up to
	// Bounds.Output. Nil drops it.
	Stdout, Stderr io.Writer
}

// A Folder is one that the program sees, with all below it, or a single file.
type Folder struct {
	Path  string
	Write bool
}

// Bounds are limits; 0 is none.
type Bounds struct {
	Time   time.Duration
	Memory int64 // of one process, bytes
	File   int64 // size of one file, bytes
	Output int64 // of what is printed, bytes
	// Disk is asked again and again while the program runs, and says why it
	// must end, or nil. Nil never ends it.
	Disk func() error
}

// ErrLimit is in the chain of errors that say that a limit was hit.
var ErrLimit = errors.New("a limit of the sandbox was hit")

// errSetup says that the sandbox could not be entered.
type errSetup struct{ text string }

func (e errSetup) Error() string { return "entering the sandbox: " + e.text }

// diskEvery is how often Bounds.Disk is asked.
const diskEvery = time.Second

// Run runs a command to its end. Its error is an *exec.ExitError in a chain if
// the program itself failed, has ErrLimit in its chain if it was ended for a
// limit, and the context's cause if it was ended for that.
func (s *Sandbox) Run(ctx context.Context, c Command) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if c.Bounds.Time > 0 {
		timer := time.AfterFunc(c.Bounds.Time, func() {
			cancel(fmt.Errorf("%w: it took longer than %v", ErrLimit, c.Bounds.Time))
		})
		defer timer.Stop()
	}
	printed := &bounds{left: c.Bounds.Output, unbounded: c.Bounds.Output == 0, over: func() {
		cancel(fmt.Errorf("%w: it printed more than %d bytes", ErrLimit, c.Bounds.Output))
	}}
	// One writer for both lets both be one pipe.
	same := c.Stdout == c.Stderr
	c.Stdout = printed.writer(c.Stdout)
	if same {
		c.Stderr = c.Stdout
	} else {
		c.Stderr = printed.writer(c.Stderr)
	}
	if c.Bounds.Disk != nil {
		watched := make(chan struct{})
		defer close(watched)
		go func() {
			t := time.NewTicker(diskEvery)
			defer t.Stop()
			for {
				select {
				case <-watched:
					return
				case <-t.C:
					if err := c.Bounds.Disk(); err != nil {
						cancel(fmt.Errorf("%w: %w", ErrLimit, err))
						return
					}
				}
			}
		}()
	}
	err := s.run(ctx, c)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// bounds pass on so many bytes to all their writers, then drop and tell.
type bounds struct {
	mu        sync.Mutex
	left      int64
	unbounded bool
	over      func()
}

type bounded struct {
	b *bounds
	w io.Writer
}

func (b *bounds) writer(w io.Writer) io.Writer {
	if w == nil {
		w = io.Discard
	}
	return &bounded{b, w}
}

func (w *bounded) Write(p []byte) (int, error) {
	b := w.b
	b.mu.Lock()
	defer b.mu.Unlock()
	n := int64(len(p))
	if !b.unbounded {
		if n > b.left {
			n = b.left
			b.over()
		}
		b.left -= n
	}
	if _, err := w.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// A Tail keeps the last bytes that were written to it.
type Tail struct {
	Keep int
	mu   sync.Mutex
	b    []byte
	cut  bool
}

func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 2*t.Keep {
		t.b = append(t.b[:0], t.b[len(t.b)-t.Keep:]...)
		t.cut = true
	}
	return len(p), nil
}

// String is the last whole lines of at most Keep bytes.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.b
	if t.cut || len(b) > t.Keep {
		b = b[max(0, len(b)-t.Keep):]
		if _, rest, ok := bytes.Cut(b, []byte("\n")); ok {
			b = rest
		}
	}
	return string(b)
}
