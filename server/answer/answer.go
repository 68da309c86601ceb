// Package answer writes the JSON documents that the service's APIs answer with.
package answer

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/caddy-evergreen/evergreen/wire"
)

// JSON answers with v as a document of a media type, and a line's end after it.
// v is of plain structs, maps and lists.
func JSON(w http.ResponseWriter, mediaType string, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // of plain values: can't be
		panic(err)
	}
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(b)+1))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // an error means that nobody is listening
}

// Problem answers that what was asked for is not done, and why. The answer is
// not to be kept.
func Problem(w http.ResponseWriter, p wire.Problem) {
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Del("ETag")
	w.Header().Set("Cache-Control", "no-store")
	JSON(w, wire.TypeProblem, p.Status, p)
}
