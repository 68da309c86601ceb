package dashboard

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"sync"
)

// send writes a complete body: compressed if that is accepted and worth it,
// and with an ETag unless cacheControl is "", which means that nobody is to
// keep it.
func send(w http.ResponseWriter, r *http.Request, mediaType string, body []byte, cacheControl string) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Add("Vary", "Accept-Encoding")
	zip := len(body) > 1400 && preferred(r.Header.Get("Accept-Encoding"), "gzip") != ""
	if cacheControl != "" {
		h.Set("Cache-Control", cacheControl)
		sum := sha256.Sum256(body)
		tag := hex.EncodeToString(sum[:10])
		if zip {
			tag += "-gz"
		}
		tag = `"` + tag + `"`
		h.Set("ETag", tag)
		if notModified(r, tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if zip {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is a valid one
		z.Write(body)                                   // to memory: can't fail
		z.Close()
		body = b.Bytes()
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		w.Write(body) // an error means that nobody is listening
	}
}

// each calls f for 0 … n-1, four at once, and gives the first error.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, 4) {
		wg.Go(func() {
			for i := range next {
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
