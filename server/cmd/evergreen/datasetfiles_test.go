package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// TestDatasetFiles: a file is asked for again in vain until it is another one,
// and by ranges of the same one.
func TestDatasetFiles(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "manifest.json")
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := datasetFiles(folder)
	get := func(path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	write(`{"layout": 1}`)
	first := get("/dataset/manifest.json")
	tag := first.Header().Get("ETag")
	if first.Code != http.StatusOK || tag == "" || first.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Fatalf("%d %v", first.Code, first.Header())
	}
	if again := get("/dataset/manifest.json", "If-None-Match", tag); again.Code != http.StatusNotModified {
		t.Errorf("the same file again: %d", again.Code)
	}
	if part := get("/dataset/manifest.json", "Range", "bytes=0-0", "If-Range", tag); part.Code != http.StatusPartialContent || part.Body.String() != "{" {
		t.Errorf("a range: %d %s", part.Code, part.Body)
	}
	write(`{"layout": 12}`)
	if other := get("/dataset/manifest.json", "If-None-Match", tag); other.Code != http.StatusOK || other.Header().Get("ETag") == tag {
		t.Errorf("another file: %d", other.Code)
	}
	for _, path := range []string{"/dataset/", "/dataset/none", "/dataset/../serve.go", "/dataset/%00"} {
		if w := get(path); w.Code == http.StatusOK || w.Header().Get("ETag") != "" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
}
