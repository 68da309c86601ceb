package attacks

import (
	"cmp"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// leastShare is the smallest percentage of an incident's events with which a
// source network is worth telling.
const leastShare = 1

// Report answers the incidents of a window that ends now: those that go on, as
// they are so far, and those that ended since the last Report. An incident has
// the same number in each.
func (w *Watcher) Report(now time.Time) []*wire.Incident {
	w.mu.Lock()
	defer w.mu.Unlock()
	ins := w.incidents(now)
	w.finished = nil
	return ins
}

// Peek answers what Report would, and forgets nothing.
func (w *Watcher) Peek(now time.Time) []*wire.Incident {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.incidents(now)
}

// Finish ends all incidents, for the end of the process. They are counted now,
// and in the next Report.
func (w *Watcher) Finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.signals {
		s := &w.signals[k]
		s.mu.Lock()
		if s.incident != nil {
			w.finish(k)
		}
		s.mu.Unlock()
	}
}

// Open is how many incidents go on.
func (w *Watcher) Open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for k := range w.signals {
		if w.signals[k].incident != nil {
			n++
		}
	}
	return n
}

func (w *Watcher) incidents(now time.Time) []*wire.Incident {
	var ins []*wire.Incident
	for _, in := range w.finished {
		if in.Start <= now.Unix() { // or else the clock was set back
			ins = append(ins, in)
		}
	}
	for k := range w.signals {
		s := &w.signals[k]
		s.mu.Lock()
		if s.incident != nil && !s.incident.start.After(now) {
			end := now
			if s.incident.quiet > 0 {
				end = s.incident.last
			}
			ins = append(ins, w.wire(k, end))
		}
		s.mu.Unlock()
	}
	if w.networks == nil || !w.networks() {
		for _, in := range ins {
			in.Networks = nil
		}
	}
	return ins
}

// wire makes what is sent of the incident of kind k. The signal is locked.
func (w *Watcher) wire(k int, end time.Time) *wire.Incident {
	s := &w.signals[k]
	t := &s.whole
	in := &wire.Incident{
		Number:  s.incident.number,
		Start:   s.incident.start.Unix(),
		Seconds: uint32(max(0, min(end.Unix()-s.incident.start.Unix(), wire.MaxIncidentSeconds))),
		Open:    true,
		Kind:    uint32(manners[k].kind),
		Events:  min(t.count, wire.MaxCount),
		Peak:    min(t.peak, t.count, wire.MaxCount),
		Sources: uint32(wire.SourceClassOf(max(1, round(t.sources.estimate())))),
	}
	if k == kindScan {
		in.Scan = uint32(scanOf(&t.scans))
	}
	if hello, n := t.helloTop.first(); n > 0 {
		// The share of all events, with and without a hello.
		in.TopShare = uint32(100 * n / max(t.sourceTop.total, n))
		in.Fingerprint = uint32(wire.Value(hello))
	}
	in.Networks = networksOf(&t.sourceTop)
	return in
}

// scanOf is the class that most of a scan's requests had; other if none had half.
func scanOf(scans *[32]uint32) wire.Value {
	var sum, most uint32
	var of wire.Value
	for v, n := range scans {
		if sum += n; n > most {
			most, of = n, wire.Value(v)
		}
	}
	if 2*most < sum {
		return wire.Other
	}
	return of
}

func networksOf(t *top) []*wire.SourceNetwork {
	var ns []*wire.SourceNetwork
	for _, c := range t.c[:t.n] {
		share := uint32(100 * (c.count - c.err) / max(t.total, 1))
		if share < leastShare {
			continue
		}
		if p := Source(c.item).prefix(); p != nil {
			ns = append(ns, &wire.SourceNetwork{Prefix: p, Share: share})
		}
	}
	slices.SortFunc(ns, func(a, b *wire.SourceNetwork) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), slices.Compare(a.Prefix, b.Prefix))
	})
	return ns[:min(len(ns), wire.MaxNetworks)]
}
