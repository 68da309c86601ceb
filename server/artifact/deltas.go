package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/caddy-evergreen/evergreen/delta"
	"github.com/caddy-evergreen/evergreen/wire"
)

// deltaName says what a delta is made of: from, to, method.
func deltaName(from, to string, m delta.Method) string {
	return path.Join("deltas", from[:32]+"-"+to[:32]+"."+m.String())
}

// A deltaQueue holds the pairs that deltas are to be made for. It is not kept
// over restarts: whoever still wants one asks again.
type deltaQueue struct {
	mu   sync.Mutex
	jobs []deltaJob
	know map[[2]string]bool // queued, made, or found not worth it
	wake chan struct{}
}

type deltaJob struct {
	from, to string
	method   delta.Method
}

// maxDeltaJobs bounds the queue: what does not fit is asked for again.
const maxDeltaJobs = 1000

// WantDelta asks for deltas between two published executables, by their SHA-256.
// It returns at once; Run makes them, one at a time: the quick kind for all that
// wait, then the small kind. Asking again for the same costs nothing.
func (r *Repository) WantDelta(from, to string) {
	if from == to {
		return
	}
	x := &r.index
	x.mu.RLock()
	_, okFrom := x.exe[from]
	_, okTo := x.exe[to]
	var missing []delta.Method
	for _, m := range []delta.Method{delta.ZstdPatch, delta.Bsdiff} {
		if okFrom && okTo {
			if _, made := x.byName[deltaName(from, to, m)]; !made {
				missing = append(missing, m)
			}
		}
	}
	x.mu.RUnlock()
	if len(missing) == 0 {
		return
	}
	q := &r.deltas
	q.mu.Lock()
	defer q.mu.Unlock()
	pair := [2]string{from, to}
	if q.know[pair] || len(q.jobs)+len(missing) > maxDeltaJobs {
		return
	}
	if q.know == nil || len(q.know) > 100*maxDeltaJobs {
		q.know = map[[2]string]bool{}
	}
	q.know[pair] = true
	for _, m := range missing {
		q.jobs = append(q.jobs, deltaJob{from, to, m})
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next takes the job that is done first: the quick ones before the small ones.
func (q *deltaQueue) next() (deltaJob, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.jobs) == 0 {
		return deltaJob{}, false
	}
	at := 0
	for i, j := range q.jobs {
		if j.method < q.jobs[at].method {
			at = i
		}
	}
	j := q.jobs[at]
	q.jobs = append(q.jobs[:at], q.jobs[at+1:]...)
	return j, true
}

func (q *deltaQueue) forget(j deltaJob) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.know, [2]string{j.from, j.to})
}

// makeDeltas works until ctx ends.
func (r *Repository) makeDeltas(ctx context.Context) {
	for {
		j, ok := r.deltas.next()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-r.deltas.wake:
			}
			continue
		}
		err := r.makeDelta(ctx, j)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.deltas.forget(j)
			r.o.Log.Error("no delta was made: it will be tried when it is asked for again", "from", j.from, "to", j.to, "method", j.method, "error", err)
		}
	}
}

func (r *Repository) makeDelta(ctx context.Context, j deltaJob) error {
	old, err := r.whole(ctx, j.from)
	if err != nil {
		return err
	}
	fresh, err := r.whole(ctx, j.to)
	if err != nil {
		return err
	}
	var patch bytes.Buffer
	if _, err := delta.Make(ctx, old, fresh, j.method, &patch); err != nil {
		return err
	}
	t, ok := r.FindExecutable(j.to, j.from)
	// What another way to the executable beats is of no use to anyone.
	if !ok || int64(patch.Len()) >= t.Files[0].Size {
		return nil
	}
	r.files.RLock()
	defer r.files.RUnlock()
	entries := map[string]*metadata.TargetFiles{}
	name := deltaName(j.from, j.to, j.method)
	c := wire.TargetCustom{Kind: wire.TargetDelta, Of: j.to, From: j.from, Method: j.method.String()}
	if err := r.add(ctx, name, patch.Bytes(), c, entries); err != nil {
		return err
	}
	if err := r.submit(ctx, entries); err != nil {
		return err
	}
	r.o.Log.Info("made a delta", "name", name, "bytes", patch.Len())
	return nil
}

// maxExecutable bounds what deltas are made of, in bytes.
const maxExecutable = 256 << 20

func (r *Repository) whole(ctx context.Context, sum string) ([]byte, error) {
	rd, err := r.OpenTarget(ctx, sum)
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	b, err := io.ReadAll(io.LimitReader(rd, maxExecutable+1))
	if err != nil {
		return nil, fmt.Errorf("reading an executable: %w", err)
	}
	if len(b) > maxExecutable {
		return nil, errors.New("an executable is too large for deltas")
	}
	if got := sha256Hex(b); got != sum {
		return nil, fmt.Errorf("the stored executable %s is damaged: it has SHA-256 %s", sum, got)
	}
	return b, nil
}
