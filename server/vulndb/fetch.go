package vulndb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// fetch reads a database from a URL: a zip if that is what it names, else the
// layout's own vulndb.zip, else one by one what the index lists.
func (s *source) fetch(ctx context.Context, u *url.URL, modules []string, prev *source) (*content, error) {
	if strings.HasSuffix(u.Path, ".zip") {
		return s.fetchZip(ctx, u, prev)
	}
	got, err := s.fetchZip(ctx, u.JoinPath("vulndb.zip"), prev)
	if errors.Is(err, errMissing) {
		return s.fetchIndex(ctx, u, modules, prev)
	}
	return got, err
}

func (s *source) fetchZip(ctx context.Context, u *url.URL, prev *source) (*content, error) {
	kept := s.kept(u)
	have := prev
	if have == nil {
		have = kept.validators()
	}
	body, next, err := s.get(ctx, u, have, maxZip)
	switch {
	case err == nil:
		got, err := fromBytes(body, next)
		if err != nil {
			return nil, err
		}
		return got, kept.write(body, next)
	case errors.Is(err, errUnchanged) && prev != nil:
		return nil, err
	case errors.Is(err, errMissing), ctx.Err() != nil:
		return nil, err
	}
	// Unchanged since the process before this one, or nobody answers: in
	// either case the last one tells its own age.
	if prev == nil && kept.file != "" {
		if b, readErr := os.ReadFile(kept.file); readErr == nil {
			next := *s
			if errors.Is(err, errUnchanged) {
				next.etag, next.lastModified = have.etag, have.lastModified
			}
			return fromBytes(b, &next)
		}
	}
	return nil, err
}

// fetchIndex asks for index/db.json, index/modules.json, and of the entries
// those that are not known yet, four at a time.
func (s *source) fetchIndex(ctx context.Context, u *url.URL, modules []string, prev *source) (*content, error) {
	body, next, err := s.get(ctx, u.JoinPath("index", "db.json"), prev, maxEntry)
	if err != nil {
		return nil, fmt.Errorf("index/db.json: %w", err)
	}
	got := &content{source: next}
	if got.asOf, err = parseIndexDB(body); err != nil {
		return nil, fmt.Errorf("index/db.json: %w", err)
	}
	if body, _, err = s.get(ctx, u.JoinPath("index", "modules.json"), nil, maxIndex); err != nil {
		return nil, fmt.Errorf("index/modules.json: %w", err)
	}
	index, err := parseIndexModules(body)
	if err != nil {
		return nil, fmt.Errorf("index/modules.json: %w", err)
	}
	next.seen = map[string]*entry{}
	var missing []string
	for _, m := range index {
		if modules != nil && !slices.Contains(modules, m.Path) {
			continue
		}
		for _, v := range m.Vulns {
			if _, ok := next.seen[v.ID]; ok {
				continue
			}
			var known *entry
			if prev != nil && prev.seen[v.ID] != nil && prev.seen[v.ID].Modified.Equal(v.Modified) {
				known = prev.seen[v.ID]
			} else {
				missing = append(missing, v.ID)
			}
			next.seen[v.ID] = known
		}
	}
	if len(missing) > maxEntries {
		return nil, fmt.Errorf("the index lists %d entries: at most %d are read", len(missing), maxEntries)
	}
	if err := s.fetchEntries(ctx, u, missing, next.seen); err != nil {
		return nil, err
	}
	for _, e := range next.seen {
		got.entries = append(got.entries, *e)
	}
	return got, nil
}

func (s *source) fetchEntries(ctx context.Context, u *url.URL, ids []string, into map[string]*entry) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex // of into and left
	left := int64(maxTotal)
	next := make(chan string)
	for range 4 {
		wg.Go(func() {
			for id := range next {
				body, _, err := s.get(ctx, u.JoinPath("ID", id+".json"), nil, maxEntry)
				var e entry
				if err == nil {
					e, err = parseEntry(body)
				}
				if err == nil && e.ID != id {
					err = fmt.Errorf("it is of %s", e.ID)
				}
				mu.Lock()
				if left -= int64(len(body)); err == nil && left < 0 {
					err = fmt.Errorf("all entries together have more than %d bytes", int64(maxTotal))
				}
				into[id] = &e
				mu.Unlock()
				if err != nil {
					cancel(fmt.Errorf("ID/%s.json: %w", id, err))
				}
			}
		})
	}
	for _, id := range ids {
		select {
		case next <- id:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// get asks for u, unless it is as have says, which gives errUnchanged. What is
// returned with the body has the validators of the answer.
func (s *source) get(ctx context.Context, u *url.URL, have *source, limit int64) ([]byte, *source, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("User-Agent", "evergreen")
	if have != nil && have.etag != "" {
		req.Header.Set("If-None-Match", have.etag)
	}
	if have != nil && have.lastModified != "" {
		req.Header.Set("If-Modified-Since", have.lastModified)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		if have == nil {
			return nil, nil, errors.New("the server says that nothing changed, which was not asked")
		}
		return nil, nil, errUnchanged
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden:
		return nil, nil, fmt.Errorf("%w: the server answers %s", errMissing, resp.Status)
	default:
		return nil, nil, fmt.Errorf("the server answers %s", resp.Status)
	}
	body, err := readBounded(resp.Body, limit)
	if err != nil {
		return nil, nil, err
	}
	next := *s
	next.etag, next.lastModified = header(resp, "ETag"), header(resp, "Last-Modified")
	return body, &next, nil
}

// header is a validator that is worth keeping.
func header(resp *http.Response, name string) string {
	if v := resp.Header.Get(name); len(v) <= 256 {
		return v
	}
	return ""
}

// A kept zip is the last one that was fetched from a URL.
type kept struct{ file, about, url string }

// keptAbout is beside a kept zip. The two are replaced one after the other,
// this one last: it is taken at its word only for a zip of the size it names.
type keptAbout struct {
	URL          string `json:"url"`
	Size         int64  `json:"size"`
	ETag         string `json:"etag"`
	LastModified string `json:"last_modified"`
}

func (s *source) kept(u *url.URL) kept {
	if s.cache == "" {
		return kept{}
	}
	return kept{filepath.Join(s.cache, "vulndb.zip"), filepath.Join(s.cache, "vulndb.zip.json"), u.String()}
}

// validators are nil if nothing is kept, or of another URL.
func (k kept) validators() *source {
	if k.file == "" {
		return nil
	}
	var a keptAbout
	b, err := os.ReadFile(k.about)
	if err != nil || json.Unmarshal(b, &a) != nil || a.URL != k.url {
		return nil
	}
	if info, err := os.Stat(k.file); err != nil || info.Size() != a.Size {
		return nil
	}
	return &source{etag: a.ETag, lastModified: a.LastModified}
}

func (k kept) write(body []byte, s *source) error {
	if k.file == "" {
		return nil
	}
	about, err := json.Marshal(keptAbout{URL: k.url, Size: int64(len(body)), ETag: s.etag, LastModified: s.lastModified})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(k.file), 0o755); err != nil {
		return err
	}
	if err := os.Remove(k.about); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(replace(k.file, body), replace(k.about, about))
}

func replace(name string, body []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".vulndb-*")
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
