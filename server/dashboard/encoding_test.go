package dashboard

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
)

func TestPreferred(t *testing.T) {
	for accept, want := range map[string]string{
		"":                           "",
		"gzip":                       "gzip",
		"gzip, deflate, br, zstd":    "br",
		"br;q=0, gzip;q=0.5":         "gzip",
		"BR ; q=0.1":                 "br",
		"*":                          "br",
		"*;q=0":                      "",
		"br;q=0, *":                  "gzip",
		"br;q=x":                     "",
		"identity;q=1, gzip;q=0.000": "",
	} {
		if got := preferred(accept, "br", "gzip"); got != want {
			t.Errorf("%q: %q, want %q", accept, got, want)
		}
	}
}

// TestPacked: whatever encoding is taken, the same comes out.
func TestPacked(t *testing.T) {
	text := strings.Repeat("Caddy serves. ", 1000)
	f := pack([]byte(text))
	tags := map[string]bool{}
	for encoding, open := range map[string]func(io.Reader) (io.Reader, error){
		"":     func(r io.Reader) (io.Reader, error) { return r, nil },
		"br":   func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
		"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	} {
		r := httptest.NewRequest("GET", "/assets/x", nil)
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		f.send(w, r, "text/plain", "no-cache")
		if got := w.Header().Get("Content-Encoding"); got != encoding {
			t.Errorf("asked for %q: %q", encoding, got)
		}
		if encoding != "" && w.Body.Len() > len(text)/10 {
			t.Errorf("%s: %d bytes of %d", encoding, w.Body.Len(), len(text))
		}
		body, err := open(bytes.NewReader(w.Body.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(body); err != nil || string(b) != text {
			t.Errorf("%s: %v, %d bytes", encoding, err, len(b))
		}
		tag := w.Header().Get("ETag")
		if tags[tag] {
			t.Errorf("two encodings have the tag %s", tag)
		}
		tags[tag] = true
		r.Header.Set("If-None-Match", `"other", W/`+tag)
		w = httptest.NewRecorder()
		f.send(w, r, "text/plain", "no-cache")
		if w.Code != 304 || w.Body.Len() > 0 {
			t.Errorf("%s again: %d with %d bytes", encoding, w.Code, w.Body.Len())
		}
	}
}

// TestWeight: what every page loads first is small.
func TestWeight(t *testing.T) {
	a, err := loadAssets("")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, name := range []string{"app.js", "style.css", "icon.svg"} {
		sum += len(a.files[name].gzip())
	}
	if sum > 40<<10 {
		t.Errorf("a page's script and style are %d bytes compressed: 40 KB is what leaves room for its text within 150 KB", sum)
	}
}
