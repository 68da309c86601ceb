package dashboard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestAPIDocs asks what docs/api.md asks: the answers have the fields that it
// shows, of the same types, and its words for enumerations and errors.
func TestAPIDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	s := openStore(t)
	plausible(t, s, now, 25*time.Hour)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	examples := regexp.MustCompile("(?s)```\nGET (\\S+)\n```\n```json\n(.*?)```").FindAllStringSubmatch(string(b), -1)
	if len(examples) < 7 || len(examples) != strings.Count(string(b), "\nGET ") {
		t.Fatalf("%d examples of %d can be read", len(examples), strings.Count(string(b), "\nGET "))
	}
	for _, e := range examples {
		w := get(t, h, e[1])
		var want, got any
		if err := json.Unmarshal([]byte(e[2]), &want); err != nil {
			t.Errorf("%s: the documented answer: %v", e[1], err)
			continue
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Errorf("%s: %v", e[1], err)
			continue
		}
		if status, ok := want.(object)["status"]; w.Code != http.StatusOK && (!ok || status != float64(w.Code)) {
			t.Errorf("%s: %d", e[1], w.Code)
		}
		shown(t, e[1], want, got)
	}

	// The table of parameters has those that there are.
	for _, p := range regexp.MustCompile("(?m)^\\| `(\\w+)`, `(\\w+)` \\||^\\| `(\\w+)` \\| (?:which|what rows|up to|`window|sums|`country|how many)").FindAllStringSubmatch(string(b), -1) {
		for _, name := range p[1:] {
			if name == "" {
				continue
			}
			if w := get(t, h, "/api/v1/query?metric=http.requests&"+name+"="); strings.Contains(w.Body.String(), "is no parameter") {
				t.Errorf("%s: %s", name, w.Body)
			}
		}
	}
	for _, path := range regexp.MustCompile("`(/api/v1/[a-z]+)`").FindAllStringSubmatch(string(b), -1) {
		if paths := description(t)["paths"].(object); paths[path[1]] == nil {
			t.Errorf("%s is not in the API's description", path[1])
		}
	}
}

// exact are the fields whose documented values are the real ones.
var exact = map[string]bool{"metric": true, "kind": true, "unit": true, "facet": true, "by": true, "q": true, "title": true, "status": true, "detail": true, "standard_error": true, "query": true, "name": true, "href": true}

// shown looks for what is documented in what is answered.
func shown(t *testing.T, at string, want, got any) {
	t.Helper()
	switch want := want.(type) {
	case object:
		o, ok := got.(object)
		if !ok {
			t.Errorf("%s is a %T", at, got)
			return
		}
		for k, v := range want {
			g, ok := o[k]
			if !ok {
				t.Errorf("%s has no %s", at, k)
				continue
			}
			if s := fmt.Sprint(v); exact[k] && s != "…" && s != fmt.Sprint(g) {
				t.Errorf("%s: %s is %v, documented is %v", at, k, g, v)
			}
			shown(t, at+"."+k, v, g)
		}
	case []any:
		l, ok := got.([]any)
		if !ok || len(l) == 0 {
			t.Errorf("%s is %v, and not a list with something in it", at, got)
			return
		}
		shown(t, at+"[0]", want[0], l[0])
	default:
		if w, g := fmt.Sprintf("%T", want), fmt.Sprintf("%T", got); w != g {
			t.Errorf("%s is a %s, documented is a %s", at, g, w)
		}
		if s, ok := want.(string); ok {
			if _, err := time.Parse(time.RFC3339, s); err == nil {
				if _, err := time.Parse(time.RFC3339, fmt.Sprint(got)); err != nil {
					t.Errorf("%s: %v", at, err)
				}
			}
		}
	}
}

// FuzzQueries: whatever a URL asks, the answer is one that says what is wrong,
// or one that is right; and never takes what a page may not take.
func FuzzQueries(f *testing.F) {
	s := openStore(f)
	ro := rollup{}
	for i := range 3 {
		ro.count(now.Add(-time.Duration(i)*5*time.Minute).Truncate(5*time.Minute), wire.HTTPRequests, dims(wire.HTTPRequests, "http/2", "200", "site"), 10, 2)
	}
	ro.commit(f, s)
	h := serve(f, dashboard.Config{Store: s, Reports: openLog(f), Privacy: dashboard.Privacy{MinInstances: 1}})
	paths := []string{"/", "/tls", "/search", "/live", "/api/v1/query", "/api/v1/quantiles", "/api/v1/search", "/api/v1/new",
		"/api/v1/instances", "/api/v1/interception", "/api/v1/campaigns", "/api/v1/annotations", "/chart/protocols", "/assets/app.js"}
	for i, q := range []string{
		"", "range=24h", "range=all&grain=window", "from=0&to=99999999999", "from=2026-11-21&grain=day",
		"metric=http.requests&by=time,protocol&limit=1", "metric=http.requests&by=time,time", "metric=http.requests&where.status=200&where.status=404",
		"metric=http.duration&q=0.5,NaN,1e-300", "metric=instances.active&facet=country&by=value&value=", "filter=country:DE&compare=before",
		"filter=:&compare=", "q=%ff%fe&limit=1", "q=a+b+c&limit=9999999999999999999999", "page=/live&version=x", "%", "a;b", "metric=%00", "theme=dark&width=1",
		"metric=http.requests&period=latest&by=label", "range=1h&range=1h", "limit=-1&metric=http.requests", "metric=http.requests&from=-1",
	} {
		f.Add(byte(i), q)
	}
	f.Fuzz(func(t *testing.T, which byte, query string) {
		path := paths[int(which)%len(paths)]
		r, err := http.NewRequest("GET", "http://evergreen.example"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.RawQuery = query
		if path == "/live" {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // it lasts
			defer cancel()
			r = r.WithContext(ctx)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch {
		case path == "/live" && w.Code == http.StatusServiceUnavailable: // it has ended before it began
		case w.Code == http.StatusOK, w.Code == http.StatusBadRequest, w.Code == http.StatusNotFound, w.Code >= 300 && w.Code < 400:
		default:
			t.Errorf("%s?%s: %d %.300s", path, query, w.Code, w.Body)
		}
		if w.Body.Len() > 32<<20 {
			t.Errorf("%s?%s: %d bytes", path, query, w.Body.Len())
		}
		if strings.HasPrefix(path, "/api/") && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s?%s: no JSON: %.300s", path, query, w.Body)
		}
	})
}
