package dashboard_test

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/dataset"
	"github.com/caddy-evergreen/evergreen/server/store"
)

// publish makes a data set of what a store has.
func publish(t testing.TB, s store.Store, rule dataset.Rule) (folder string) {
	t.Helper()
	folder = t.TempDir()
	p, err := dataset.Open(dataset.Config{
		Store: s, Folder: folder, State: t.TempDir(), Key: ed25519.NewKeyFromSeed(make([]byte, 32)), Rule: rule,
		Name: "Test", Attribution: "the test", Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return folder
}

// withDataset serves a dashboard with the data set beside it, as the service does.
func withDataset(t testing.TB, cfg dashboard.Config, folder string) http.Handler {
	t.Helper()
	cfg.DataSet = os.DirFS(folder)
	mux := http.NewServeMux()
	mux.Handle("/", serve(t, cfg))
	mux.Handle("GET /dataset/", http.StripPrefix("/dataset/", http.FileServerFS(cfg.DataSet)))
	return mux
}

// TestData: the page of the data set tells what its manifest has, and every
// link of it leads to something.
func TestData(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 40*time.Hour)
	cfg := dashboard.Config{Store: s, Reports: openLog(t)}
	for _, path := range []string{"/data", "/data/sql"} {
		if body := get(t, serve(t, cfg), path).Body.String(); !strings.Contains(body, "publish") || strings.Contains(body, "manifest.json.minisig") {
			t.Errorf("%s without a data set: %s", path, body)
		}
	}
	// All is too small to be published.
	nothing := withDataset(t, cfg, publish(t, s, dataset.Rule{MinInstances: 1_000_000, MaxShare: 1}))
	for path, want := range map[string]string{"/data": "nothing so far passes", "/data/sql": "published nothing yet"} {
		if w := get(t, nothing, path); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s with a data set that is empty: %d %s", path, w.Code, w.Body)
		}
	}
	folder := publish(t, s, dataset.Rule{MinInstances: 20, MinEvents: 500, MaxShare: 0.5})
	h := withDataset(t, cfg, folder)
	for _, path := range []string{"/data", "/data/sql"} {
		for _, a := range find(parsed(t, h, path), func(n *html.Node) bool { return n.Data == "a" }) {
			href, _, _ := strings.Cut(attr(a, "href"), "#")
			if !strings.HasPrefix(href, "/data") {
				continue
			}
			if w := get(t, h, href); w.Code != http.StatusOK || w.Body.Len() == 0 {
				t.Errorf("%s leads to %s, which answers %d", path, href, w.Code)
			}
		}
	}
	page := text(parsed(t, h, "/data"))
	m, err := dataset.Verify(t.Context(), os.DirFS(folder), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Days) == 0 {
		t.Fatal("no day was published")
	}
	for _, want := range []string{
		fmt.Sprintf("%d, ", len(m.Files)), "CC-BY-4.0: name the test", m.Days[0].Day, "at least 20 instances and 500 events",
		dataset.PublicKey(ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)), "http://example.com/dataset", "http.requests",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	t.Run("Questions", func(t *testing.T) { questionsOverData(t, folder) })
}

var tableName = regexp.MustCompile(`(day|hour)\."([a-z0-9_.]+)"`)

// questionsOverData: each question that is ready has an answer.
func questionsOverData(t *testing.T, folder string) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for title, query := range dashboard.SQLQuestions() {
		query = tableName.ReplaceAllString(query, "(SELECT * REPLACE (time::TIMESTAMP AS time) FROM read_parquet('"+folder+"/v1/$1/$2/*.parquet'))")
		n := 0
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM ("+query+")").Scan(&n); err != nil {
			t.Errorf("%s: %v", title, err)
		} else if n == 0 {
			t.Errorf("%s: no rows", title)
		}
	}
}

// TestDataExamples: what the page shows are the programs that TestE2EDataset runs.
func TestDataExamples(t *testing.T) {
	for _, file := range []string{"../../docs/examples/dataset/read.py", "../../docs/examples/dataset/read.R", "../../docs/examples/dataset/read.sql", "../dataset/example/read.go"} {
		name := filepath.Base(file)
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if *dashboard.Update {
			if err := os.WriteFile("examples/"+name+".txt", want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile("examples/" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (run with -update):\n%s", name, diff)
		}
	}
}

// TestEngine: the worker may reach the data set and itself, and the engine is
// the same with and without compression.
func TestEngine(t *testing.T) {
	srv := httptest.NewServer(serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t)}))
	defer srv.Close()
	fetch := func(path, encoding string) (*http.Response, []byte) {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", encoding)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, b
	}
	host := strings.TrimPrefix(srv.URL, "http://")
	resp, b := fetch("/data/engine/worker.js", "identity")
	want := "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src " + host + "/dataset/ " + host + "/data/engine/; base-uri 'none'; form-action 'none'"
	if got := resp.Header.Get("Content-Security-Policy"); got != want || len(b) < 1000 {
		t.Errorf("the worker has %d bytes and the policy %q", len(b), got)
	}
	resp, packed := fetch("/data/engine/duckdb-eh.wasm", "gzip, br")
	if resp.Header.Get("Content-Encoding") != "br" || resp.Header.Get("Content-Type") != "application/wasm" || len(packed) > 3<<20 {
		t.Errorf("%d bytes, %v", len(packed), resp.Header)
	}
	resp, plain := fetch("/data/engine/duckdb-eh.wasm", "gzip, br;q=0")
	if resp.Header.Get("Content-Encoding") != "" || !strings.HasPrefix(string(plain), "\x00asm") || len(plain) != 18105915 {
		t.Errorf("%d bytes, %v", len(plain), resp.Header)
	}
	if resp, _ := fetch("/data/engine/other.js", "identity"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an engine that there is not: %s", resp.Status)
	}
	// A policy is made of the name that a request gives.
	for _, name := range []string{"a b", "x;script-src", "'none'", "[::1]:80", "exam\u00e4ple", ""} {
		if got := dashboard.EnginePolicy(name); !strings.Contains(got, "connect-src 'self';") {
			t.Errorf("a request to %q: %s", name, got)
		}
	}
}

// FuzzEnginePolicy: whatever a request says that its host is, the policy of the
// worker has the same directives, and no other host's.
func FuzzEnginePolicy(f *testing.F) {
	for _, s := range []string{"example.org", "127.0.0.1:8080", "[::1]:80", "a b", "x;script-src *", "x,y", "a/b", "*", "evil.example:99999", "\x00", ".", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		got := dashboard.EnginePolicy(host)
		before, after, ok := strings.Cut(got, "connect-src ")
		sources, rest, ok2 := strings.Cut(after, ";")
		if !ok || !ok2 || before != "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; " || rest != " base-uri 'none'; form-action 'none'" {
			t.Fatalf("%q: %s", host, got)
		}
		if sources != "'self'" && sources != host+"/dataset/ "+host+"/data/engine/" || strings.ContainsAny(sources, "*,") {
			t.Fatalf("%q: %s", host, got)
		}
	})
}
