package evergreen

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

// What observers count is in the window that ends, once, whatever another
// observer does and however often the reporter looks.
func TestOnWindow(t *testing.T) {
	start := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	rec, err := recorder.New(recorder.Options{Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{rec: rec, windows: newWindows(rec, wire.DefaultTiming, start)}
	p.onWindow(func(time.Time) { panic("as the test asked") })
	p.onWindow(func(time.Time) { rec.Add(wire.HTTPPanics, wire.Dims{1}, 1) })

	type window struct {
		Start time.Time
		Count uint64
	}
	of := func(w *wire.Window) window {
		var n uint64
		for _, s := range w.Series {
			for _, v := range s.Values {
				n += v
			}
		}
		return window{time.Unix(w.Start, 0).UTC(), n}
	}
	var got []window
	for _, after := range []time.Duration{time.Minute, 4 * time.Minute, 5 * time.Minute, 6 * time.Minute, 9 * time.Minute, 10*time.Minute + time.Second} {
		_ = p.windows.Peek(start.Add(after))
		for _, w := range p.windows.Close(start.Add(after)) {
			got = append(got, of(w))
		}
	}
	got = append(got, of(p.windows.ClosePartial(start.Add(12*time.Minute))))
	want := []window{{start, 1}, {start.Add(5 * time.Minute), 1}, {start.Add(10 * time.Minute), 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("windows (-want +got):\n%s", diff)
	}
}
