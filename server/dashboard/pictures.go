package dashboard

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/render"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Pictures are what pages without scripts have in place of charts, what other
// pages embed, and what readers download: the same, drawn by the pages' own code
// in package render, from the same answers.

const (
	// A picture is kept by what it is made of, so that it can't be out of date.
	pictureTTL = 10 * time.Minute
	// maxPictures bounds the memory of those kept: each is some 10 to 60 KB.
	maxPictures = 512
	// pictureTimeout is for waiting for others' pictures, and the picture.
	pictureTimeout = 25 * time.Second
)

// pictures are what draws them, and those that were drawn.
type pictures struct {
	renderer *render.Renderer
	drawn    cache[[]byte]
}

func newPictures(now func() time.Time) pictures {
	return pictures{render.New(render.Config{}), cache[[]byte]{ttl: pictureTTL, max: maxPictures, now: now}}
}

// pictureParams are a picture's beside its page's: colours, pixels, and whether
// it has its title.
var pictureParams = []string{"theme", "width", "height", "frame"}

// A look is how a picture is to be drawn.
type look struct {
	theme         string
	width, height int
	bare          bool // just the chart, on no background
}

// look reads a picture's own parameters, and gives those that are left.
func parseLook(q url.Values) (look, url.Values, error) {
	l := look{theme: render.Light, width: 960, height: 540}
	for _, p := range pictureParams {
		if len(q[p]) > 1 {
			return l, nil, badParameter("%q is given %d times; once is enough.", p, len(q[p]))
		}
	}
	if t := q.Get("theme"); q.Has("theme") {
		if t != render.Light && t != render.Dark {
			return l, nil, badParameter("theme is %.40q.%s There are: %s, %s.", t, guess(t, []string{render.Light, render.Dark}), render.Light, render.Dark)
		}
		l.theme = t
	}
	for name, n := range map[string]*int{"width": &l.width, "height": &l.height} {
		if !q.Has(name) {
			continue
		}
		v, err := strconv.Atoi(q.Get(name))
		if err != nil || v < 240 || v > 2000 {
			return l, nil, badParameter("%s is %.40q: write a number of pixels between 240 and 2000.", name, q.Get(name))
		}
		*n = v
	}
	switch f := q.Get("frame"); {
	case f == "none":
		l.bare = true
	case q.Has("frame"):
		return l, nil, badParameter("frame is %.40q. Did you mean \"none\"?", f)
	}
	return l, without(q, pictureParams...), nil
}

func (l look) query(q url.Values) string {
	v := without(q, pictureParams...)
	v.Set("theme", l.theme)
	v.Set("width", strconv.Itoa(l.width))
	v.Set("height", strconv.Itoa(l.height))
	if l.bare {
		v.Set("frame", "none")
	}
	return v.Encode()
}

// chartPicture answers with c's picture.
func (d *Dashboard) chartPicture(w http.ResponseWriter, r *http.Request, c chart) error {
	l, r, err := lookOf(r)
	if err != nil {
		return err
	}
	s, at, err := d.pageSpan(r)
	if err != nil {
		return err
	}
	how, err := d.public(r.Context(), at)
	if err != nil {
		return err
	}
	f, err := d.figure(r.Context(), c, how)
	if err != nil {
		return err
	}
	svg, err := d.picture(r.Context(), f, s, at, l)
	if err != nil {
		return err
	}
	h := w.Header()
	// An SVG can be opened by itself. It has no script; this sees to that nothing
	// else than drawing comes of one.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Access-Control-Allow-Origin", "*")
	send(w, r, "image/svg+xml", svg, "public, max-age=30")
	return nil
}

// lookOf takes a picture's own parameters out of a request.
func lookOf(r *http.Request) (look, *http.Request, error) {
	q, err := query(r)
	if err != nil {
		return look{}, nil, err
	}
	l, q, err := parseLook(q)
	if err != nil {
		return look{}, nil, err
	}
	r = r.Clone(r.Context())
	r.URL.RawQuery = q.Encode()
	return l, r, nil
}

// picture draws f, or gives what was drawn of the same.
func (d *Dashboard) picture(ctx context.Context, f *figure, s span, at url.Values, l look) ([]byte, error) {
	job, err := d.job(ctx, f, s, at, l)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	svg, err := d.drawn.get(ctx, string(sum[:]), pictureTimeout, func(ctx context.Context) ([]byte, error) {
		return d.renderer.SVG(ctx, job)
	})
	switch {
	case errors.Is(err, render.ErrBusy):
		err = &fault{http.StatusServiceUnavailable, "too many pictures are asked for", "Try again in a minute."}
	case errors.Is(err, render.ErrSlow):
		d.cfg.Logger.Warn("a picture took too long", "chart", f.ID, "err", err)
		err = &fault{http.StatusServiceUnavailable, "the picture took too long", "Choose a shorter range or a coarser grain, or try again in a minute."}
	}
	return svg, err
}

// job is what package render draws f from.
func (d *Dashboard) job(ctx context.Context, f *figure, s span, at url.Values, l look) (render.Job, error) {
	sp := f.spec()
	var ans any = f.Answer
	switch {
	case f.Form == likely:
		u, err := url.Parse(f.Href)
		if err != nil {
			return render.Job{}, err
		}
		if ans, err = d.interceptionIn(ctx, u.Query()); err != nil {
			return render.Job{}, err
		}
	case f.overTime() || f.Form == timeline:
		notes, err := d.annotationsIn(ctx, s)
		if err != nil {
			return render.Job{}, err
		}
		sp.Annotations, sp.Before = notes.Annotations, f.before
	}
	if f.base != nil && f.Form != rank {
		sp.Wholes = map[string]uint64{}
		for _, r := range f.base.Rows {
			sp.Wholes[seriesKey(f.base.By, r.Group)] += r.Count
		}
	}
	j := render.Job{Kind: string(f.Form), Theme: l.theme, Width: l.width, Height: l.height, Reason: f.Reason}
	if !l.bare {
		j.Frame = &render.Frame{Title: f.Title, Note: d.about(f, s, at), Source: d.source(f)}
	}
	var err error
	if j.Spec, err = json.Marshal(sp); err != nil {
		return j, err
	}
	j.Answer, err = json.Marshal(ans)
	return j, err
}

// about says what a picture is of.
func (d *Dashboard) about(f *figure, s span, at url.Values) string {
	parts := []string{capital(rangeTitle(s))}
	if s.name != "" {
		parts[0] += " to " + moment(f.Answer.To, s.grain) + " UTC"
	}
	if fl, err := parseFilter(at.Get("filter")); err == nil && fl.on() {
		if f.Unfiltered == "" {
			parts = append(parts, capital(fl.facet.String())+" "+fl.name())
		} else {
			parts = append(parts, f.Unfiltered)
		}
	}
	if f.before != nil && f.overTime() {
		parts = append(parts, "dashed: the "+rangeShort(s)+" before")
	}
	return strings.Join(parts, " · ")
}

// source says where a picture's numbers are from.
func (d *Dashboard) source(f *figure) string {
	parts := []string{d.cfg.Name}
	if d.cfg.Simulated {
		parts = append(parts, "simulated, not real numbers")
	}
	if f.Behind != "" {
		parts = append(parts, strings.ToLower(f.Badge)+" "+f.Behind)
	}
	return strings.Join(parts, " · ")
}

// A still is a chart's picture for a page without scripts, in the sizes and
// colours that the page may have.
type still struct {
	Light, Dark, SmallLight, SmallDark string
	Width, Height                      int
	Alt                                string
}

// setPictures gives f the addresses of its pictures.
func (f *figure) setPictures(at url.Values) {
	f.SVG, f.at = "/chart/"+f.ID+".svg?"+at.Encode(), at
}

// Still is f's picture in a page, nil where there is none.
func (f *figure) Still() *still {
	if f.at == nil || f.Empty || !f.Canvas() {
		return nil
	}
	wide := look{width: 640, height: 300, bare: true}
	if f.Wide {
		wide.width, wide.height = 1200, 340
	}
	small := look{width: 340, height: 300, bare: true}
	as := func(l look, theme string) string {
		l.theme = theme
		return "/chart/" + f.ID + ".svg?" + l.query(f.at)
	}
	return &still{
		Light: as(wide, render.Light), Dark: as(wide, render.Dark), SmallLight: as(small, render.Light), SmallDark: as(small, render.Dark),
		Width: wide.width, Height: wide.height, Alt: f.Title + ": " + f.gist(),
	}
}

// An embedBody fills embed.html.
type embedBody struct {
	Figure  *figure
	Page    string // the chart's own
	Picture string // for what knows no media
	Sources []pictureSource
	Width   int
	Height  int
	Alt     string
}

// A pictureSource is a picture and when to take it: the first that fits is taken.
type pictureSource struct{ Media, Src string }

// embedSizes are the pictures of embedded charts, by how wide the frame is at
// most; 0 is any.
var embedSizes = []struct{ most, width, height int }{{520, 440, 420}, {860, 720, 460}, {0, 1120, 560}}

// embedPolicy lets other sites' pages frame an embedded chart, which has no
// script and no form.
const embedPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors *"

// embed answers with a page that is one chart, for other sites to frame. It
// follows the reader's colours, unless it is asked for a theme.
func (d *Dashboard) embed(w http.ResponseWriter, r *http.Request) error {
	c, ok := chartByID(r.PathValue("id"))
	if !ok {
		return d.missing(w, r)
	}
	all, err := query(r)
	if err != nil {
		return err
	}
	l, r, err := lookOf(r)
	if err != nil {
		return err
	}
	if all.Has("width") || all.Has("height") || l.bare {
		return badParameter("an embedded chart is as wide as its frame; of a picture's parameters it takes theme.")
	}
	_, at, err := d.pageSpan(r)
	if err != nil {
		return err
	}
	how, err := d.public(r.Context(), at)
	if err != nil {
		return err
	}
	body := embedBody{Page: "/chart/" + c.ID + "?" + at.Encode()}
	if body.Figure, err = d.figure(r.Context(), c, how); err != nil {
		return err
	}
	body.Alt = c.Title + ": " + body.Figure.gist()
	src := func(theme string) string { l.theme = theme; return "/chart/" + c.ID + ".svg?" + l.query(at) }
	given := l.theme
	for _, size := range embedSizes {
		l.width, l.height = size.width, size.height
		width := ""
		if size.most > 0 {
			width = "(max-width: " + strconv.Itoa(size.most) + "px)"
		}
		if !all.Has("theme") {
			dark := "(prefers-color-scheme: dark)"
			if width != "" {
				dark = width + " and " + dark
			}
			body.Sources = append(body.Sources, pictureSource{dark, src(render.Dark)})
		}
		body.Picture, body.Width, body.Height = src(given), size.width, size.height
		if width != "" {
			body.Sources = append(body.Sources, pictureSource{width, body.Picture})
		}
	}
	h := w.Header()
	h.Set("Content-Security-Policy", embedPolicy)
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Del("Cross-Origin-Opener-Policy")
	return d.render(w, r, "embed.html", page{Title: c.Title, Path: r.URL.Path, Body: body}, http.StatusOK)
}

// gist says what a picture shows to who can't see it: what is newest or largest.
func (f *figure) gist() string {
	if f.Empty {
		return f.Reason
	}
	if len(f.Rows) == 0 || len(f.Rows[0].Cells) == 0 {
		return "its numbers are in the table"
	}
	var parts []string
	for i, c := range f.Rows[0].Cells[:min(len(f.Rows[0].Cells), 6)] {
		if i+1 < len(f.Head) {
			parts = append(parts, f.Head[i+1]+" "+c)
		}
	}
	return f.Rows[0].Name + ": " + strings.Join(parts, ", ")
}

// valueNames are f's names of series, and, where an answer's words each have
// their own place in a chart, of single values.
func (f *figure) valueNames() map[string]string {
	switch f.Form {
	case split, matrix, heat, sankey:
	default:
		return f.names
	}
	names := maps.Clone(f.names)
	facet, _ := wire.ParseFacet(f.Answer.Facet)
	for _, r := range f.Answer.Rows {
		for word, value := range r.Group {
			if name := display(word, value, facet); name != value {
				names[value] = name
			}
		}
	}
	return names
}
