package dashboard

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// keepAlive is how often a comment is sent that keeps whoever is between
	// from ending a silent connection.
	keepAlive = 20 * time.Second
	// longest is how long a connection lasts before the browser opens another.
	longest = 2 * time.Hour
)

// liveEvents answers /live: server-sent events, in the WHATWG's format.
//
// With page, a path of this dashboard, what changed on it is sent as an event
// "change" whose data is a change, its version also the event's id; the first
// one at once, against version or Last-Event-ID. It has no parts if nothing
// changed but the time. Without page, an event "rollups" tells that
// there is something new, and when. An event "end" says why no more will come.
func (d *Dashboard) liveEvents(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	if len(q.Get("page")) > maxPage {
		return badParameter("page is longer than %d bytes.", maxPage)
	}
	target := q.Get("page")
	if len(q["page"]) == 1 {
		q.Set("page", "") // bounded already, less strictly
	}
	if err := strict(q, []string{"page", "version"}); err != nil {
		return err
	}
	version := q.Get("version")
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		version = id
	}
	page, leave, err := d.live.enter(target, d.senderOf(r))
	if err != nil {
		return err
	}
	defer leave()
	s := &stream{w: w, rc: http.NewResponseController(w)}
	if page.target == "" {
		return d.tellRollups(r, s)
	}
	return d.tellChanges(r, s, page, version)
}

// maxPage bounds a page's path with its query: a signed link is some 300 bytes.
const maxPage = 2000

func (d *Dashboard) tellChanges(r *http.Request, s *stream, page *openPage, version string) error {
	until := time.Now().Add(longest)
	for first := true; time.Now().Before(until); first = false {
		g, changed := d.live.now()
		least := g
		if first {
			least = 0 // the one that others have: what is missing follows
		}
		next, err := d.live.rendition(r.Context(), page, least)
		switch {
		case r.Context().Err() != nil:
			return nil
		case err != nil && !s.begun:
			return err // an answer like any other
		case err != nil:
			d.cfg.Logger.Warn("an open page can't be renewed", "err", err)
			s.event("end", "", map[string]string{"reason": reason(err)})
			return nil
		}
		if next.version != version || first {
			c := change{Version: next.version, At: next.at}
			if next.version != version {
				c = d.live.since(page, next, version)
			}
			if !s.event("change", next.version, c) {
				return nil
			}
			version = next.version
		}
		if next.generation < g {
			continue
		}
		if !d.pause(r, s, changed) {
			return nil
		}
	}
	return nil
}

func (d *Dashboard) tellRollups(r *http.Request, s *stream) error {
	until := time.Now().Add(longest)
	for time.Now().Before(until) {
		_, changed := d.live.now()
		if !s.event("rollups", "", change{At: d.cfg.Now().UTC()}.when()) || !d.pause(r, s, changed) {
			return nil
		}
		select { // what is committed meanwhile is told at once
		case <-time.After(d.live.least):
		case <-r.Context().Done():
			return nil
		}
	}
	return nil
}

func (c change) when() map[string]time.Time { return map[string]time.Time{"at": c.At} }

// reason is what of an error a reader is told.
func reason(err error) string {
	if f, ok := faultOf(err); ok {
		return f.Detail
	}
	return "The page can't be made at the moment; load it again in a minute."
}

// pause waits until something changed. It reports whether the reader is there.
func (d *Dashboard) pause(r *http.Request, s *stream, changed <-chan struct{}) bool {
	window := time.NewTimer(d.live.window)
	defer window.Stop()
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		select {
		case <-changed:
			return true
		case <-window.C:
			return true
		case <-alive.C:
			if !s.write(": still here\n\n") {
				return false
			}
		case <-d.live.ended:
			return false
		case <-r.Context().Done():
			return false
		}
	}
}

// A stream writes events to a reader, who has to take each within a minute.
type stream struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
}

// event sends one, and reports whether the reader is there.
func (s *stream) event(name, id string, data any) bool {
	b, err := json.Marshal(data)
	if err != nil {
		return false
	}
	text := fmt.Sprintf("event: %s\ndata: %s\n\n", name, b)
	if id != "" {
		text = "id: " + id + "\n" + text
	}
	return s.write(text)
}

func (s *stream) write(text string) bool {
	// What has no deadlines is no connection of ours. The limit for reading
	// counts as well: when it passes, the server takes the reader for gone.
	at := time.Now().Add(time.Minute)
	_, _ = s.rc.SetWriteDeadline(at), s.rc.SetReadDeadline(at)
	if !s.begun {
		s.begun = true
		h := s.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Accel-Buffering", "no")
		text = "retry: 5000\n\n" + text
	}
	if _, err := io.WriteString(s.w, text); err != nil {
		return false
	}
	return s.rc.Flush() == nil
}
