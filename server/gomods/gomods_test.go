package gomods_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"

	"github.com/caddy-evergreen/evergreen/server/goenv"
	"github.com/caddy-evergreen/evergreen/server/gomods"
)

const goMod = "module example.com/a\n\ngo 1.25.0\n\nrequire example.com/b v1.0.0\n"

// A proxy serves a folder in a module proxy's layout, as `GOPROXY=file://…` has
// it, and below /sumdb a checksum database.
type proxy struct {
	dir string
	db  http.Handler

	mu    sync.Mutex
	asked []string
	down  int // how often it answers 503 before it answers
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, r.URL.Path)
	if p.down > 0 {
		p.down--
		http.Error(w, "a moment", http.StatusServiceUnavailable)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/sumdb/") {
		http.StripPrefix("/sumdb/"+dbName, p.db).ServeHTTP(w, r)
		return
	}
	http.FileServer(http.Dir(p.dir)).ServeHTTP(w, r)
}

func (p *proxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	for _, a := range p.asked {
		if !strings.HasPrefix(a, "/sumdb/") {
			lines = append(lines, a)
		}
	}
	p.asked = nil
	return lines
}

const dbName = "sum.example.com"

// start serves example.com/a at v1.0.0 and v1.2.0, whose go.mod files the
// checksum database has with the text onRecord.
func start(t *testing.T, onRecord string) (p *proxy, url, key string) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, dbName)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(onRecord)), nil })
	if err != nil {
		t.Fatal(err)
	}
	db := sumdb.NewTestServer(skey, func(path, version string) ([]byte, error) {
		return fmt.Appendf(nil, "%s %s h1:0000000000000000000000000000000000000000000=\n%[1]s %[2]s/go.mod %[3]s\n", path, version, hash), nil
	})
	p = &proxy{dir: t.TempDir(), db: sumdb.NewServer(db)}
	at := filepath.Join(p.dir, "example.com", "a", "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"list": "v1.2.0\nv1.0.0\nv1.10.0-rc.1\nnonsense\nv0.0.0-20200102030405-000000000000\nv1.0.0\n", "v1.0.0.mod": goMod, "v1.2.0.mod": goMod,
	} {
		if err := os.WriteFile(filepath.Join(at, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: p}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return p, "http://" + ln.Addr().String(), vkey
}

func source(t *testing.T, dir, url, key string, now func() time.Time) *gomods.Source {
	t.Helper()
	s, err := gomods.New(gomods.Config{Dir: dir, Proxies: []string{url}, SumDB: key, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestGoMod asks for a file once, checks it, and finds it on disk afterwards.
func TestGoMod(t *testing.T) {
	p, url, key := start(t, goMod)
	dir := t.TempDir()
	p.down = 1 // a proxy's bad moment is overcome
	for _, s := range []*gomods.Source{source(t, dir, url, key, nil), source(t, dir, url, key, nil)} {
		b, err := s.GoMod(context.Background(), "example.com/a", "v1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(goMod, string(b)); d != "" {
			t.Errorf("go.mod (-want +got):\n%s", d)
		}
	}
	const name = "/example.com/a/@v/v1.0.0.mod"
	if d := cmp.Diff([]string{name, name}, p.requests()); d != "" {
		t.Errorf("requests: one that failed, one that didn't (-want +got):\n%s", d)
	}
	s := source(t, dir, url, key, nil)
	for range 2 { // what is missing is not asked for twice
		for _, v := range []string{"v1.9.9", "devel", "v1", "v1.0.0/../v1.2.0"} {
			if _, err := s.GoMod(context.Background(), "example.com/a", v); !errors.Is(err, gomods.ErrNotFound) {
				t.Errorf("version %q: error %v, want that it is not found", v, err)
			}
		}
	}
	if d := cmp.Diff([]string{"/example.com/a/@v/v1.9.9.mod"}, p.requests()); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
	if _, err := s.GoMod(context.Background(), "../../etc", "v1.0.0"); err == nil {
		t.Error("a path out of the folder was taken")
	}
}

// TestForged: what the checksum database knows otherwise is neither returned
// nor kept.
func TestForged(t *testing.T) {
	_, url, key := start(t, goMod+"\n// as it was published\n")
	dir := t.TempDir()
	for range 2 {
		b, err := source(t, dir, url, key, nil).GoMod(context.Background(), "example.com/a", "v1.0.0")
		if b != nil || err == nil || !strings.Contains(err.Error(), "is not to be trusted") {
			t.Fatalf("got %q, error %v: want a refusal", b, err)
		}
	}
	// Another database's signature is no proof.
	_, other, err := note.GenerateKey(rand.Reader, dbName)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source(t, t.TempDir(), url, other, nil).GoMod(context.Background(), "example.com/a", "v1.0.0"); err == nil {
		t.Error("a database with another key was believed")
	}
	// Where it is not to be asked, it is not.
	s, err := gomods.New(gomods.Config{Dir: dir, Proxies: []string{url}, SumDB: key, NoSumDB: "example.com/*"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.GoMod(context.Background(), "example.com/a", "v1.0.0"); err != nil {
		t.Error(err)
	}
}

// TestVersions are asked for again after an hour; an old list is better than none.
func TestVersions(t *testing.T) {
	p, url, _ := start(t, goMod)
	now := time.Now()
	s := source(t, t.TempDir(), url, "off", func() time.Time { return now })
	want := []string{"v1.0.0", "v1.2.0", "v1.10.0-rc.1"}
	for _, step := range []struct {
		later time.Duration
		down  int
		asked int
	}{{0, 0, 1}, {30 * time.Minute, 0, 0}, {time.Hour, 0, 1}, {time.Hour, 3, 3}} {
		now = now.Add(step.later)
		p.mu.Lock()
		p.down = step.down
		p.mu.Unlock()
		got, err := s.Versions(context.Background(), "example.com/a")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("versions (-want +got):\n%s", d)
		}
		if n := len(p.requests()); n != step.asked {
			t.Errorf("%d requests, want %d", n, step.asked)
		}
	}
	if got, err := s.Versions(context.Background(), "example.com/none"); len(got) > 0 || err != nil {
		t.Errorf("versions of what the proxy does not list: %v, %v", got, err)
	}
}

// TestProxies reads GOPROXY.
func TestProxies(t *testing.T) {
	got := gomods.Proxies("https://a.example,https://b.example|direct,https://c.example")
	if d := cmp.Diff([]string{"https://a.example", "https://b.example"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Go's own checksum database is known by its name alone; no other is.
func TestSumDBName(t *testing.T) {
	t.Setenv("GOSUMDB", "")
	own := goenv.Get("GOSUMDB")
	for name, fine := range map[string]bool{own: true, "off": true, "": true, "sums.example": false, own + "+00000000+AAAA": false} {
		_, err := gomods.New(gomods.Config{Dir: t.TempDir(), SumDB: name})
		if (err == nil) != fine {
			t.Errorf("%q: %v", name, err)
		}
	}
}
