// Package gomods reads go.mod files and lists of versions from a module proxy.
//
// In goes a module's path and version; out comes its go.mod file, from a folder
// on disk if it was read before, else from the proxy, checked against the
// checksum database. What is returned for an exact version never changes: it is
// asked for once. Nothing but go.mod files and lists is downloaded: no code.
//
// Guaranteed: every answer is bounded in size and time, a version that the
// proxy does not have is ErrNotFound and nothing else is, and a go.mod that the
// checksum database knows otherwise is refused and never kept.
package gomods

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/dirhash"
)

// ErrNotFound says that a proxy does not have, or does not serve, a version. It
// is also fs.ErrNotExist.
var ErrNotFound = fmt.Errorf("the module proxy does not have it: %w", fs.ErrNotExist)

// Limits of what a proxy may answer.
const (
	maxGoMod = 4 << 20
	maxList  = 4 << 20
)

// Config tells a Source where to read. Only Dir is required.
type Config struct {
	// Dir keeps what was read, in the layout of the go command's own
	// cache/download folder.
	Dir string
	// Proxies are URLs that are asked in turn, the next one when a version is
	// not found: "https://proxy.example". With none, only Dir is read.
	Proxies []string
	// SumDB checks what proxies answer, as GOSUMDB: the name of Go's own
	// checksum database as `go env GOSUMDB` has it, or another one's verifier
	// key; "off" or "" checks nothing.
	SumDB string
	// NoSumDB are glob patterns of module paths that are not checked, as in
	// GONOSUMDB.
	NoSumDB string
	// Client is used for requests; one that gives up after a minute.
	Client *http.Client
	// ListTTL is for how long a list of versions is not asked for again; an hour.
	ListTTL time.Duration
	// Now is the time; time.Now.
	Now func() time.Time
}

// A Source reads from proxies and from its folder. It may be used by several
// goroutines.
type Source struct {
	cfg   Config
	sums  *sums         // nil: nothing is checked
	slots chan struct{} // requests under way, so that a proxy is asked politely
	mu    sync.Mutex    // of misses
	// misses are what a proxy did not have, for ListTTL: a version may appear.
	misses map[string]time.Time
}

// New makes a Source. It reads nothing yet.
func New(cfg Config) (*Source, error) {
	if cfg.Dir == "" {
		return nil, errors.New("a folder for go.mod files is needed")
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: time.Minute}
	}
	if cfg.ListTTL == 0 {
		cfg.ListTTL = time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	for i, p := range cfg.Proxies {
		u, err := url.Parse(p)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, fmt.Errorf("module proxy %.80q is no URL: write one such as https://proxy.example", p)
		}
		cfg.Proxies[i] = strings.TrimSuffix(p, "/")
	}
	s := &Source{cfg: cfg, slots: make(chan struct{}, 6), misses: map[string]time.Time{}}
	var err error
	if s.sums, err = newSums(s); err != nil {
		return nil, err
	}
	return s, nil
}

// Proxies reads the value of GOPROXY, whose entries "direct" and "off" end it:
// nothing is ever fetched from version control.
func Proxies(goproxy string) []string {
	var urls []string
	for p := range strings.FieldsFuncSeq(goproxy, func(r rune) bool { return r == ',' || r == '|' }) {
		switch p = strings.TrimSpace(p); p {
		case "direct", "off":
			return urls
		case "":
		default:
			urls = append(urls, p)
		}
	}
	return urls
}

// GoMod returns the go.mod file of a module at a version. What the proxy made
// up for a module without one is returned as it is.
func (s *Source) GoMod(ctx context.Context, path, version string) ([]byte, error) {
	name, err := file(path, version, ".mod")
	if err != nil {
		return nil, err
	}
	if b, err := s.kept(name); err == nil {
		return b, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the kept go.mod of %s@%s: %w", path, version, err)
	}
	b, err := s.fetch(ctx, name, maxGoMod)
	if err != nil {
		return nil, fmt.Errorf("go.mod of %s@%s: %w", path, version, err)
	}
	if s.sums != nil && !module.MatchPrefixPatterns(s.cfg.NoSumDB, path) {
		got, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(string(b))), nil
		})
		if err != nil {
			return nil, fmt.Errorf("hashing the go.mod of %s@%s: %w", path, version, err)
		}
		if err := s.sums.check(ctx, path, version, got); err != nil {
			return nil, err
		}
	}
	if err := s.keep(name, b); err != nil {
		return nil, fmt.Errorf("keeping the go.mod of %s@%s: %w", path, version, err)
	}
	return b, nil
}

// Versions returns the versions that the proxies list, in ascending order,
// without pseudo-versions. A proxy that refuses to list answers none.
func (s *Source) Versions(ctx context.Context, path string) ([]string, error) {
	esc, err := module.EscapePath(path)
	if err != nil {
		return nil, fmt.Errorf("listing versions: %w", err)
	}
	name := esc + "/@v/list"
	// The go command keeps its own, so the name must not be the same as its.
	const kept = "/@v/evergreen.list"
	if at, err := os.Stat(filepath.Join(s.cfg.Dir, filepath.FromSlash(esc+kept))); err == nil && (len(s.cfg.Proxies) == 0 || s.cfg.Now().Sub(at.ModTime()) < s.cfg.ListTTL) {
		if b, err := s.kept(esc + kept); err == nil {
			return versions(b), nil
		}
	}
	b, err := s.fetch(ctx, name, maxList)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		// An old list is better than none: versions do not go away.
		if old, kerr := s.kept(esc + kept); kerr == nil {
			return versions(old), nil
		}
		return nil, fmt.Errorf("listing the versions of %s: %w", path, err)
	}
	if err := s.keep(esc+kept, b); err != nil {
		return nil, fmt.Errorf("keeping the versions of %s: %w", path, err)
	}
	return versions(b), nil
}

// versions reads a list as proxies write it: a version a line.
func versions(b []byte) []string {
	var vs []string
	for line := range strings.Lines(string(b)) {
		v, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if semver.IsValid(v) && !module.IsPseudoVersion(v) {
			vs = append(vs, v)
		}
	}
	slices.SortFunc(vs, semver.Compare)
	return slices.Compact(vs)
}

// file is the name below a proxy's URL and below the cache folder.
func file(path, version, ext string) (string, error) {
	esc, err := module.EscapePath(path)
	if err != nil {
		return "", fmt.Errorf("%.200q is no module: %w", path, err)
	}
	if module.CanonicalVersion(version) != version {
		return "", fmt.Errorf("%s: %.100q is no exact version: %w", path, version, ErrNotFound)
	}
	v, err := module.EscapeVersion(version)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return esc + "/@v/" + v + ext, nil
}

func (s *Source) kept(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(s.cfg.Dir, filepath.FromSlash(name)))
}

func (s *Source) keep(name string, b []byte) error {
	to := filepath.Join(s.cfg.Dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(b); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	// Two that fetched the same write the same; the later rename wins.
	return os.Rename(f.Name(), to)
}

// fetch asks the proxies in turn.
func (s *Source) fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	s.mu.Lock()
	missed, ok := s.misses[name]
	s.mu.Unlock()
	if ok && s.cfg.Now().Sub(missed) < s.cfg.ListTTL {
		return nil, ErrNotFound
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for _, p := range s.cfg.Proxies {
		b, err := s.get(ctx, p+"/"+name, limit)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		return b, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.misses) > 100_000 {
		clear(s.misses)
	}
	s.misses[name] = s.cfg.Now()
	return nil, ErrNotFound
}

// get asks one URL, again twice if the proxy has a bad moment.
func (s *Source) get(ctx context.Context, url string, limit int64) ([]byte, error) {
	for try := 0; ; try++ {
		b, again, err := s.once(ctx, url, limit)
		if err == nil || !again || try == 2 {
			return b, err
		}
		select {
		case <-time.After(time.Duration(1+2*try) * time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *Source) once(ctx context.Context, url string, limit int64) (b []byte, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, false, err
	}
	resp, err := s.cfg.Client.Do(req)
	if err != nil {
		return nil, true, err
	}
	defer resp.Body.Close()
	switch c := resp.StatusCode; {
	case c == http.StatusNotFound, c == http.StatusGone, c == http.StatusForbidden:
		// 403 is what a proxy that serves a choice of modules answers.
		return nil, false, ErrNotFound
	case c == http.StatusTooManyRequests, c >= 500:
		return nil, true, fmt.Errorf("the module proxy answered %s: try again later", resp.Status)
	case c != http.StatusOK:
		return nil, false, fmt.Errorf("the module proxy answered %s", resp.Status)
	}
	b, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, true, err
	}
	if int64(len(b)) > limit {
		return nil, false, fmt.Errorf("the module proxy's answer is longer than %d bytes", limit)
	}
	return b, false, nil
}
