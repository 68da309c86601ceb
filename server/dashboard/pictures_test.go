package dashboard_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
)

// textsOf is all that an SVG's texts say. It fails on what is no XML.
func textsOf(t *testing.T, svg []byte) string {
	t.Helper()
	var b strings.Builder
	in := false
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		tok, err := d.Token()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatalf("the picture is no XML: %v\n%.2000s", err, svg)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			in = tok.Name.Local == "text"
		case xml.EndElement:
			in = false
		case xml.CharData:
			if in {
				b.Write(tok)
				b.WriteByte(' ')
			}
		}
	}
}

// TestPictures: a chart of each form has a picture that tells what it is, in
// every size and colour, and the same one when it is asked for again.
func TestPictures(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 2*time.Hour)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t), Name: "Evergreen <test>"})
	forms := dashboard.OfForms()
	for _, id := range forms {
		path := "/chart/" + id + ".svg?range=1h&compare=before"
		w := get(t, h, path)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "image/svg+xml" {
			t.Errorf("%s: %d %s: %.300s", path, w.Code, w.Header().Get("Content-Type"), w.Body)
			continue
		}
		text := textsOf(t, w.Body.Bytes())
		for _, want := range []string{"Last hour", "Evergreen <test>", "instances"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s says %q, without %q", path, text, want)
			}
		}
		if svg := w.Body.String(); strings.Contains(svg, "NaN") || strings.Contains(svg, "undefined") || strings.Contains(svg, "<script") {
			t.Errorf("%s has what no picture has:\n%.3000s", path, svg)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "script") {
			t.Errorf("%s may do more than draw: %s", path, csp)
		}
		if again := get(t, h, path, "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified {
			t.Errorf("%s again: %d", path, again.Code)
		}
	}
	id := forms["filtered"]
	seen := map[string]string{}
	for _, more := range []string{"", "&theme=dark", "&width=320&height=280", "&frame=none", "&filter=country:DE", "&filter=country:XX"} {
		w := get(t, h, "/chart/"+id+".svg?range=1h"+more)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d", more, w.Code)
		}
		if other, ok := seen[w.Body.String()]; ok {
			t.Errorf("%q and %q are the same picture", more, other)
		}
		seen[w.Body.String()] = more
		text := textsOf(t, w.Body.Bytes())
		if more == "&frame=none" && strings.Contains(text, "Last hour") {
			t.Errorf("a bare picture says %q", text)
		}
		if more == "&filter=country:DE" && !strings.Contains(text, "Germany") {
			t.Errorf("a filtered picture does not tell: %q", text)
		}
		if more == "&filter=country:XX" && !strings.Contains(text, "reported in this range") {
			t.Errorf("an empty picture does not say why: %q", text)
		}
	}
}

func TestPictureParameters(t *testing.T) {
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t)})
	id := dashboard.OfForms()["line"]
	for path, want := range map[string]string{
		"/chart/nothing.svg":                     "does not exist",
		"/embed/nothing":                         "does not exist",
		"/chart/" + id + ".svg?theme=drak":       "Did you mean &#34;dark&#34;?",
		"/chart/" + id + ".svg?width=1e9":        "between 240 and 2000",
		"/chart/" + id + ".svg?height=3":         "between 240 and 2000",
		"/chart/" + id + ".svg?width=300&width=": "is given 2 times",
		"/chart/" + id + ".svg?frame=on":         "Did you mean &#34;none&#34;?",
		"/chart/" + id + ".svg?rage=1h":          "Did you mean &#34;range&#34;?",
		"/embed/" + id + "?width=300":            "as wide as its frame",
		"/embed/" + id + "?colour=red":           "is no parameter here",
	} {
		if w := get(t, h, path); w.Code < 400 || w.Code >= 500 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d, without %q", path, w.Code, want)
		}
	}
}

// TestEmbed: other sites may frame a chart, which loads nothing but pictures and
// the style sheet, and all pictures that it may take are there.
func TestEmbed(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 3*time.Hour)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	id := dashboard.OfForms()["share"]
	for _, more := range []string{"", "&theme=dark"} {
		w := get(t, h, "/embed/"+id+"?range=1h"+more)
		csp := w.Header().Get("Content-Security-Policy")
		if w.Code != http.StatusOK || !strings.Contains(csp, "frame-ancestors *") || strings.Contains(csp, "script") || strings.Contains(w.Body.String(), "<script") {
			t.Fatalf("%d, %s", w.Code, csp)
		}
		doc, err := html.Parse(bytes.NewReader(w.Body.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		var srcs []string
		for _, n := range find(doc, func(n *html.Node) bool { return n.Data == "img" || n.Data == "source" }) {
			srcs = append(srcs, attr(n, "src")+attr(n, "srcset"))
		}
		if want := map[string]int{"": 6, "&theme=dark": 3}[more]; len(srcs) != want {
			t.Errorf("%d pictures, want %d: %q", len(srcs), want, srcs)
		}
		for _, src := range srcs {
			if p := get(t, h, src); p.Code != http.StatusOK || p.Header().Get("Content-Type") != "image/svg+xml" {
				t.Errorf("%s: %d", src, p.Code)
			}
			if more != "" && !strings.Contains(src, "theme=dark") {
				t.Errorf("asked for dark, it has %s", src)
			}
		}
		if rows := find(doc, func(n *html.Node) bool { return n.Data == "tr" }); len(rows) < 3 {
			t.Errorf("its table has %d rows", len(rows))
		}
	}
	if csp := get(t, h, "/").Header().Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("a page may be framed: %s", csp)
	}
}

// TestStills: without scripts, each chart of a page has a picture, which is there.
func TestStills(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 3*time.Hour)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	body := get(t, h, "/?range=1h").Body.String()
	figures := strings.Count(body, " data-chart=")
	stills := regexp.MustCompile(`<noscript><picture>.*?<img class="still" src="([^"]+)" width="(\d+)" height="(\d+)" alt="[^"]{20,}"`).FindAllStringSubmatch(body, -1)
	if len(stills) == 0 || len(stills) > figures {
		t.Fatalf("%d pictures of %d charts", len(stills), figures)
	}
	for _, m := range stills[:2] {
		src := html.UnescapeString(m[1])
		w := get(t, h, src)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `width="`+m[2]+`" height="`+m[3]+`"`) {
			t.Errorf("%s: %d, or not of %s × %s", src, w.Code, m[2], m[3])
		}
	}
}
