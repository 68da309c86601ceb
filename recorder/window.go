package recorder

import (
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Close returns the windows that have ended by now and opens the one that now
// lies in. A window in which nothing was counted is returned too, without
// series: it says that the instance ran.
func (r *Recorder) Close(now time.Time) []*wire.Window {
	r.late()
	r.mu.Lock()
	defer r.mu.Unlock()
	start := r.timing.WindowStart(now)
	if !start.After(r.start) {
		r.start = start // the clock went backwards: the open window is the one it now says
		return nil
	}
	w := r.take(true)
	r.start = start
	r.window.Add(1)
	return []*wire.Window{w}
}

// ClosePartial returns what was counted since the last window was closed, even
// though the open window may not have ended: for shutting down. The open window
// stays open; what is still counted for it is returned by the next close, in
// another window with the same start.
func (r *Recorder) ClosePartial(now time.Time) *wire.Window {
	r.late()
	r.mu.Lock()
	defer r.mu.Unlock()
	if start := r.timing.WindowStart(now); start.Before(r.start) {
		r.start = start
	}
	w := r.take(true)
	r.window.Add(1)
	r.start = r.timing.WindowStart(now)
	return w
}

// Peek returns what Close would, were the open window to end now, and closes nothing.
func (r *Recorder) Peek(now time.Time) *wire.Window {
	r.late()
	r.mu.Lock()
	defer r.mu.Unlock()
	start := r.start
	defer func() { r.start = start }()
	if s := r.timing.WindowStart(now); s.Before(start) {
		r.start = s
	}
	return r.take(false)
}

// read adds up the stripes of m's words, backwards, so that a histogram's sum is
// read before its buckets: see observe. The result is good until the next read.
// r.mu is held.
func (r *Recorder) read(m *metric) []uint64 {
	from, to := m.base, m.base+m.cells*m.width
	now := r.buffer[:to-from]
	clear(now)
	for _, s := range r.stripes {
		s := s[from:to]
		for i := len(s) - 1; i >= 0; i-- {
			now[i] += s[i].Load()
		}
	}
	return now
}

// take makes the window of everything since the last close. If commit is set it
// becomes the last close. r.mu is held.
func (r *Recorder) take(commit bool) *wire.Window {
	w := &wire.Window{Start: r.start.Unix(), Seconds: uint32(r.timing.Window / time.Second)}
	for i := range r.layout.metrics {
		m := &r.layout.metrics[i]
		var s *wire.Series
		switch m.def.Kind {
		case wire.KindCounter:
			s = r.counters(m, commit)
		case wire.KindHistogram:
			s = r.histograms(m, commit)
		case wire.KindPeak:
			s = r.peaks(m, commit)
		}
		if s != nil && !r.isOff(m) {
			w.Series = append(w.Series, s)
		}
	}
	return w
}

func (r *Recorder) counters(m *metric, commit bool) *wire.Series {
	var s *wire.Series
	now, closed := r.read(m), r.closed[m.base:]
	for i := range m.cells {
		n := now[i] - closed[i]
		if n == 0 {
			continue
		}
		if s == nil {
			s = &wire.Series{Metric: uint32(m.def.ID)}
		}
		s.Cells = append(s.Cells, uint64(m.dims(i).Cell()))
		s.Values = append(s.Values, n)
		if commit {
			closed[i] = now[i]
		}
	}
	return s
}

func (r *Recorder) histograms(m *metric, commit bool) *wire.Series {
	var s *wire.Series
	all := r.read(m)
	for i := range m.cells {
		now := all[i*m.width:][:m.width]
		closed := r.closed[m.base+i*m.width:][:m.width]
		first, last := -1, -1
		for b := range wire.Buckets {
			if now[b] != closed[b] {
				if first < 0 {
					first = b
				}
				last = b
			}
		}
		if first < 0 {
			// A sum whose bucket was in the window before waits for the next
			// one that has buckets.
			continue
		}
		h := &wire.Histogram{Cell: uint64(m.dims(i).Cell()), Sum: now[sumWord] - closed[sumWord],
			First: uint32(first), Buckets: make([]uint64, last-first+1)}
		for b := range h.Buckets {
			h.Buckets[b] = now[first+b] - closed[first+b]
		}
		if s == nil {
			s = &wire.Series{Metric: uint32(m.def.ID)}
		}
		s.Histograms = append(s.Histograms, h)
		if commit {
			copy(closed, now)
		}
	}
	return s
}

func (r *Recorder) peaks(m *metric, commit bool) *wire.Series {
	var peak uint64
	if g := r.gauge(m.def.ID); commit {
		peak = g.reset()
	} else {
		peak = uint64(max(g.peak.Load(), 0))
	}
	if peak == 0 {
		return nil
	}
	return &wire.Series{Metric: uint32(m.def.ID), Cells: []uint64{0}, Values: []uint64{peak}}
}

// gauge finds the gauge of a metric of kind Peak.
func (r *Recorder) gauge(id wire.MetricID) *gauge {
	if id == wire.ConnectionsPeak {
		return &r.open
	}
	return &r.inFlight
}

// skip forgets what m counted in the open window. r.mu is held.
func (r *Recorder) skip(m *metric) {
	if m.def.Kind == wire.KindPeak {
		r.gauge(m.def.ID).reset()
		return
	}
	copy(r.closed[m.base:], r.read(m))
}
