package evergreen

import (
	"slices"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

// windows is the recorder as the reporter has it: before a window is closed,
// it observes what is observed once a window, so that it is in that window.
type windows struct {
	*recorder.Recorder
	timing wire.Timing

	mu        sync.Mutex
	start     time.Time // of the open window
	observers []func(now time.Time)
}

func newWindows(rec *recorder.Recorder, timing wire.Timing, now time.Time) *windows {
	return &windows{Recorder: rec, timing: timing, start: timing.WindowStart(now)}
}

// onWindow has f called shortly before a window is closed, on the reporter's
// goroutine: f is to take microseconds, or a few milliseconds at most. What it
// counts or observes is in the window that ends. It stays as long as the
// process; a panic in it is swallowed. Where nothing reports, it isn't called.
func (p *process) onWindow(f func(now time.Time)) {
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	p.windows.observers = append(p.windows.observers, f)
}

// Close observes if a window has ended by now.
func (w *windows) Close(now time.Time) []*wire.Window {
	w.mu.Lock()
	start := w.timing.WindowStart(now)
	ended := start.After(w.start)
	w.start = start
	w.mu.Unlock()
	if ended {
		w.observe(now)
	}
	return w.Recorder.Close(now)
}

// ClosePartial observes, too: what is counted until the end is in the last window.
func (w *windows) ClosePartial(now time.Time) *wire.Window {
	w.observe(now)
	return w.Recorder.ClosePartial(now)
}

func (w *windows) observe(now time.Time) {
	w.mu.Lock()
	observers := slices.Clone(w.observers)
	w.mu.Unlock()
	for _, f := range observers {
		_ = guard("observe at a window's end", func() error {
			f(now)
			return nil
		})
	}
}
