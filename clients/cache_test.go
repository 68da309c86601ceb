package clients

import (
	"fmt"
	"sync"
	"testing"
	"unsafe"
)

// More User-Agents than the cache holds, from several goroutines that write the
// same entries: every answer must be the right one all the same.
func TestCacheIsRightUnderPressure(t *testing.T) {
	c := NewCache()
	const uas = 3 * cacheSets * cacheWays
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range uas {
				k := (i*7919 + g*31) % uas
				major := k%399 + 1
				ua := fmt.Sprintf("Mozilla/5.0 (X11; Linux x86_64; %d) Gecko/20100101 Firefox/%d.0", k, major)
				if got := c.Classify(ua); int(got.Version) != major {
					t.Errorf("%s: %s", ua, named(got))
					return
				}
			}
		}()
	}
	wg.Wait()
}

func TestCacheNeitherGrowsNorAllocates(t *testing.T) {
	c := NewCache()
	if size := unsafe.Sizeof(*c); size > 128<<10 {
		t.Errorf("the cache has %d bytes", size)
	}
	uas := make([]string, 2000)
	for i := range uas {
		uas[i] = fmt.Sprintf("App%d/1.0 (Linux; Android %d)", i, i)
	}
	i := 0
	if n := testing.AllocsPerRun(10_000, func() { sink = c.Classify(uas[i%len(uas)]); i++ }); n != 0 {
		t.Errorf("the cache allocates %v times per call, hit or miss", n)
	}
}
