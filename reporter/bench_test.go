package reporter

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/caddy-evergreen/evergreen/wire"
)

// busyWindow resembles a busy server's window: 200 counters and 20 histograms.
func busyWindow(start int64) *wire.Window {
	w := &wire.Window{Start: start, Seconds: 300}
	for m := range uint32(10) {
		s := &wire.Series{Metric: m + 1}
		for c := range uint64(20) {
			s.Cells = append(s.Cells, uint64(wire.Dims{uint16(c%4 + 1), uint16(c*7%400 + 1), 1}.Cell()))
			s.Values = append(s.Values, (uint64(start)*2654435761+c*c*977)%100_000>>(c%13))
		}
		w.Series = append(w.Series, s)
	}
	h := &wire.Series{Metric: uint32(wire.HTTPDuration)}
	for c := range uint64(20) {
		g := &wire.Histogram{Cell: c, Sum: 1_000_000 + c, First: 20}
		for b := range uint64(40) {
			g.Buckets = append(g.Buckets, (uint64(start)*40503+b*c*31)%5000>>(b%11))
		}
		h.Histograms = append(h.Histograms, g)
	}
	w.Series = append(w.Series, h)
	return w
}

func BenchmarkEncode(b *testing.B) {
	for _, n := range []int{1, 12, 72} {
		b.Run(fmt.Sprintf("windows=%d", n), func(b *testing.B) {
			rep := &wire.Report{Number: 1, Facts: &wire.Facts{}}
			for i := range n {
				rep.Windows = append(rep.Windows, busyWindow(epoch+int64(i)*300))
			}
			b.ReportAllocs()
			var body []byte
			for b.Loop() {
				var err error
				if body, err = encode(rep); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(proto.Size(rep)), "plain-bytes")
			b.ReportMetric(float64(len(body)), "body-bytes")
		})
	}
}
