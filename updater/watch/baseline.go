package watch

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// Half-lives of what is usual, in seconds.
const (
	recently = 30 * 60
	lately   = 7 * 24 * 3600
)

// A minute is between two samples that are this far apart.
const (
	leastMinute = 30 * time.Second
	mostMinute  = 3 * time.Minute
)

// A Baseline is what is usual on this server, as long as nothing new is being watched. Its methods may be
// called from several goroutines.
type Baseline struct {
	path string

	mu   sync.Mutex
	last Sample // of this process
	data data
}

// data is what baseline.json has.
type data struct {
	Version    int          `json:"version"`
	Seed       uint64       `json:"seed"`  // of the hash of hosts
	Hours      [24]*cell    `json:"hours"` // all requests, by hour of the day in UTC
	Recent     cell         `json:"recent"`
	Handshakes [2]cell      `json:"handshakes"` // lately and recently; one series: failures
	Sites      map[int]site `json:"sites"`      // by slot
	Memory     [24]uint64   `json:"memory"`     // the most resident bytes, by hour; decays by 1/16 a day
	MemoryDay  [24]int64    `json:"memory_day"` // since the epoch, when each was last decayed
}

// A site is what is usual for the hosts of a slot.
type site struct {
	Lately cell `json:"lately"`
	Recent cell `json:"recent"`
}

// Open reads the baseline that is kept in a file. It is usable whatever the
// error, which says why the file could not be used; a file that is not there is
// none. Nothing is written.
func Open(path string) (*Baseline, error) {
	b := &Baseline{path: path}
	d, err := read(path)
	if d == nil {
		d = &data{Version: version}
		var seed [8]byte
		if _, e := rand.Read(seed[:]); e != nil && err == nil {
			err = fmt.Errorf("a seed for the baseline: %w", e)
		}
		d.Seed = binary.LittleEndian.Uint64(seed[:])
	}
	if d.Sites == nil {
		d.Sites = map[int]site{}
	}
	b.data = *d
	return b, err
}

// Seed is what the tally that makes the samples is to be made with.
func (b *Baseline) Seed() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Seed
}

// Observe adds what was counted since the last sample, which should be a minute
// ago. The first of a process, or one after a gap, is only where counting begins.
func (b *Baseline) Observe(s Sample) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := b.last
	if d := s.Time.Sub(last.Time); !last.Time.IsZero() && d >= 0 && d < leastMinute {
		return // too early: it stays in the next minute
	}
	b.last = s
	b.data.remember(s)
	if d := s.Time.Sub(last.Time); last.Time.IsZero() || d < 0 || d > mostMinute {
		return
	}
	at, hour := s.Time.Unix(), s.Time.UTC().Hour()
	d := &b.data

	if d.Hours[hour] == nil {
		d.Hours[hour] = &cell{}
	}
	total := s.Total.less(last.Total)
	k := kinds(&total)
	d.Hours[hour].add(at, lately, total.Answered, k)
	d.Recent.add(at, recently, total.Answered, k)

	failed := s.HandshakeFailures - min(last.HandshakeFailures, s.HandshakeFailures)
	all := s.Handshakes - min(last.Handshakes, s.Handshakes) + failed
	for i, life := range [...]float64{lately, recently} {
		d.Handshakes[i].add(at, life, all, []uint64{failed})
	}
	for i := range s.Sites {
		c := s.site(i).less(last.site(i))
		if c.Answered == 0 {
			continue
		}
		site, k := d.Sites[i], kinds(&c)
		site.Lately.add(at, lately, c.Answered, k)
		site.Recent.add(at, recently, c.Answered, k)
		d.Sites[i] = site
	}
}

// remember keeps the most memory that there was, also of a process's first sample.
func (d *data) remember(s Sample) {
	day, hour := s.Time.Unix()/86400, s.Time.UTC().Hour()
	if d.MemoryDay[hour] != day {
		d.MemoryDay[hour] = day
		d.Memory[hour] -= d.Memory[hour] / 16
	}
	d.Memory[hour] = max(d.Memory[hour], s.Memory.Resident)
}

func kinds(c *Counts) []uint64 {
	k := make([]uint64, nSeries)
	for s := range nSeries {
		k[s] = c.of(s)
	}
	return k
}

// memory is the most that was resident in any hour, or 0.
func (d *data) memory() (most uint64) {
	for _, m := range d.Memory {
		most = max(most, m)
	}
	return most
}

// copy shares nothing with d.
func (d *data) copy() data {
	c := *d
	for i, h := range d.Hours {
		if h != nil {
			copied := h.copy()
			c.Hours[i] = &copied
		}
	}
	c.Recent = d.Recent.copy()
	for i := range d.Handshakes {
		c.Handshakes[i] = d.Handshakes[i].copy()
	}
	c.Sites = make(map[int]site, len(d.Sites))
	for i, s := range d.Sites {
		c.Sites[i] = site{s.Lately.copy(), s.Recent.copy()}
	}
	return c
}
