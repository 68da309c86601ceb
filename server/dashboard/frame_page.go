package dashboard

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A chartBody fills chart.html: one chart with all that belongs to it.
type chartBody struct {
	Range   string
	Figure  *figure
	Topic   string // the page that it is on
	Notice  string // what readers have to know first
	Metric  string
	What    string // the metric's definition
	Notes   []noteLine
	More    int    // notes left out
	NotesIn string // the same in the API
	// Links that reproduce it: one that moves with time, and one that doesn't.
	Moving, Fixed string
	Embed, Image  string // code
	Ask, Curl     string // on the command line
	SQL           string
	Published     bool   // there are files of it
	Missing       string // why there are none
	RunSQL        string // the page that runs it
}

// A noteLine is an annotation as a row of a table.
type noteLine struct{ When, Kind, Title, Href string }

const dayGrain = store.Day

// chartPage answers /chart/{id} with a chart's own page, and /chart/{id}.svg
// with its picture.
func (d *Dashboard) chartPage(w http.ResponseWriter, r *http.Request) error {
	id, picture := strings.CutSuffix(r.PathValue("id"), ".svg")
	c, ok := chartByID(id)
	if !ok {
		return d.missing(w, r)
	}
	if picture {
		return d.chartPicture(w, r, c)
	}
	s, at, err := d.pageSpan(r)
	if err != nil {
		return err
	}
	c.Wide, c.Long = true, true
	body := chartBody{Range: rangeTitle(s), Metric: wire.MetricByID(c.Metric).Name, What: wire.MetricByID(c.Metric).Doc}
	body.Topic, body.Notice = topicOf(c, at)
	var frame *frameView
	var notes *Annotations
	err = each(r.Context(), 3, func(ctx context.Context, i int) (err error) {
		switch i {
		case 0:
			var how asking
			if how, err = d.public(ctx, at); err == nil {
				body.Figure, err = d.figure(ctx, c, how)
			}
		case 1:
			notes, err = d.annotations(ctx, s)
		case 2:
			frame, err = d.frameView(ctx, r.URL.Path, at)
		}
		return err
	})
	if err != nil {
		return err
	}
	body.notes(notes, s)
	body.NotesIn = "/api/v1/annotations?" + without(at, frameParams...).Encode()
	if err := d.useIt(&body, c, s, at, originOf(r)); err != nil {
		return err
	}
	return d.render(w, r, "chart.html", page{
		Title: c.Title, Path: r.URL.Path, Below: c.page(), Live: true, Script: true, Ranges: switchTo(r.URL.Path, s, frameOf(at)), Frame: frame, Body: body,
	}, http.StatusOK)
}

func chartByID(id string) (chart, bool) {
	for _, c := range charts {
		if c.ID == id {
			return c, true
		}
	}
	return chart{}, false
}

// topicOf is the page that c is on.
func topicOf(c chart, at url.Values) (href, notice string) {
	for _, t := range topics {
		if t.Path == c.page() {
			return t.Path + "?" + at.Encode() + "#chart-" + c.ID, t.Notice
		}
	}
	return "/?" + at.Encode(), ""
}

func (b *chartBody) notes(as *Annotations, s span) {
	b.More = as.More
	for _, a := range as.Annotations {
		l := noteLine{When: moment(a.Time, s.grain), Kind: capital(a.Kind), Title: a.Title, Href: a.Href}
		if a.End != nil {
			l.When += " – " + moment(*a.End, s.grain)
		}
		b.Notes = append(b.Notes, l)
	}
}

// useIt fills in how to take the chart elsewhere.
func (d *Dashboard) useIt(b *chartBody, c chart, s span, at url.Values, origin string) error {
	id, q, fixed := c.ID, at.Encode(), s.values(at).Encode()
	b.Moving, b.Fixed = origin+"/chart/"+id+"?"+q, origin+"/chart/"+id+"?"+fixed
	b.Embed = fmt.Sprintf(`<iframe src="%s" title="%s" width="720" height="480" loading="lazy"></iframe>`, htmlAttr(origin+"/embed/"+id+"?"+q), htmlAttr(c.Title))
	b.Image = fmt.Sprintf(`<img src="%s" alt="%s">`, htmlAttr(origin+"/chart/"+id+".svg?"+q), htmlAttr(c.Title))
	b.Curl = "curl '" + origin + b.Figure.Href + "'"
	u, err := url.Parse(b.Figure.Href)
	if err != nil {
		return err
	}
	ask := u.Query()
	if c.Derived != "" {
		return nil // no one question
	}
	if c.Form == likely {
		if ask, err = interceptionQuery(ask); err != nil {
			return err
		}
	}
	a, err := d.parseQuestion(ask, c.Quantiles)
	if err != nil {
		return err
	}
	files := publishedFiles(a.metric, published(a), a.from, a.to)
	b.SQL = a.sql(filesSQL(origin+"/dataset/", files))
	if d.cfg.DataSet == nil {
		b.Missing = "This service does not publish its data set."
		return nil
	}
	files = slices.DeleteFunc(files, func(p string) bool {
		_, err := fs.Stat(d.cfg.DataSet, p)
		return err != nil
	})
	if b.Published = len(files) > 0; b.Published {
		b.SQL = a.sql(filesSQL(origin+"/dataset/", files))
		b.RunSQL = sqlLink(a.sql(published(a).String() + "." + identifier(a.metric.Name)))
	} else {
		b.Missing = "Of this metric nothing is published of this time yet."
	}
	return nil
}

// htmlAttr is s inside the quotes of an attribute.
var htmlAttr = strings.NewReplacer("&", "&amp;", `"`, "&quot;", "<", "&lt;", ">", "&gt;").Replace

// hostPattern is what a Host may look like that is written into links.
var hostPattern = regexp.MustCompile(`^[A-Za-z0-9.\[\]:_-]{1,255}$`)

// originOf is what the reader called this server, for links to take elsewhere;
// "" if that makes no sense.
func originOf(r *http.Request) string {
	if !hostPattern.MatchString(r.Host) {
		return ""
	}
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// A code is a text to be copied.
type code struct{ ID, Title, Text string }
