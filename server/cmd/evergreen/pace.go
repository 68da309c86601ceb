package main

import (
	"net/http"
	"time"
)

// firstWrite is the server's WriteTimeout, which is for a whole answer.
const firstWrite = 60 * time.Second

// A pace gives large answers time as long as they move: an executable of 50 MB
// takes longer than firstWrite over a slow line.
type pace struct {
	bytes int           // that must be taken
	each  time.Duration // in this time,
	most  time.Duration // for at most this long: downloads are resumed by range
}

// defaultPace cuts off who reads more slowly than 2 KiB a second, or not at all.
var defaultPace = pace{64 << 10, 32 * time.Second, 2 * time.Hour}

func (p pace) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&pacedWriter{ResponseWriter: w, pace: p, began: time.Now()}, r)
	})
}

type pacedWriter struct {
	http.ResponseWriter
	pace   pace
	began  time.Time
	unpaid int // bytes since time was given
}

func (w *pacedWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		part := b[:min(len(b), w.pace.bytes-w.unpaid)]
		k, err := w.ResponseWriter.Write(part)
		n, b = n+k, b[k:]
		if err != nil {
			return n, err
		}
		if w.unpaid += k; w.unpaid == w.pace.bytes {
			w.unpaid = 0
			w.giveTime()
		}
	}
	return n, nil
}

func (w *pacedWriter) giveTime() {
	if w.Header().Get("Content-Type") == "text/event-stream" {
		return // it waits, and has set how long
	}
	at := time.Now().Add(w.pace.each)
	if last := w.began.Add(w.pace.most); at.After(last) {
		at = last
	}
	// The limit for reading counts as well: when it passes, the server takes
	// the asker for gone. What has no deadlines is no connection of ours.
	rc := http.NewResponseController(w.ResponseWriter)
	_, _ = rc.SetWriteDeadline(at), rc.SetReadDeadline(at)
}

// Unwrap lets handlers set their own deadlines, and flush.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
