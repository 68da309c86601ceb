package dashboard

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime/debug"
	"strconv"
)

// keptPages is how many pages are kept as they were sent, compressed if their
// reader took that: some megabytes.
const keptPages = 256

// keep has a page made once for all who ask for it within a moment. The answers
// that it is made of are kept, too; what this spares is putting them together,
// which for a page with many charts takes longer than sending it.
func (d *Dashboard) keep(rt route) handler {
	if !rt.live || rt.private || rt.api {
		return rt.handle
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet || len(r.URL.RawQuery) > 2000 || len(r.Host) > 300 {
			return rt.handle(w, r)
		}
		// All that a page follows from: its address, how it was reached, which is
		// in its links, what its reader can decompress, and what was counted: an open
		// page that was told of something and a new one show the same.
		encoding := preferred(r.Header.Get("Accept-Encoding"), "gzip")
		proto := r.Header.Get("X-Forwarded-Proto") == "https" || r.TLS != nil
		key := fmt.Sprintf("%d %s %t %q %q %s", d.live.count(), encoding, proto, r.Host, r.URL.Path, r.URL.RawQuery)
		kept, err := d.whole.get(r.Context(), key, 2*queryTimeout, func(ctx context.Context) (rec *recording, err error) {
			defer func() {
				if p := recover(); p != nil {
					d.cfg.Logger.Error("a page panicked; please report this", "panic", p, "stack", string(debug.Stack()))
					err = fmt.Errorf("a page panicked: %v", p)
				}
			}()
			alone := r.Clone(ctx)
			alone.Header.Del("If-None-Match")
			alone.Header.Set("Accept-Encoding", encoding)
			rec = &recording{header: http.Header{}}
			return rec, rt.handle(rec, alone)
		})
		if err != nil {
			return err
		}
		h := w.Header()
		maps.Copy(h, kept.header.Clone())
		if tag := h.Get("ETag"); tag != "" && notModified(r, tag) {
			h.Del("Content-Length")
			h.Del("Content-Encoding")
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		h.Set("Content-Length", strconv.Itoa(len(kept.body)))
		if kept.status != 0 {
			w.WriteHeader(kept.status)
		}
		w.Write(kept.body) // an error means that nobody is listening
		return nil
	}
}
