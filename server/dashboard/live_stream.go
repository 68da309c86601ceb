package dashboard

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/http"
	"strings"
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
	s := &stream{w: w, rc: http.NewResponseController(w), zip: strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")}
	defer s.close()
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
			if m, err := event("end", "", map[string]string{"reason": reason(err)}); err == nil {
				s.send(m)
			}
			return nil
		}
		if next.version != version || first {
			m, err := d.live.since(page, next, version)
			if err != nil || !s.send(m) {
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
		m, err := event("rollups", "", map[string]time.Time{"at": d.cfg.Now().UTC()})
		if err != nil || !s.send(m) || !d.pause(r, s, changed) {
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
			if !s.send(stillHere) {
				return false
			}
		case <-d.live.ended:
			return false
		case <-r.Context().Done():
			return false
		}
	}
}

// A message is what goes to any number of readers, compressed once for all.
type message struct {
	text   []byte
	packed []byte // text in blocks of DEFLATE that end at a byte and refer to nothing before
}

var stillHere = newMessage([]byte(": still here\n\n"))

func event(name, id string, data any) (*message, error) {
	b, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if id != "" {
		fmt.Fprintf(&text, "id: %s\n", id)
	}
	fmt.Fprintf(&text, "event: %s\ndata: %s\n\n", name, b)
	return newMessage(text.Bytes()), nil
}

func newMessage(text []byte) *message {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, flate.BestSpeed) // the level is a valid one
	z.Write(text)                                // to memory: can't fail
	z.Flush()
	return &message{text, b.Bytes()}
}

// A stream writes events to a reader, who has to take each within a minute. It
// is compressed, if the reader can read that: an event holds much of a page.
// Messages that are compressed each for itself, one after the other, are one
// gzip stream (RFC 1952) between its head and its sum.
type stream struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	zip   bool
	begun bool
	sum   uint32 // of all text
	size  uint32
}

var (
	gzipHead = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	lastPart = []byte{1, 0, 0, 0xff, 0xff} // a block of DEFLATE: the last one, with nothing in it
	retry    = newMessage([]byte("retry: 5000\n\n"))
)

// send writes a message, and reports whether the reader is there.
func (s *stream) send(m *message) bool {
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
		h.Add("Vary", "Accept-Encoding")
		if s.zip {
			h.Set("Content-Encoding", "gzip")
			if _, err := s.w.Write(gzipHead); err != nil {
				return false
			}
		}
		if !s.send(retry) {
			return false
		}
	}
	b := m.text
	if s.zip {
		s.sum, s.size = crc32.Update(s.sum, crc32.IEEETable, m.text), s.size+uint32(len(m.text))
		b = m.packed
	}
	if _, err := s.w.Write(b); err != nil {
		return false
	}
	return s.rc.Flush() == nil
}

// close ends what was begun.
func (s *stream) close() {
	if s.begun && s.zip {
		b := binary.LittleEndian.AppendUint32(append([]byte(nil), lastPart...), s.sum)
		s.w.Write(binary.LittleEndian.AppendUint32(b, s.size)) // an error means that nobody is listening
	}
}
