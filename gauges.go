package evergreen

import (
	"math"
	"runtime/metrics"
	"time"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

// What runtime/metrics is asked for, which stops nothing.
const (
	sampleGoroutines = iota
	sampleHeap
	sampleMapped
	sampleReleased
	sampleCycles
	samplePauses
	sampled
)

// maxPauses bounds the work for a window whose garbage was collected without
// end: pauses beyond it are not observed.
const maxPauses = 20_000

// gauges are what is observed once a window: of Go's runtime and of the process.
type gauges struct {
	rec     *recorder.Recorder
	samples []metrics.Sample
	cycles  uint64   // at the end of the last window
	pauses  []uint64 // likewise, by bucket of the runtime's
	cpu     time.Duration
	at      time.Time
}

// newGauges makes gauges that observe what is to come.
func newGauges(rec *recorder.Recorder, now time.Time) *gauges {
	g := &gauges{rec: rec, samples: make([]metrics.Sample, sampled), at: now}
	for i, name := range [sampled]string{
		sampleGoroutines: "/sched/goroutines:goroutines",
		sampleHeap:       "/memory/classes/heap/objects:bytes",
		sampleMapped:     "/memory/classes/total:bytes",
		sampleReleased:   "/memory/classes/heap/released:bytes",
		sampleCycles:     "/gc/cycles/total:gc-cycles",
		samplePauses:     "/sched/pauses/total/gc:seconds",
	} {
		g.samples[i].Name = name
	}
	metrics.Read(g.samples)
	g.cycles, _ = g.number(sampleCycles)
	if h := g.histogram(samplePauses); h != nil {
		g.pauses = append(g.pauses, h.Counts...)
	}
	g.cpu, _ = processorTime()
	return g
}

func (g *gauges) number(i int) (uint64, bool) {
	if v := g.samples[i].Value; v.Kind() == metrics.KindUint64 {
		return v.Uint64(), true
	}
	return 0, false
}

func (g *gauges) histogram(i int) *metrics.Float64Histogram {
	if v := g.samples[i].Value; v.Kind() == metrics.KindFloat64Histogram {
		return v.Float64Histogram()
	}
	return nil
}

// observe observes everything once.
func (g *gauges) observe(now time.Time) {
	metrics.Read(g.samples)
	if n, ok := g.number(sampleGoroutines); ok {
		g.rec.Observe(wire.CaddyGoroutines, wire.Dims{}, signed(n))
	}
	if n, ok := g.number(sampleHeap); ok {
		g.rec.Observe(wire.CaddyHeap, wire.Dims{}, signed(n))
	}
	if n, ok := g.number(sampleMapped); ok {
		released, _ := g.number(sampleReleased)
		g.rec.Observe(wire.CaddyMemory, wire.Dims{}, signed(n-min(n, released)))
	}
	if n, ok := g.number(sampleCycles); ok {
		g.rec.Add(wire.CaddyGCCycles, wire.Dims{}, n-g.cycles)
		g.cycles = n
	}
	g.observePauses()
	g.observeProcessor(now)
	g.observeDescriptors()
}

func signed(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// observePauses observes each pause since the last window as long as the middle
// of its bucket in the runtime's histogram.
func (g *gauges) observePauses() {
	h := g.histogram(samplePauses)
	if h == nil || len(h.Counts) != len(h.Buckets)-1 {
		return
	}
	left := uint64(maxPauses)
	for i, n := range h.Counts {
		var before uint64
		if i < len(g.pauses) {
			before = g.pauses[i]
		}
		n = min(n-before, left)
		left -= n
		for range n {
			g.rec.Observe(wire.CaddyGCPauses, wire.Dims{}, middle(h.Buckets[i], h.Buckets[i+1]).Microseconds())
		}
	}
	g.pauses = append(g.pauses[:0], h.Counts...)
}

// middle is between two times in seconds, of which one may be infinite.
func middle(from, to float64) time.Duration {
	switch {
	case math.IsInf(from, -1):
		return 0
	case math.IsInf(to, 1):
		to = from
	}
	return time.Duration((from + to) / 2 * float64(time.Second))
}

func (g *gauges) observeProcessor(now time.Time) {
	cpu, ok := processorTime()
	if passed := now.Sub(g.at); ok && passed > 0 {
		g.rec.Observe(wire.CaddyCPU, wire.Dims{}, int64(math.Round(100*float64(cpu-g.cpu)/float64(passed))))
	}
	g.cpu, g.at = cpu, now
}

func (g *gauges) observeDescriptors() {
	open, limit, ok := descriptors()
	if !ok {
		return
	}
	g.rec.Observe(wire.CaddyDescriptors, wire.Dims{}, signed(open))
	if limit > 0 {
		g.rec.Observe(wire.CaddyDescriptorShare, wire.Dims{}, int64(math.Round(100*float64(open)/float64(limit))))
	}
}
