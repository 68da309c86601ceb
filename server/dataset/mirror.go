package dataset

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// A Mirror copies a data set from a URL to a folder, which then is a data set
// itself. What is there already is not fetched again, and a file that was cut
// off goes on.
type Mirror struct {
	URL    string
	Folder string
	Key    ed25519.PublicKey // that the manifest must be signed by
	HTTP   *http.Client
	// Progress is told of each file that was fetched; may be nil.
	Progress func(f File, done, all int)
}

// Copy fetches what is new, and removes what the data set does not have any
// more. The manifest is replaced last.
func (m *Mirror) Copy(ctx context.Context) (*Manifest, error) {
	raw, err := m.small(ctx, ManifestName, maxManifest)
	if err != nil {
		return nil, err
	}
	sig, err := m.small(ctx, SignatureName, 1<<16)
	if err != nil {
		return nil, err
	}
	if err := checkSignature(m.Key, raw, sig); err != nil {
		return nil, fmt.Errorf("%s: %w (was it replaced just now? then try again)", m.URL, err)
	}
	manifest, err := ParseManifest(raw)
	if err != nil {
		return nil, err
	}
	has := map[string]bool{}
	for i, f := range manifest.Files {
		has[f.Path] = true
		name := filepath.Join(m.Folder, filepath.FromSlash(f.Path))
		if sum, n, err := hashFile(name); err == nil && n == f.Size && sum == f.SHA256 {
			continue
		}
		if err := m.fetch(ctx, f, name); err != nil {
			return nil, fmt.Errorf("mirroring %s: %w", f.Path, err)
		}
		if m.Progress != nil {
			m.Progress(f, i+1, len(manifest.Files))
		}
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{{KeyName, []byte("untrusted comment: key of the data set\n" + PublicKey(m.Key) + "\n")}, {SignatureName, sig}, {ManifestName, raw}} {
		err := replace(filepath.Join(m.Folder, f.name), func(w io.Writer) error { _, err := w.Write(f.content); return err })
		if err != nil {
			return nil, err
		}
	}
	return manifest, m.clean(has)
}

// clean removes files of a data set that the manifest does not have.
func (m *Mirror) clean(has map[string]bool) error {
	return fs.WalkDir(os.DirFS(m.Folder), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || has[name] || !filePath.MatchString(strings.TrimSuffix(name, ".part")) {
			return err
		}
		return os.Remove(filepath.Join(m.Folder, filepath.FromSlash(name)))
	})
}

func hashFile(name string) (sum string, n int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	hash := sha256.New()
	n, err = io.Copy(hash, f)
	return hex.EncodeToString(hash.Sum(nil)), n, err
}

func (m *Mirror) get(ctx context.Context, name string, from int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(m.URL, "/")+"/"+name, nil)
	if err != nil {
		return nil, fmt.Errorf("the data set's URL: %w", err)
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	c := m.HTTP
	if c == nil {
		c = http.DefaultClient
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent && resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		resp.Body.Close()
		return nil, fmt.Errorf("%s answers %s: is there a data set?", req.URL, resp.Status)
	}
	return resp, nil
}

func (m *Mirror) small(ctx context.Context, name string, most int64) ([]byte, error) {
	resp, err := m.get(ctx, name, 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has over %d bytes", name, most)
	}
	return b, err
}

// fetch goes on with what an earlier call left, and begins again if that does
// not lead to the right file.
func (m *Mirror) fetch(ctx context.Context, f File, name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	part := name + ".part"
	for {
		sum, have, err := hashFile(part)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if have == f.Size && sum == f.SHA256 {
			return os.Rename(part, name)
		}
		resumed := have > 0 && have < f.Size
		if !resumed {
			have = 0
		}
		if err := m.rest(ctx, f, part, have); err != nil {
			return err
		}
		if sum, n, err := hashFile(part); err != nil {
			return err
		} else if n == f.Size && sum == f.SHA256 {
			continue
		} else if !resumed {
			return errors.Join(fmt.Errorf("it has %d bytes and the SHA-256 %s, not %d and %s (was it replaced just now? then try again)", n, sum, f.Size, f.SHA256), os.Remove(part))
		}
		if err := os.Remove(part); err != nil {
			return err
		}
	}
}

func (m *Mirror) rest(ctx context.Context, f File, part string, have int64) (err error) {
	resp, err := m.get(ctx, f.Path, have)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	flags := os.O_CREATE | os.O_WRONLY
	if resp.StatusCode == http.StatusPartialContent {
		flags |= os.O_APPEND
	} else {
		flags |= os.O_TRUNC
		have = 0
	}
	out, err := os.OpenFile(part, flags, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return nil
	}
	if _, err := io.Copy(out, io.LimitReader(resp.Body, f.Size-have+1)); err != nil {
		return err
	}
	return out.Sync()
}
