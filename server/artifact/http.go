package artifact

import (
	"compress/gzip"
	"io"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// immutable is how long what never changes is kept.
const immutable = "public, max-age=31536000, immutable"

// hashed is the last part of the name of a target's file.
var hashed = regexp.MustCompile(`^[0-9a-f]{64}\.[A-Za-z0-9._-]{1,100}$`)

// Register serves the storage's files below wire.PathTUF, with ranges, as a
// static copy of it would be served.
func (r *Repository) Register(mux *http.ServeMux) {
	mux.Handle("GET "+wire.PathTUF, http.StripPrefix(wire.PathTUF, Files(r.s)))
}

// Files serves a repository's storage.
func Files(s *Storage) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name := strings.TrimPrefix(req.URL.Path, "/")
		_, _, isVersioned := parseVersioned(name)
		isTarget := strings.HasPrefix(name, "targets/") && path.Clean(name) == name && hashed.MatchString(path.Base(name))
		if !isVersioned && !isTarget && name != "timestamp.json" {
			http.NotFound(w, req)
			return
		}
		rd, err := s.bucket.NewReader(req.Context(), name, nil)
		if missing(err) {
			http.NotFound(w, req)
			return
		}
		if err != nil {
			http.Error(w, "the file can't be read", http.StatusBadGateway)
			return
		}
		defer rd.Close()
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", immutable)
		modified := rd.ModTime()
		switch {
		case isTarget:
			h.Set("ETag", `"`+path.Base(name)[:64]+`"`)
			h.Set("Content-Type", "application/octet-stream")
			h.Set("Content-Disposition", "attachment; filename="+path.Base(name)[65:])
		case isVersioned:
			h.Set("Content-Type", "application/json")
		default:
			h.Set("Content-Type", "application/json")
			// Whoever is between may keep it, and asks each time.
			h.Set("Cache-Control", "public, no-cache")
			modified = time.Time{} // seconds are too coarse for it
		}
		if !isTarget && req.Header.Get("Range") == "" && strings.Contains(req.Header.Get("Accept-Encoding"), "gzip") {
			h.Add("Vary", "Accept-Encoding")
			h.Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			if _, err := io.Copy(z, rd); err == nil {
				z.Close()
			}
			return
		}
		if !isTarget {
			h.Add("Vary", "Accept-Encoding")
		}
		http.ServeContent(w, req, "", modified, rd)
	})
}
