package ingestlog_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
)

// BenchmarkAppend appends reports of 2 KB from many goroutines, each
// acknowledged after a real fdatasync in the temporary folder (TMPDIR).
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct {
		name    string
		writers int
	}{{"writers=1", 1}, {"writers=64", 64}, {"writers=512", 512}} {
		b.Run(c.name, func(b *testing.B) {
			l := open(b, b.TempDir(), ingestlog.Options{})
			r := record(1, 1)
			r.Body = make([]byte, 2048)
			rng := rand.NewChaCha8([32]byte{})
			if _, err := rng.Read(r.Body); err != nil {
				b.Fatal(err)
			}
			work := make(chan int)
			var mu sync.Mutex
			var took []time.Duration
			var wait sync.WaitGroup
			for range c.writers {
				wait.Go(func() {
					var mine []time.Duration
					for range work {
						start := time.Now()
						if err := l.Append(bg, r); err != nil {
							b.Error(err)
						}
						mine = append(mine, time.Since(start))
					}
					mu.Lock()
					took = append(took, mine...)
					mu.Unlock()
				})
			}
			b.SetBytes(int64(len(r.Body)))
			b.ResetTimer()
			for i := range b.N {
				work <- i
			}
			close(work)
			wait.Wait()
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reports/s")
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
