package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// A hub has open pages told of what changed.
//
// Whoever commits rollups calls Tell. Each open page has a connection to /live,
// whose reader then asks for the page's next rendition. Readers of the same
// page share it: it is made once, by the first of them, and compared with the
// one that the reader has. Nothing runs while nobody reads.
//
// All of it is bounded: readers in all and of one sender, pages that are
// watched, renditions that are remembered, and the work: one page is made at a
// time, and the pause between two renditions of a page grows with what it costs
// to make all that are watched.
type hub struct {
	window time.Duration // after which a page changes by itself: its range moves
	least  time.Duration // between two renditions of a page
	share  float64       // the part of a processor that renditions may take
	make   func(ctx context.Context, target string, generation uint64) (*rendition, error)
	turn   chan struct{} // held by who makes a rendition

	mu         sync.Mutex
	generation uint64
	told       time.Time     // when generation began
	changed    chan struct{} // closed when it ends
	ended      chan struct{} // closed by End
	over       bool
	readers    int
	of         map[string]int       // readers of a sender
	watched    map[string]*openPage // by the page's target
}

const (
	maxReaders       = 2000
	maxSenderReaders = 24
	maxWatched       = 64
	maxRenditions    = 8 // that a page's readers may come back from
)

// An openPage is one that somebody reads.
type openPage struct {
	target  string
	readers int

	// Held by who makes the next rendition.
	last *rendition
	past []*rendition // older ones, without their HTML
	// told are the events that lead to last, by the version that they lead from:
	// most readers have the same.
	told map[string]*message
	next time.Time // when another may be made
}

func newHub(window time.Duration, makeOne func(context.Context, string, uint64) (*rendition, error)) *hub {
	return &hub{
		window: window, least: min(max(window/20, time.Second), 10*time.Second), share: 0.15, make: makeOne,
		turn: make(chan struct{}, 1), told: time.Now(), changed: make(chan struct{}), ended: make(chan struct{}),
		of: map[string]int{}, watched: map[string]*openPage{},
	}
}

// Tell says that there are new rollups. It returns at once.
func (d *Dashboard) Tell() { d.live.tell() }

// End ends what open pages wait for, since a server that shuts down waits for
// its connections. They come back to the next one.
func (d *Dashboard) End() { d.live.end() }

func (h *hub) tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.generation++
	h.told = time.Now()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		h.over = true
		close(h.ended)
	}
}

// now is the generation, and what is closed when it ends. Where nobody told of
// anything for a window, a new one begins by itself.
func (h *hub) now() (uint64, <-chan struct{}) {
	h.mu.Lock()
	idle := time.Since(h.told) >= h.window
	h.mu.Unlock()
	if idle {
		h.tell()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.generation, h.changed
}

// count is the generation's number.
func (h *hub) count() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.generation
}

// enter lets a reader of target in. leave is to be called in the end.
func (h *hub) enter(target, sender string) (w *openPage, leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w = h.watched[target]
	switch {
	case h.over:
		return nil, nil, &fault{http.StatusServiceUnavailable, "the server is restarting", "Come back in a minute."}
	case sender != "" && h.of[sender] >= maxSenderReaders:
		return nil, nil, &fault{http.StatusTooManyRequests, "too many open connections", "Close some of the pages that are open, or ask again when there is something to know."}
	case h.readers >= maxReaders || w == nil && len(h.watched) >= maxWatched:
		return nil, nil, &fault{http.StatusServiceUnavailable, "too many pages are open", "This server tells no more readers of changes for now. The page itself works; load it again to see the newest."}
	}
	if w == nil {
		w = &openPage{target: target}
		h.watched[target] = w
	}
	w.readers++
	h.readers++
	if sender != "" {
		h.of[sender]++
	}
	return w, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.readers--
		if w.readers--; w.readers == 0 {
			delete(h.watched, target)
		}
		if sender != "" {
			if h.of[sender]--; h.of[sender] == 0 {
				delete(h.of, sender)
			}
		}
	}, nil
}

// rendition is w's page with all that generation g has, or later.
func (h *hub) rendition(ctx context.Context, w *openPage, g uint64) (*rendition, error) {
	for {
		r, wait, err := h.try(ctx, w, g)
		if r != nil || err != nil {
			return r, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// try gives the rendition, or says how long to wait before another is made.
func (h *hub) try(ctx context.Context, w *openPage, g uint64) (*rendition, time.Duration, error) {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	if r := w.last; r != nil && r.generation >= g {
		return r, 0, nil
	}
	if wait := time.Until(w.next); wait > 0 {
		return nil, wait, nil
	}
	r, err := h.renew(ctx, w)
	return r, 0, err
}

// renew makes w's next rendition. The caller has the turn.
func (h *hub) renew(ctx context.Context, w *openPage) (*rendition, error) {
	h.mu.Lock()
	g, pages := h.generation, len(h.watched)
	h.mu.Unlock()
	began := time.Now()
	// Others wait for it as well, so that it is made to its end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*queryTimeout)
	defer cancel()
	r, err := h.make(ctx, w.target, g)
	took := time.Since(began)
	w.next = time.Now().Add(max(h.least, time.Duration(float64(took)*float64(pages)/h.share)))
	if err != nil {
		return nil, err
	}
	if old := w.last; old != nil && old.version != r.version {
		w.past = append(w.past, old.bare())
		w.past = w.past[max(0, len(w.past)-maxRenditions):]
	}
	w.last, w.told = r, nil
	return r, nil
}

// since is the event of what of r's page changed since the reader's version.
func (h *hub) since(w *openPage, r *rendition, version string) (*message, error) {
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	if m := w.told[version]; m != nil && w.last == r {
		return m, nil
	}
	c := change{Version: r.version, At: r.at}
	if r.version != version {
		var from *rendition
		for _, old := range w.past {
			if old.version == version {
				from = old
			}
		}
		c = r.since(from)
	}
	m, err := event("change", r.version, c)
	if err == nil && w.last == r && len(w.told) < maxRenditions {
		if w.told == nil {
			w.told = map[string]*message{}
		}
		w.told[version] = m
	}
	return m, err
}

// recorded is a mux of those routes that on says, to be asked by ask.
func recorded(routes []route, on func(route) bool) *http.ServeMux {
	mux := http.NewServeMux()
	for _, rt := range routes {
		if on(rt) {
			mux.Handle("GET "+rt.path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.(*recording).err = rt.handle(w, r)
			}))
		}
	}
	return mux
}

// ask answers a URL of the dashboard's own, as a reader would get it.
func (d *Dashboard) ask(ctx context.Context, mux *http.ServeMux, target string) ([]byte, error) {
	u, err := url.ParseRequestURI(target)
	if err != nil || u.Host != "" || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") {
		return nil, badParameter("page is %.80q: it should be a path such as /tls?range=24h.", target)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.RequestURI(), nil)
	if err != nil {
		return nil, badParameter("page is %.80q: it should be a path such as /tls?range=24h.", target)
	}
	r.RequestURI = u.RequestURI()
	w := &recording{header: http.Header{}}
	if h, pattern := mux.Handler(r); pattern == "" || h == nil {
		return nil, badParameter("%.80q is no page that changes by itself.", u.Path)
	}
	mux.ServeHTTP(w, r)
	if w.err == nil && w.status != 0 && w.status != http.StatusOK {
		return nil, badParameter("%.80q is no page that changes by itself.", u.Path)
	}
	return w.body, w.err
}

// A recording keeps an answer.
type recording struct {
	header http.Header
	status int
	body   []byte
	err    error
}

func (w *recording) Header() http.Header { return w.header }

func (w *recording) Write(b []byte) (int, error) {
	w.body = append(w.body, b...)
	return len(b), nil
}

func (w *recording) WriteHeader(status int) { w.status = status }
