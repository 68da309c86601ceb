package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-evergreen/evergreen/wire"
)

// TestOpenAPIIsServed: whatever the API's description says is answered by a
// service that has all roles, and not by the page for what does not exist.
func TestOpenAPIIsServed(t *testing.T) {
	config := defaultConfig()
	config.Data = filepath.Join(t.TempDir(), "data")
	config.Roles = []string{roleCollect, roleDashboard, roleUpdates}
	config.Dataset.Publish = true
	if err := config.complete(); err != nil {
		t.Fatal(err)
	}
	s, err := newService(context.Background(), config, wire.DefaultTiming, slog.New(slog.NewTextHandler(io.Discard, nil)), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mux, ok := s.handler.(*http.ServeMux)
	if !ok {
		t.Fatalf("the handler is a %T", s.handler)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/openapi.json", nil))
	var doc struct {
		Paths map[string]map[string]struct {
			Tags []string `json:"tags"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || len(doc.Paths) == 0 {
		t.Fatalf("%v, %d paths", err, len(doc.Paths))
	}
	for path, operations := range doc.Paths {
		for method, op := range operations {
			if op.Tags[0] == "builds" || strings.HasPrefix(path, wire.PathTUF) {
				continue // these need a toolchain, and keys: their packages test them
			}
			url := strings.NewReplacer("{id}", "x", "{path}", "x").Replace(path)
			_, pattern := mux.Handler(httptest.NewRequest(strings.ToUpper(method), url, nil))
			if pattern == "" || pattern == "/" || pattern == "/api/" {
				t.Errorf("%s %s is described and not served (%q)", method, path, pattern)
			}
		}
	}
}
