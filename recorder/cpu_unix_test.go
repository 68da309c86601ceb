//go:build unix

package recorder

import (
	"syscall"
	"testing"
	"time"
)

// reportCPU adds the processor time of an operation to a benchmark's figures:
// other than the time by the clock, it means something on a busy machine. It is
// the whole process's, the garbage collector's included.
func reportCPU(b *testing.B) func() {
	start := cpuTime()
	return func() {
		b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
