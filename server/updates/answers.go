package updates

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	maxAnswers     = 4096
	maxAnswerBytes = 64 << 20
	answerGood     = 5 * time.Minute
	// An answer that will soon be another is kept to spare the planner a crowd.
	buildingGood = 2 * time.Second
	deltaGood    = 30 * time.Second
)

// A question is what answers are known by: the check's bytes, and what keeps a
// release from the asker.
type question [sha256.Size]byte

func questionOf(body []byte, held []Held) question {
	h := sha256.New()
	h.Write(body)
	for _, k := range held {
		h.Write([]byte("\x00" + k.Path + "\x00" + k.Version + "\x00" + k.Why))
	}
	return question(h.Sum(nil))
}

// An encoded answer is ready to be sent.
type encoded struct {
	question   question
	generation string
	good       time.Time // until
	status     int
	retry      time.Duration
	etag       string
	body       []byte
	outcome    string
}

func encode(q question, generation string, a wire.Answer, now time.Time) (*encoded, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	e := &encoded{
		question: q, generation: generation, status: http.StatusOK, good: now.Add(answerGood),
		retry: time.Duration(a.RetryAfter) * time.Second, etag: `"` + hex.EncodeToString(sum[:12]) + `"`, body: append(body, '\n'),
	}
	switch {
	case a.Target != nil:
		e.outcome = outcomeTarget
	case a.Build != nil && a.Build.State == "failed":
		e.outcome, e.good = outcomeFailed, now.Add(buildingGood)
	case a.Build != nil:
		e.outcome, e.status, e.good = outcomeBuilding, http.StatusAccepted, now.Add(buildingGood)
	case a.NeedsUpdate:
		e.outcome = outcomeTold
	default:
		e.outcome = outcomeCurrent
	}
	return e, nil
}

// answers keeps the answers used last.
type answers struct {
	mu    sync.Mutex
	known map[question]*list.Element // of *encoded
	order *list.List                 // the one used last is first
	bytes int
	going map[question]*making
}

// A making is an answer that is being made, for all who asked meanwhile.
type making struct {
	done chan struct{}
	e    *encoded
	err  error
}

func newAnswers() *answers {
	return &answers{known: map[question]*list.Element{}, order: list.New(), going: map[question]*making{}}
}

// get answers from memory.
func (a *answers) get(q question, generation string, now time.Time) *encoded {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fresh(q, generation, now)
}

// fresh is get for who holds the lock.
func (a *answers) fresh(q question, generation string, now time.Time) *encoded {
	el := a.known[q]
	if el == nil {
		return nil
	}
	e := el.Value.(*encoded)
	if e.generation != generation || now.After(e.good) {
		a.drop(el)
		return nil
	}
	a.order.MoveToFront(el)
	return e
}

func (a *answers) drop(el *list.Element) {
	e := a.order.Remove(el).(*encoded)
	delete(a.known, e.question)
	a.bytes -= len(e.body)
}

func (a *answers) put(e *encoded) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if el := a.known[e.question]; el != nil {
		a.drop(el)
	}
	a.known[e.question] = a.order.PushFront(e)
	a.bytes += len(e.body)
	for a.order.Len() > maxAnswers || a.bytes > maxAnswerBytes && a.order.Len() > 1 {
		a.drop(a.order.Back())
	}
}

// size is how many answers there are, and their bytes.
func (a *answers) size() (n, bytes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.order.Len(), a.bytes
}

// once makes an answer for all who ask for it at the same time. It goes on when
// an asker leaves, or has waited long, since others may wait. first tells who
// had it made.
func (a *answers) once(ctx context.Context, q question, generation string, wait time.Duration, f func(context.Context) (*encoded, error)) (e *encoded, first bool, err error) {
	a.mu.Lock()
	m := a.going[q]
	if m == nil {
		// It may have been made since the asker looked for it.
		if e := a.fresh(q, generation, time.Now()); e != nil {
			a.mu.Unlock()
			return e, false, nil
		}
	}
	if first = m == nil; first {
		m = &making{done: make(chan struct{})}
		a.going[q] = m
		go func() {
			m.e, m.err = caught(context.WithoutCancel(ctx), f)
			if m.err == nil {
				a.put(m.e)
			}
			a.mu.Lock()
			delete(a.going, q)
			a.mu.Unlock()
			close(m.done)
		}()
	}
	a.mu.Unlock()
	long := time.NewTimer(wait)
	defer long.Stop()
	select {
	case <-m.done:
		return m.e, first, m.err
	case <-long.C:
		return nil, first, errPlanning
	case <-ctx.Done():
		return nil, first, ctx.Err()
	}
}

// caught makes a panic an error, as net/http does for a handler: what a stranger
// sends must not end the server.
func caught(ctx context.Context, f func(context.Context) (*encoded, error)) (e *encoded, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f(ctx)
}
