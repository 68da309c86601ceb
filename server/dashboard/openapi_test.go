package dashboard_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/wire"
)

type object = map[string]any

func description(t *testing.T) object {
	t.Helper()
	b, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc object
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// resolve follows a $ref inside doc.
func resolve(t *testing.T, doc object, v any) object {
	t.Helper()
	o, ok := v.(object)
	if !ok {
		t.Fatalf("%v is no object", v)
	}
	ref, ok := o["$ref"].(string)
	if !ok {
		return o
	}
	at := any(doc)
	for p := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		m, ok := at.(object)
		if !ok || m[p] == nil {
			t.Fatalf("%s leads nowhere", ref)
		}
		at = m[p]
	}
	return resolve(t, doc, at)
}

// TestOpenAPI: the description lists the API's routes, exactly, is sound in
// itself, and real answers are as it says.
func TestOpenAPI(t *testing.T) {
	doc := description(t)
	if doc["openapi"] != "3.1.0" {
		t.Errorf("openapi is %v", doc["openapi"])
	}
	paths := doc["paths"].(object)
	// What others of the service serve, server/cmd/evergreen looks for.
	ours := []string{"public", "instance", "live"}
	var api, described []string
	for _, p := range dashboard.Paths() {
		if strings.HasPrefix(p, "/api/") || p == "/live" {
			api = append(api, p)
		}
	}
	slices.Sort(api)
	type operation struct {
		path string
		object
	}
	var operations []operation
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		for _, method := range slices.Sorted(maps.Keys(paths[path].(object))) {
			op := operation{path, paths[path].(object)[method].(object)}
			if operations = append(operations, op); slices.Contains(ours, op.object["tags"].([]any)[0].(string)) {
				described = append(described, path)
			}
		}
	}
	if diff := cmp.Diff(api, described); diff != "" {
		t.Errorf("routes and description differ: %s", diff)
	}

	ids := map[string]bool{}
	for _, op := range operations {
		path, op := op.path, op.object
		id := op["operationId"].(string)
		if ids[id] || op["summary"] == "" || op["responses"].(object)["200"] == nil && op["responses"].(object)["201"] == nil && op["responses"].(object)["204"] == nil {
			t.Errorf("%s: its id is used twice, or it lacks a summary or an answer", path)
		}
		ids[id] = true
		inPath := regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1)
		for _, p := range op["parameters"].([]any) {
			p := resolve(t, doc, p)
			if p["name"] == "" || p["description"] == "" || p["schema"] == nil {
				t.Errorf("%s: parameter %v is incomplete", path, p)
			}
			if p["in"] == "path" {
				inPath = slices.DeleteFunc(inPath, func(m []string) bool { return m[1] == p["name"] })
			}
		}
		if len(inPath) > 0 {
			t.Errorf("%s: %v isn't described", path, inPath)
		}
		for status, r := range op["responses"].(object) {
			if r := resolve(t, doc, r); r["description"] == "" {
				t.Errorf("%s: %s has no description", path, status)
			}
		}
	}
	var refs func(v any)
	refs = func(v any) {
		switch v := v.(type) {
		case object:
			if v["$ref"] != nil {
				resolve(t, doc, v)
			}
			for _, e := range v {
				refs(e)
			}
		case []any:
			for _, e := range v {
				refs(e)
			}
		}
	}
	refs(doc)

	s, l := openStore(t), openLog(t)
	plausible(t, s, now, 3*time.Hour)
	appendReport(t, l, report(1, now.Add(-time.Hour).Truncate(5*time.Minute), 6))
	h := serve(t, dashboard.Config{Store: s, Reports: l, Campaigns: listed{campaign}})
	link := wire.Link(ownKey, now.Add(time.Hour))
	for path, url := range map[string]string{
		"/api/v1/metrics":                 "/api/v1/metrics",
		"/api/v1/query":                   "/api/v1/query?metric=http.requests&by=time,protocol&limit=2",
		"/api/v1/quantiles":               "/api/v1/quantiles?metric=http.duration&by=protocol",
		"/api/v1/instances":               "/api/v1/instances",
		"/api/v1/new":                     "/api/v1/new?range=1h",
		"/api/v1/annotations":             "/api/v1/annotations?range=24h",
		"/api/v1/campaigns":               "/api/v1/campaigns?range=24h",
		"/api/v1/interception":            "/api/v1/interception?by=client_family",
		"/api/v1/instance/{id}":           apiOf(link, "", "range=24h"),
		"/api/v1/instance/{id}/query":     apiOf(link, "/query", "metric=http.requests&by=protocol"),
		"/api/v1/instance/{id}/quantiles": apiOf(link, "/quantiles", "metric=http.duration"),
		"/api/v1/openapi.json":            "/api/v1/openapi.json",
		"/api/v1/search":                  "/api/v1/search?q=germany",
	} {
		w := get(t, h, url)
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", url, w.Code)
			continue
		}
		var v any
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		op := paths[path].(object)["get"].(object)
		r := resolve(t, doc, op["responses"].(object)["200"])
		conform(t, doc, path, v, r["content"].(object)["application/json"].(object)["schema"])
	}
	problem := get(t, h, "/api/v1/query")
	var v any
	if err := json.Unmarshal(problem.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	conform(t, doc, "problem", v, object{"$ref": "#/components/schemas/Problem"})
}

// conform checks v against the keywords of JSON Schema that the description
// uses, and fails for others.
func conform(t *testing.T, doc object, at string, v, schema any) {
	t.Helper()
	s := resolve(t, doc, schema)
	for k := range s {
		if !slices.Contains([]string{"type", "format", "description", "enum", "items", "properties", "required", "additionalProperties", "minimum"}, k) {
			t.Errorf("%s: the test doesn't know %s", at, k)
		}
	}
	types, ok := s["type"].([]any)
	if !ok {
		types = []any{s["type"]}
	}
	got := ""
	switch v := v.(type) {
	case nil:
		got = "null"
	case string:
		got = "string"
		if s["format"] == "date-time" {
			if _, err := time.Parse(time.RFC3339, v); err != nil {
				t.Errorf("%s: %v", at, err)
			}
		}
		if e, ok := s["enum"].([]any); ok && !slices.Contains(e, any(v)) {
			t.Errorf("%s: %q is none of %v", at, v, e)
		}
	case bool:
		got = "boolean"
	case float64:
		got = "number"
		if slices.Contains(types, any("integer")) && v == float64(int64(v)) {
			got = "integer"
		}
	case []any:
		got = "array"
		for i, e := range v {
			conform(t, doc, fmt.Sprintf("%s[%d]", at, i), e, s["items"])
		}
	case object:
		got = "object"
		props, _ := s["properties"].(object)
		if req, ok := s["required"].([]any); ok {
			for _, r := range req {
				if _, ok := v[r.(string)]; !ok {
					t.Errorf("%s lacks %v", at, r)
				}
			}
		}
		for k, e := range v {
			if p, ok := props[k]; ok {
				conform(t, doc, at+"."+k, e, p)
			} else if more, ok := s["additionalProperties"].(object); ok {
				conform(t, doc, at+"."+k, e, more)
			} else if s["additionalProperties"] == false {
				t.Errorf("%s has %s, which isn't described", at, k)
			}
		}
	}
	if !slices.Contains(types, any(got)) {
		t.Errorf("%s is a %s, not a %v", at, got, types)
	}
}
