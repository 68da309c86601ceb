package evergreen

import (
	"sync"

	"github.com/caddy-evergreen/evergreen/clients"
	"github.com/caddy-evergreen/evergreen/recorder"
)

// helloBatch is how many hellos wait to be counted at most.
const helloBatch = 32

// A helloQueue counts the hellos of connections that had a request, many
// together. One hello touches some sixty counters that lie far apart. Between
// two handshakes, which take most of a millisecond, all of them fall out of the
// processor's caches; counted together, they are fetched once, and none of it is
// done while a client waits.
type helloQueue struct {
	rec *recorder.Recorder

	mu      sync.Mutex
	waiting []heldHello
}

// A heldHello is a hello with what its connection's User-Agent claims.
type heldHello struct {
	p         *probe
	malformed bool
	client    clients.Client
}

// put takes over p.
func (q *helloQueue) put(h heldHello) {
	q.mu.Lock()
	q.waiting = append(q.waiting, h)
	var batch []heldHello
	if len(q.waiting) >= helloBatch {
		batch, q.waiting = q.waiting, make([]heldHello, 0, helloBatch)
	}
	q.mu.Unlock()
	if batch != nil {
		go q.count(batch)
	}
}

// flush counts what waits, for who is about to read the counters.
func (q *helloQueue) flush() {
	q.mu.Lock()
	batch := q.waiting
	q.waiting = nil
	q.mu.Unlock()
	q.count(batch)
}

func (q *helloQueue) count(batch []heldHello) {
	for i := range batch {
		h := &batch[i]
		_ = guard("count a ClientHello", func() error {
			countHello(q.rec, &h.p.hello, h.malformed, &h.client)
			h.p.free()
			return nil
		})
	}
}
