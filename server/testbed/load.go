package testbed

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kinds of load. Short ones make a request after the other; streams last for
// LoadConfig.Stream and are begun again.
const (
	LoadNew       = "new"         // HTTP/1.1 without TLS, a connection for each request
	LoadNewTLS    = "new-tls"     // the same with TLS
	LoadKeepAlive = "keep-alive"  // GET with HTTP/1.1 on kept connections
	LoadPost      = "post"        // POST with HTTP/1.1 on kept connections that are hardly ever idle
	LoadH2        = "h2"          // GET with HTTP/2
	LoadH2Post    = "h2-post"     // POST with HTTP/2
	LoadH3        = "h3"          // GET with HTTP/3
	LoadWebSocket = "websocket"   // echoed messages through a proxy
	LoadDownload  = "download"    // a large file, read slowly, with HTTP/1.1
	LoadDownload2 = "download-h2" // the same with HTTP/2
	LoadUpload    = "upload"      // a large body, sent slowly, through a proxy
)

// LoadKinds are all of them.
var LoadKinds = []string{
	LoadNew, LoadNewTLS, LoadKeepAlive, LoadPost, LoadH2, LoadH2Post, LoadH3, LoadWebSocket, LoadDownload, LoadDownload2, LoadUpload,
}

// A LoadConfig says what is sent to a server whose site is LoadSite.
type LoadConfig struct {
	Ports Ports
	Roots *x509.CertPool
	Kinds []string // nil: all
	// Workers is how many send each kind of short request, 0: 6; Pause is
	// between two requests of one, 0: 10 ms (LoadPost makes none).
	Workers int
	Pause   time.Duration
	// Stream is how long a download, an upload or a WebSocket lasts, 0: 20 s.
	Stream time.Duration
	// Clock is how wrong Caddy's clock is (Launch.Clock).
	Clock time.Duration
	// Large is the size of a download and an upload in bytes, 0: LargeSize.
	Large int64
}

// A Load is traffic under way whose every answer is checked.
type Load struct {
	cfg   LoadConfig
	stop  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup
	kinds []*counted
}

func (l *Load) now() time.Time { return time.Now().Add(l.cfg.Clock) }

// A LoadResult is what became of one kind of request. A stream is one request.
type LoadResult struct {
	Kind     string
	Requests int
	Failed   int // without the answer that was expected
	// Retried is how often Go's client took a second connection for a request
	// as the protocol allows: what a browser does as well.
	Retried int
	// Stall is the longest that a worker went without an answer: from the
	// start of the first request after one answer to the next one's end.
	Stall    time.Duration
	Failures []LoadFailure // the first ones

	answers []answer
}

// A LoadFailure is a request that had no answer, or a wrong one.
type LoadFailure struct {
	At  time.Time
	Err error
}

type answer struct {
	at   time.Time // when the request began
	took time.Duration
}

const keptFailures = 20

// Quantile is the latency that a share q of the answers to requests begun
// between two times had at most; 0 if there were none. Zero times are no bound.
func (r *LoadResult) Quantile(q float64, from, to time.Time) time.Duration {
	var took []time.Duration
	for _, a := range r.answers {
		if (from.IsZero() || !a.at.Before(from)) && (to.IsZero() || a.at.Before(to)) {
			took = append(took, a.took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(q*float64(len(took))))]
}

func (r LoadResult) String() string {
	s := fmt.Sprintf("%-11s %6d requests, %d failed, %d retried, longest stall %s, p99 %s", r.Kind, r.Requests, r.Failed, r.Retried,
		r.Stall.Round(time.Millisecond), r.Quantile(0.99, time.Time{}, time.Time{}).Round(100*time.Microsecond))
	said := map[string]bool{}
	for _, f := range r.Failures {
		if text := f.Err.Error(); !said[text] {
			said[text] = true
			s += "\n\t" + f.At.UTC().Format("15:04:05.000") + " " + text
		}
	}
	return s
}

// Results are those of several kinds of load.
type Results []LoadResult

func (rs Results) String() string {
	var lines []string
	for _, r := range rs {
		lines = append(lines, r.String())
	}
	return strings.Join(lines, "\n")
}

// Failed is how many requests of the kinds failed; no kinds are all.
func (rs Results) Failed(kinds ...string) (n int) {
	for _, r := range rs {
		if len(kinds) == 0 || slices.Contains(kinds, r.Kind) {
			n += r.Failed
		}
	}
	return n
}

// Requests is how many requests there were.
func (rs Results) Requests() (n int) {
	for _, r := range rs {
		n += r.Requests
	}
	return n
}

// Of is the result of one kind.
func (rs Results) Of(kind string) LoadResult {
	for _, r := range rs {
		if r.Kind == kind {
			return r
		}
	}
	return LoadResult{Kind: kind}
}

// StartLoad begins to send. The caller must Stop it.
func StartLoad(cfg LoadConfig) (*Load, error) {
	if cfg.Kinds == nil {
		cfg.Kinds = LoadKinds
	}
	if cfg.Workers == 0 {
		cfg.Workers = 6
	}
	if cfg.Pause == 0 {
		cfg.Pause = 10 * time.Millisecond
	}
	if cfg.Stream == 0 {
		cfg.Stream = 20 * time.Second
	}
	if cfg.Large == 0 {
		cfg.Large = LargeSize
	}
	l := &Load{cfg: cfg, stop: make(chan struct{})}
	var starts []func()
	for _, kind := range cfg.Kinds {
		c := &counted{result: LoadResult{Kind: kind}}
		l.kinds = append(l.kinds, c)
		workers, pause := cfg.Workers, cfg.Pause
		var request requester
		var err error
		switch kind {
		case LoadNew, LoadNewTLS, LoadKeepAlive, LoadPost, LoadH2, LoadH2Post, LoadH3:
			request, err = l.short(kind)
			if kind == LoadPost {
				workers, pause = 2*workers, time.Millisecond
			}
		case LoadWebSocket, LoadDownload, LoadDownload2, LoadUpload:
			workers = 2
			request, err = l.stream(kind)
		default:
			err = errors.New("there is no such load")
		}
		if err != nil {
			return nil, fmt.Errorf("load %q: %w", kind, err)
		}
		for range workers {
			starts = append(starts, func() { l.work(c, request, pause) })
		}
	}
	for _, start := range starts {
		l.wg.Go(start)
	}
	return l, nil
}

// Stop begins no more requests, waits for those under way and tells what became
// of all.
func (l *Load) Stop() Results {
	l.once.Do(func() { close(l.stop) })
	l.wg.Wait()
	return l.Results()
}

// Results are those up to now.
func (l *Load) Results() (all Results) {
	for _, c := range l.kinds {
		c.mu.Lock()
		r := c.result
		r.Failures, r.answers = slices.Clone(r.Failures), slices.Clone(r.answers)
		c.mu.Unlock()
		all = append(all, r)
	}
	return all
}

// A requester makes one request, of which nothing is left afterwards. It may
// take as long as the server does, within bounds of its own.
type requester func(ctx context.Context) (retried int, err error)

type counted struct {
	mu     sync.Mutex
	result LoadResult
}

func (c *counted) add(began time.Time, waiting time.Duration, retried int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &c.result
	r.Requests++
	r.Retried += retried
	r.Stall = max(r.Stall, waiting)
	if err == nil {
		r.answers = append(r.answers, answer{began, time.Since(began)})
		return
	}
	r.Failed++
	if len(r.Failures) < keptFailures {
		r.Failures = append(r.Failures, LoadFailure{began, err})
	}
}

func (l *Load) work(c *counted, request requester, pause time.Duration) {
	var since time.Time // the first request after the last answer; zero: none
	for {
		select {
		case <-l.stop:
			return
		case <-time.After(pause):
		}
		began := time.Now()
		if since.IsZero() {
			since = began
		}
		retried, err := request(context.Background())
		c.add(began, time.Since(since), retried, err)
		if err == nil {
			since = time.Time{}
		}
	}
}
