package evergreen

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/updater/rehearse"
)

// rehearsed rehearses this test's executable, as a Caddy, beside the Caddy in
// this process. live is the candidate's configuration.
func rehearsed(t *testing.T, live map[string]any) (rehearse.Report, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(live)
	if err != nil {
		t.Fatal(err)
	}
	// Not those that the tests alone register.
	modules := slices.DeleteFunc(caddy.Modules(), func(m string) bool { return strings.HasSuffix(m, ".notes") || strings.HasSuffix(m, ".grumble") })
	return rehearseCandidate(t.Context(), rehearse.Config{
		Executable: exe, Modules: modules, Live: b, Scratch: filepath.Join(t.TempDir(), "r"), Env: []string{asCaddy + "=1"},
		Environ: append(os.Environ(), "GORACE=atexit_sleep_ms=0"),
		Settle:  time.Millisecond, Private: 1 << 60, // the race detector sets much aside
	})
}

// contents are the sums of all files below a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/locks/") {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		sums[path] = fmt.Sprintf("%x", sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

const rehearsedSite = `
	header Strict-Transport-Security "max-age=60"
	respond /teapot 418
	redir /moved /elsewhere
	handle_path /api/* {
		respond /users/* "users" 203
		error /broken 502
	}
	basic_auth /private {
		bob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
	}
`

// TestRehearsal rehearses a real Caddy beside a real one, and what it leaves
// behind: nothing, neither in storage nor in the counts.
func TestRehearsal(t *testing.T) {
	s, c := newSite(t, "", rehearsedSite)
	mustLoad(t, c)
	eventually(t, "there is a certificate", func() bool { return certified("localhost") })
	metrics := []string{"http_requests", "http_errors_handler"}
	before, files := counts(t, metrics...), contents(t, filepath.Join(caddy.AppDataDir(), "storage"))

	r, err := rehearsed(t, c)
	if err != nil {
		t.Fatal(err)
	}
	// "/" and six paths: in plain, and over the three versions of HTTP.
	if d := cmp.Diff("", r.String()); d != "" || r.Probes != 4*7 || r.Sites != 1 {
		t.Errorf("%d requests to %d sites, notes %q: %s", r.Probes, r.Sites, r.Notes, d)
	}
	wantCounts(t, before, metrics...)
	if d := cmp.Diff(files, contents(t, filepath.Join(caddy.AppDataDir(), "storage"))); d != "" {
		t.Errorf("files in storage: %s", d)
	}

	// A candidate that answers otherwise, here for its configuration, is found out.
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var other map[string]any
	if err := json.Unmarshal([]byte(strings.NewReplacer(`"status_code":418`, `"status_code":419`, "max-age=60", "max-age=0").Replace(string(text))), &other); err != nil {
		t.Fatal(err)
	}
	r, err = rehearsed(t, other)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf(`http://localhost:%s/teapot over HTTP/1.1: status is "419", was "418"`, s.http),
		fmt.Sprintf(`https://localhost:%s/teapot over HTTP/1.1: status is "419", was "418"`, s.https),
		fmt.Sprintf(`https://localhost:%s/teapot over HTTP/2: status is "419", was "418"`, s.https),
		fmt.Sprintf(`https://localhost:%s/teapot over HTTP/3: status is "419", was "418"`, s.https),
		fmt.Sprintf(`https://localhost:%s/ over HTTP/2: header Strict-Transport-Security (keeps clients on HTTPS) is "max-age=0", was "max-age=60"`, s.https),
	} {
		if !strings.Contains(allOf(r), want) {
			t.Errorf("the report lacks %s:\n%s", want, allOf(r))
		}
	}
}

// allOf is all of a report's differences.
func allOf(r rehearse.Report) string {
	var b strings.Builder
	for _, d := range r.Differences {
		b.WriteString(d.String() + "\n")
	}
	return b.String()
}

// TestRehearsalRefused has a candidate that can't use the configuration.
func TestRehearsalRefused(t *testing.T) {
	_, c := newSite(t, "", rehearsedSite)
	mustLoad(t, c)
	c["apps"].(map[string]any)["unheard_of"] = map[string]any{}
	_, err := rehearsed(t, c)
	var failed *updater.Error
	if !errors.As(err, &failed) || failed.Cause != updater.CauseRehearsal || !strings.Contains(err.Error(), "unheard_of") {
		t.Errorf("the error is %v", err)
	}
}

func TestOwnApps(t *testing.T) {
	got := map[string]bool{}
	for _, app := range []string{"http", "tls", "pki", "events", "evergreen", "notes", "unheard_of"} {
		got[app] = caddysOwn(app)
	}
	if d := cmp.Diff(map[string]bool{"http": true, "tls": true, "pki": true, "events": true, "evergreen": true, "notes": false, "unheard_of": false}, got); d != "" {
		t.Error(d)
	}
}

// TestOverlay compares a storage that is written, with one that only seems to be.
func TestOverlay(t *testing.T) {
	ctx := context.Background()
	written, dir := &certmagic.FileStorage{Path: t.TempDir()}, t.TempDir()
	read := &certmagic.FileStorage{Path: dir}
	over := newOverlay(read)
	both := func(do func(certmagic.Storage) error) {
		t.Helper()
		for _, s := range []certmagic.Storage{written, over} {
			if err := do(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	store := func(key, value string) func(certmagic.Storage) error {
		return func(s certmagic.Storage) error { return s.Store(ctx, key, []byte(value)) }
	}
	remove := func(key string) func(certmagic.Storage) error {
		return func(s certmagic.Storage) error { return s.Delete(ctx, key) }
	}
	for _, key := range []string{"a/b/1", "a/b/2", "a/c", "d/e/f/g"} {
		for _, s := range []certmagic.Storage{written, read} {
			if err := s.Store(ctx, key, []byte(key)); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := contents(t, dir)
	keys := []string{"a", "a/b", "a/b/1", "a/b/2", "a/b/3", "a/c", "d", "d/e", "d/e/f/g", "n", "n/m", "n/m/o"}
	look := func(s certmagic.Storage) map[string]string {
		seen := map[string]string{}
		for _, key := range keys {
			b, err := s.Load(ctx, key)
			info, statErr := s.Stat(ctx, key)
			seen["load "+key] = fmt.Sprintf("%q %v", b, err == nil)
			seen["stat "+key] = fmt.Sprintf("%v %v %v", info.IsTerminal, errors.Is(statErr, fs.ErrNotExist), s.Exists(ctx, key))
			if !s.Exists(ctx, key) {
				continue
			}
			for _, recursive := range []bool{true, false} {
				list, _ := s.List(ctx, key, recursive)
				slices.Sort(list)
				seen[fmt.Sprint("list ", key, recursive)] = fmt.Sprint(list)
			}
		}
		return seen
	}
	for i, change := range []func(certmagic.Storage) error{
		func(certmagic.Storage) error { return nil },
		store("a/b/3", "new"), store("a/b/1", "changed"), store("n/m/o", "deep"),
		remove("a/c"), remove("a/b/1"), remove("d"), store("d/e/f/g", "again"), remove("a/b"),
	} {
		both(change)
		if d := cmp.Diff(look(written), look(over)); d != "" {
			t.Errorf("after change %d (-written +seeming): %s", i, d)
		}
	}
	if d := cmp.Diff(before, contents(t, dir)); d != "" {
		t.Errorf("it was written after all: %s", d)
	}

	// Locks are of this process.
	if err := over.Lock(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() { got <- over.Lock(ctx, "x") }()
	if err := over.Unlock(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := over.Lock(canceled, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("locked twice: %v", err)
	}
}
