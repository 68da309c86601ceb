package dashboard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// A rendition is a page as it was at a time, in the parts that change: the
// content of elements with data-live and an id, and the figures with
// data-chart, which scripts draw from the answer at that address.
type rendition struct {
	generation uint64
	version    string // of the page: a hash
	at         time.Time
	parts      []livePart
	charts     []liveChart
}

type livePart struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
	tag  string // hash of HTML
}

// A liveChart is a figure whose picture changed. Data are its data attributes,
// which say how to draw it.
type liveChart struct {
	ID   string            `json:"id"`
	Data map[string]string `json:"data"`
	tag  string            // hash of Data and of the answer
}

// A change is what /live sends.
type change struct {
	Version string      `json:"version"`
	At      time.Time   `json:"at"`
	Parts   []livePart  `json:"parts,omitempty"`
	Charts  []liveChart `json:"charts,omitempty"`
}

// bare is r as much as is needed to compare with.
func (r *rendition) bare() *rendition {
	b := &rendition{generation: r.generation, version: r.version, at: r.at}
	for _, p := range r.parts {
		b.parts = append(b.parts, livePart{ID: p.ID, tag: p.tag})
	}
	for _, c := range r.charts {
		b.charts = append(b.charts, liveChart{ID: c.ID, tag: c.tag})
	}
	return b
}

// since is what changed from old to r: all, if old is nil.
func (r *rendition) since(old *rendition) change {
	c := change{Version: r.version, At: r.at}
	had := map[string]string{}
	if old != nil {
		for _, p := range old.parts {
			had[p.ID] = p.tag
		}
		for _, ch := range old.charts {
			had[ch.ID] = ch.tag
		}
	}
	for _, p := range r.parts {
		if had[p.ID] != p.tag {
			c.Parts = append(c.Parts, p)
		}
	}
	for _, ch := range r.charts {
		if had[ch.ID] != ch.tag {
			c.Charts = append(c.Charts, ch)
		}
	}
	return c
}

// versionMark is where a page's version goes once it is known.
const versionMark = "version-of-this-page"

// stamp puts the version of a page into it.
func stamp(page []byte) []byte {
	return bytes.Replace(page, []byte(versionMark), []byte(tagOf(page)), 1)
}

func tagOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// renditionOf renders a page as a reader gets it, with answers that know of a
// generation.
func (d *Dashboard) renditionOf(ctx context.Context, target string, generation uint64) (*rendition, error) {
	ctx = context.WithValue(ctx, newerThan{}, generation)
	body, err := d.ask(ctx, d.pages, target)
	if err != nil {
		return nil, err
	}
	r := &rendition{generation: generation, at: d.cfg.Now().UTC()}
	if err := r.read(body); err != nil {
		return nil, fmt.Errorf("reading the page's parts: %w", err)
	}
	for i, c := range r.charts {
		answer, err := d.ask(ctx, d.data, c.Data["chart"])
		if err != nil {
			return nil, err
		}
		r.charts[i].tag = tagOf(append(answer, c.tag...))
	}
	return r, nil
}

// read finds the parts of a page of ours.
func (r *rendition) read(page []byte) error {
	z := html.NewTokenizer(bytes.NewReader(page))
	var open, name string // the part that is being read, and its element
	depth, from, at := 0, 0, 0
	for {
		kind := z.Next()
		begin := at
		at += len(z.Raw())
		if kind == html.ErrorToken {
			if err := z.Err(); err != io.EOF {
				return err
			}
			break
		}
		if kind != html.StartTagToken && kind != html.EndTagToken {
			continue
		}
		t := z.Token()
		switch {
		case open != "" && t.Data == name && kind == html.StartTagToken:
			depth++
		case open != "" && t.Data == name:
			if depth--; depth == 0 {
				s := string(page[from:begin])
				r.parts = append(r.parts, livePart{ID: open, HTML: s, tag: tagOf([]byte(s))})
				open = ""
			}
		case kind == html.StartTagToken:
			attrs := map[string]string{}
			for _, a := range t.Attr {
				attrs[a.Key] = a.Val
			}
			if v := attrs["data-version"]; v != "" && r.version == "" {
				r.version = v
			}
			if attrs["data-chart"] != "" && t.Data == "figure" {
				r.charts = append(r.charts, chartOf(attrs))
			}
			if _, ok := attrs["data-live"]; ok && open == "" && attrs["id"] != "" {
				open, name, depth, from = attrs["id"], t.Data, 1, at
			}
		}
	}
	if r.version == "" {
		return &fault{http.StatusBadRequest, "a parameter is not understood", "This page does not change by itself."}
	}
	return nil
}

func chartOf(attrs map[string]string) liveChart {
	c := liveChart{ID: attrs["id"], Data: map[string]string{}}
	for k, v := range attrs {
		if name, ok := strings.CutPrefix(k, "data-"); ok {
			c.Data[name] = v
		}
	}
	c.tag = fmt.Sprint(c.Data) // in the order of their names
	return c
}
