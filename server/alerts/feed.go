package alerts

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/xml"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/watch"
)

// An atom feed, RFC 4287.
type atomFeed struct {
	XMLName xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
	ID      string      `xml:"id"`
	Title   string      `xml:"title"`
	Updated string      `xml:"updated"`
	Author  string      `xml:"author>name"`
	Links   []atomLink  `xml:"link"`
	Entries []atomEntry `xml:"entry"`
}

type atomLink struct {
	Rel  string `xml:"rel,attr"`
	Href string `xml:"href,attr"`
	Type string `xml:"type,attr,omitempty"`
}

type atomEntry struct {
	ID       string       `xml:"id"`
	Title    string       `xml:"title"`
	Updated  string       `xml:"updated"`
	Links    []atomLink   `xml:"link"`
	Category atomCategory `xml:"category"`
	Content  atomContent  `xml:"content"`
}

type atomCategory struct {
	Term string `xml:"term,attr"`
}

type atomContent struct {
	Type string `xml:"type,attr"`
	Text string `xml:",chardata"`
}

// urn is an id, which is 128 random bits, as a name for good.
func urn(id string) string {
	if len(id) != 32 {
		return "urn:evergreen:alerts:" + id
	}
	return "urn:uuid:" + id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}

// newFeed makes a feed whose links are of base, the service's own URL.
func newFeed(sub watch.Subscription, base, author string) ([]byte, error) {
	page := base + "/alerts/" + sub.ID
	if sub.ID == PublicID {
		page = base + "/alerts"
	}
	f := atomFeed{
		ID: urn(sub.ID), Title: sub.Name, Updated: sub.Created.Format(time.RFC3339), Author: author,
		Links: []atomLink{{"self", base + sub.Feed, "application/atom+xml"}, {"alternate", page, "text/html"}},
	}
	for i, e := range sub.Events {
		at := e.Time.UTC().Format(time.RFC3339)
		if i == 0 {
			f.Updated = at
		}
		title, _, _ := strings.Cut(e.Text, ";")
		f.Entries = append(f.Entries, atomEntry{
			ID: urn(e.ID), Title: strings.TrimSuffix(title, "."), Updated: at, Links: []atomLink{{"alternate", page + "#event-" + e.ID, "text/html"}},
			Category: atomCategory{string(e.Type)}, Content: atomContent{"text", e.Text},
		})
	}
	b, err := xml.MarshalIndent(f, "", " ")
	return append([]byte(xml.Header), append(b, '\n')...), err
}

func (s *Service) feed(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	sub, err := s.Subscription(r.Context(), id)
	if err != nil {
		return err
	}
	if err := s.read(r.Context(), id); err != nil {
		return err
	}
	base := strings.TrimSuffix(s.cfg.URL, "/")
	if base == "" {
		base = "http://" + r.Host
	}
	b, err := newFeed(sub, base, s.cfg.Name)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	tag := `"` + hex.EncodeToString(sum[:10]) + `"`
	h := w.Header()
	h.Set("Content-Type", "application/atom+xml; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", tag)
	h.Set("Cache-Control", "private, max-age=60")
	if id == PublicID {
		h.Set("Cache-Control", "public, max-age=60")
		h.Set("Access-Control-Allow-Origin", "*")
	}
	for t := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if t = strings.TrimPrefix(strings.TrimSpace(t), "W/"); t == tag || t == "*" {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	_, _ = w.Write(b) // an error means that nobody is listening
	return nil
}

// read keeps, once a day, that somebody reads a feed.
func (s *Service) read(ctx context.Context, id string) error {
	now := s.cfg.Now()
	var stale bool
	err := s.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		sub, err := one(ctx, tx, id)
		stale = sub.url == "" && now.Sub(sub.heard) > 24*time.Hour
		return err
	})
	if err != nil || !stale {
		return err
	}
	return s.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE alert_subscriptions SET heard = $1 WHERE id = $2 AND url = ''", control.Micros(now), id)
		return err
	})
}
