package clients

import (
	"hash/maphash"
	"sync/atomic"
)

// cacheSets × cacheWays entries of 24 bytes.
const (
	cacheSets = 1 << 10
	cacheWays = 4
)

// A Cache remembers the classification of the User-Agents seen lately. Its size
// is fixed; it neither locks nor allocates. Entries are found by a 128-bit hash
// with a seed that no client knows.
type Cache struct {
	seeds [2]maphash.Seed
	sets  [cacheSets][cacheWays]entry
}

// An entry is written and read word by word without a lock: the two hashes are
// stored combined with the client, so that words of different writers don't fit
// together and are taken for a miss.
type entry struct {
	h0, h1 atomic.Uint64 // hash ^ client
	client atomic.Uint64 // packed, never 0
}

// NewCache makes an empty cache of about 100 KB.
func NewCache() *Cache {
	return &Cache{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

// Classify is the function of the same name, remembered.
func (c *Cache) Classify(ua string) Client {
	if ua == "" {
		return Client{Kind: None}
	}
	ua = ua[:min(len(ua), maxLen)]
	h0, h1 := maphash.String(c.seeds[0], ua), maphash.String(c.seeds[1], ua)
	set := &c.sets[h0%cacheSets]
	free := -1
	for i := range set {
		e := &set[i]
		p := e.client.Load()
		if p == 0 {
			free = i
			continue
		}
		if e.h0.Load()^p == h0 && e.h1.Load()^p == h1 {
			return unpack(p)
		}
	}
	client := Classify(ua)
	if free < 0 {
		free = int(h1 % cacheWays) // as good as random, and needs no state
	}
	p := client.pack()
	e := &set[free]
	e.client.Store(p)
	e.h0.Store(h0 ^ p)
	e.h1.Store(h1 ^ p)
	return client
}

// pack puts c into one word: 8 bits each, 12 for the version. The top bit tells
// it from an empty entry.
func (c Client) pack() uint64 {
	return 1<<63 | uint64(c.Kind) | uint64(c.Browser)<<8 | uint64(c.OS)<<16 | uint64(c.BotClass)<<24 |
		uint64(c.Bot)<<32 | uint64(c.Tool)<<40 | uint64(c.Version)<<48
}

func unpack(p uint64) Client {
	return Client{
		Kind: uint16(p & 0xff), Browser: uint16(p >> 8 & 0xff), OS: uint16(p >> 16 & 0xff), BotClass: uint16(p >> 24 & 0xff),
		Bot: uint16(p >> 32 & 0xff), Tool: uint16(p >> 40 & 0xff), Version: uint16(p >> 48 & 0xfff),
	}
}
