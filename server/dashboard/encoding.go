package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
)

// A packedFile is an asset with its compressed forms, each made when it is
// first asked for, and then kept: the largest takes brotli a tenth of a second.
type packedFile struct {
	raw, tag string
	brotli   func() []byte
	gzip     func() []byte
}

// version is the part of an asset's address that changes with it.
func (f *packedFile) version() string { return f.tag[:12] }

// brotliLevel gives all but a tenth of what the highest one does, in a
// sixtieth of the time.
const brotliLevel = 6

func pack(b []byte) *packedFile {
	sum := sha256.Sum256(b)
	f := &packedFile{raw: string(b), tag: hex.EncodeToString(sum[:10])}
	f.brotli = sync.OnceValue(func() []byte {
		var out bytes.Buffer
		w := brotli.NewWriterLevel(&out, brotliLevel)
		w.Write(b) // to memory: can't fail
		w.Close()
		return out.Bytes()
	})
	f.gzip = sync.OnceValue(func() []byte {
		var out bytes.Buffer
		w, _ := gzip.NewWriterLevel(&out, gzip.DefaultCompression) // the level is a valid one
		w.Write(b)
		w.Close()
		return out.Bytes()
	})
	return f
}

// send writes f in the best encoding that r takes.
func (f *packedFile) send(w http.ResponseWriter, r *http.Request, mediaType, cacheControl string) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", cacheControl)
	h.Add("Vary", "Accept-Encoding")
	encoding := ""
	if len(f.raw) > 1400 {
		encoding = preferred(r.Header.Get("Accept-Encoding"), "br", "gzip")
	}
	tag := f.tag
	if encoding != "" {
		tag += "-" + encoding
	}
	tag = `"` + tag + `"`
	h.Set("ETag", tag)
	if notModified(r, tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := []byte(f.raw)
	switch encoding {
	case "br":
		body = f.brotli()
	case "gzip":
		body = f.gzip()
	}
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		w.Write(body) // an error means that nobody is listening
	}
}

// notModified reports whether whoever asks has what has the tag already.
func notModified(r *http.Request, tag string) bool {
	for t := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if t = strings.TrimPrefix(strings.TrimSpace(t), "W/"); t == tag || t == "*" {
			return true
		}
	}
	return false
}

// preferred is the first of encodings that an Accept-Encoding takes, "" if it
// takes none.
func preferred(accept string, encodings ...string) string {
	takes := map[string]bool{}
	for part := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		q, found := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q=")
		weight, err := strconv.ParseFloat(q, 64)
		takes[name] = !found || err == nil && weight > 0
	}
	for _, e := range encodings {
		if on, named := takes[e]; on || !named && takes["*"] {
			return e
		}
	}
	return ""
}
