//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
)

// TestE2EPages: the real server shows a made-up fleet, marked on every page,
// and whatever is put into an address, it answers: what it doesn't understand
// it refuses, nothing that was put in comes back as markup, and it does not
// fail.
func TestE2EPages(t *testing.T) {
	dir := t.TempDir()
	out, err := exec.Command(evergreen, "bench", "fleet", "--rollups", "--instances", "120", "--days", "2", "--windows", "2h", "--data", filepath.Join(dir, "data")).CombinedOutput()
	if err != nil {
		t.Fatalf("making a fleet: %v\n%s", err, out)
	}
	srv := &server{&testbed.Server{Exe: evergreen, Dir: dir, Addr: freeAddr(t)}}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := srv.Stop(); err != nil {
			t.Error(err)
		}
		if log := srv.LogTail(1000); strings.Contains(log, "panic") {
			t.Errorf("the log has a panic:\n%s", log)
		}
	}()

	pages := pagesOf(t, srv)
	for _, p := range pages {
		b, err := srv.Get(t.Context(), p)
		if err != nil {
			t.Error(err)
		} else if !bytes.Contains(bytes.ToLower(b), []byte("simulated")) {
			t.Errorf("%s does not say that its numbers are simulated", p)
		}
	}

	var all atlas
	if err := json.Unmarshal(must(srv.Get(t.Context(), "/api/v1/openapi.json"))(t), &all); err != nil {
		t.Fatal(err)
	}
	targets := all.targets(pages)
	if len(targets) < 20 {
		t.Fatalf("only %d addresses to ask", len(targets))
	}
	const asked = 600
	statuses := map[int]int{}
	var mu sync.Mutex
	var wait sync.WaitGroup
	next := make(chan string)
	for range 4 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for path := range next {
				status, err := probe(t.Context(), srv, path)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		}()
	}
	rnd := rand.New(rand.NewPCG(6, 2026))
	for range asked {
		next <- targets[rnd.IntN(len(targets))].mutate(rnd)
	}
	close(next)
	wait.Wait()
	t.Logf("%d addresses asked of %d kinds: %v", asked, len(targets), statuses)
	if statuses[http.StatusOK] == 0 || statuses[http.StatusBadRequest] == 0 {
		t.Error("the addresses were all of one sort")
	}
	for _, p := range pages {
		if _, err := srv.Get(t.Context(), p); err != nil {
			t.Errorf("after that: %v", err)
		}
	}
}

func must(b []byte, err error) func(*testing.T) []byte {
	return func(t *testing.T) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// pagesOf are the pages that the list of pages leads to.
func pagesOf(t *testing.T, srv *server) []string {
	t.Helper()
	home := string(must(srv.Get(t.Context(), "/"))(t))
	_, nav, _ := strings.Cut(home, `<nav class="main-nav"`)
	nav, _, _ = strings.Cut(nav, "</nav>")
	pages := []string{"/"}
	for _, m := range regexp.MustCompile(`href="(/[a-z/]*)"`).FindAllStringSubmatch(nav, -1) {
		if !slices.Contains(pages, m[1]) {
			pages = append(pages, m[1])
		}
	}
	if len(pages) < 8 {
		t.Fatalf("the list of pages has only %v", pages)
	}
	return pages
}

// An atlas is what the server's description of its API has of addresses.
type atlas struct {
	Paths map[string]struct {
		Get *struct {
			Parameters []parameter `json:"parameters"`
		} `json:"get"`
	} `json:"paths"`
	Components struct {
		Parameters map[string]parameter `json:"parameters"`
	} `json:"components"`
}

type parameter struct {
	Ref    string `json:"$ref"`
	Name   string `json:"name"`
	In     string `json:"in"`
	Schema struct {
		Enum []any `json:"enum"`
	} `json:"schema"`
	Example any `json:"example"`
}

// A target is an address with the values that its parameters may have.
type target struct {
	path   string
	values map[string][]string
}

func (a *atlas) targets(pages []string) []target {
	var ts []target
	common := map[string][]string{
		"range": {"1h", "24h", "all"}, "from": {"2026-11-20", "1700000000"}, "to": {"2026-11-21"}, "grain": {"hour", "day"},
		"filter": {"country:DE", "version:v2.11.9"}, "compare": {"before"},
	}
	for _, p := range pages {
		ts = append(ts, target{p, common})
	}
	for _, p := range []string{"/chart/protocols", "/chart/{id}", "/embed/protocols", "/chart/protocols.svg", "/search", "/releases", "/advisories", "/dataset/manifest.json", "/dataset/{path}", "/instance/{id}", "/assets/app.js", "/assets/{name}"} {
		ts = append(ts, target{p, common})
	}
	for path, ops := range a.Paths {
		if ops.Get == nil || strings.HasPrefix(path, "/live") {
			continue // which answers until its reader goes
		}
		t := target{path, map[string][]string{}}
		for _, p := range ops.Get.Parameters {
			if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
				p = a.Components.Parameters[name]
			}
			if p.In != "query" {
				continue
			}
			t.values[p.Name] = append(t.values[p.Name], common[p.Name]...)
			for _, v := range append(p.Schema.Enum, p.Example) {
				if v != nil {
					t.values[p.Name] = append(t.values[p.Name], fmt.Sprint(v))
				}
			}
		}
		if _, ok := t.values["metric"]; ok {
			t.values["metric"] = append(t.values["metric"], "http.requests", "instances.active", "http.duration")
			t.values["by"] = append(t.values["by"], "time", "value", "time,protocol")
			t.values["where.protocol"] = []string{"http/2"}
		}
		ts = append(ts, t)
	}
	slices.SortFunc(ts, func(x, y target) int { return strings.Compare(x.path, y.path) })
	return ts
}

// hostile are values that somebody may try.
var hostile = []string{
	"", " ", "\x00", "-1", "0", "99999999999999999999", "1e308", "NaN", "../../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd",
	`"><script>alert(1)</script>`, "'; DROP TABLE rollups; --", "' OR '1'='1", "javascript:alert(1)", "\r\nSet-Cookie: a=b", "{{.}}", "${7*7}", "%s%n%x",
	"\xff\xfe", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "\u202etxt.exe", strings.Repeat("a", 5000), strings.Repeat(",", 2000), strings.Repeat("country:", 300), "http://127.0.0.1:1/", "0001-01-01", "9999-12-31T23:59:59Z", "2026-13-45",
}

// mutate makes an address of t: some good parameters, some hostile, some unknown.
func (t target) mutate(rnd *rand.Rand) string {
	path := t.path
	for strings.Contains(path, "{") {
		before, rest, _ := strings.Cut(path, "{")
		_, after, _ := strings.Cut(rest, "}")
		path = before + url.PathEscape(hostile[rnd.IntN(len(hostile))]) + after
	}
	q := url.Values{}
	names := slices.Sorted(maps.Keys(t.values))
	bad := -1 // at most one of them is, so that the others are understood first
	if len(names) > 0 && rnd.IntN(3) > 0 {
		bad = rnd.IntN(len(names))
	}
	for i, name := range names {
		values := t.values[name]
		switch {
		case i == bad:
			q.Add(name, hostile[rnd.IntN(len(hostile))])
			if rnd.IntN(4) == 0 {
				q.Add(name, hostile[rnd.IntN(len(hostile))])
			}
		case len(values) > 0 && (rnd.IntN(3) == 0 || name == "metric"):
			q.Add(name, values[rnd.IntN(len(values))])
		}
	}
	if rnd.IntN(12) == 0 {
		q.Add(hostile[rnd.IntN(len(hostile))], "1")
	}
	raw := q.Encode()
	if rnd.IntN(25) == 0 {
		raw += "&" + []string{"%", "%zz", ";", "&&&=", "a=b;c=d", strings.Repeat("x=1&", 500)}[rnd.IntN(6)]
	}
	if raw != "" {
		path += "?" + raw
	}
	return path
}

// probe gives the answer's status; an error is what an answer must never be.
func probe(ctx context.Context, srv *server, path string) (int, error) {
	const most = 16 << 20
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL(), nil)
	if err != nil {
		return 0, err
	}
	p, q, _ := strings.Cut(path, "?")
	r.URL.Opaque, r.URL.RawQuery = "//"+srv.Addr+p, q // as it is, whatever is in it
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, fmt.Errorf("%.300q: %w", path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return resp.StatusCode, fmt.Errorf("%.300q: %w", path, err)
	case len(b) > most:
		return resp.StatusCode, fmt.Errorf("%.300q: more than %d bytes", path, most)
	case resp.StatusCode >= 500:
		return resp.StatusCode, fmt.Errorf("%.300q: %s: %.300s", path, resp.Status, b)
	case bytes.Contains(b, []byte("<script>alert(1)")) && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html"):
		return resp.StatusCode, fmt.Errorf("%.300q: comes back as markup", path)
	case bytes.Contains(b, []byte("root:x:0:0")):
		return resp.StatusCode, fmt.Errorf("%.300q: a file of the machine", path)
	case resp.Header.Get("Set-Cookie") != "":
		return resp.StatusCode, fmt.Errorf("%.300q: sets a cookie", path)
	case resp.StatusCode/100 != 3 && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") && !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'"):
		return resp.StatusCode, fmt.Errorf("%.300q: its content policy is %q", path, resp.Header.Get("Content-Security-Policy"))
	}
	return resp.StatusCode, nil
}
