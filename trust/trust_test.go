package trust_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
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
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/caddy-evergreen/evergreen/trust"
)

// A repo is a small repository that is served on loopback: one key for all
// roles, and two targets in the top-level metadata. What attackers do to it is
// tested beside the server, in server/artifact.
type repo struct {
	t      testing.TB
	signer signature.Signer
	key    *metadata.Key
	url    string

	mu     sync.Mutex
	files  map[string][]byte
	asked  []string // names of files and the ranges of them
	handle func(w http.ResponseWriter, r *http.Request) bool
}

var executable = bytes.Repeat([]byte("an executable "), 5000)

func newRepo(t testing.TB) *repo {
	t.Helper()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	r := &repo{t: t, files: map[string][]byte{}}
	var err error
	if r.signer, err = signature.LoadSigner(private, crypto.Hash(0)); err != nil {
		t.Fatal(err)
	}
	if r.key, err = metadata.KeyFromPublicKey(private.Public()); err != nil {
		t.Fatal(err)
	}
	r.root(1, nil)
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	targets := metadata.Targets(expires)
	for name, content := range map[string][]byte{"caddy/linux amd64/caddy": executable, "empty": {}} {
		tf, err := metadata.TargetFile().FromBytes(name, content)
		if err != nil {
			t.Fatal(err)
		}
		targets.Signed.Targets[name] = tf
		dir, base := filepath.Split(name)
		r.files[fmt.Sprintf("targets/%s%x.%s", dir, sha256.Sum256(content), base)] = content
	}
	put(r, "1.targets.json", targets)
	put(r, "1.snapshot.json", metadata.Snapshot(expires))
	put(r, "timestamp.json", metadata.Timestamp(expires))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l)
	}()
	t.Cleanup(func() { s.Close(); <-done })
	r.url = "http://" + l.Addr().String()
	return r
}

func put[T metadata.Roles](r *repo, name string, m *metadata.Metadata[T]) {
	r.t.Helper()
	if _, err := m.Sign(r.signer); err != nil {
		r.t.Fatal(err)
	}
	b, err := m.ToBytes(false)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[name] = b
}

// root writes a version of the root metadata.
func (r *repo) root(version int64, change func(*metadata.RootType)) []byte {
	r.t.Helper()
	m := metadata.Root(time.Now().Add(time.Hour).UTC().Truncate(time.Second))
	m.Signed.Version = version
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		if err := m.Signed.AddKey(r.key, role); err != nil {
			r.t.Fatal(err)
		}
	}
	if change != nil {
		change(&m.Signed)
	}
	put(r, fmt.Sprintf("%d.root.json", version), m)
	return r.files[fmt.Sprintf("%d.root.json", version)]
}

func (r *repo) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	name := strings.TrimPrefix(req.URL.Path, "/")
	r.mu.Lock()
	b, ok := r.files[name]
	r.asked = append(r.asked, strings.TrimSpace(name+" "+req.Header.Get("Range")))
	handle := r.handle
	r.mu.Unlock()
	switch {
	case handle != nil && handle(w, req):
	case !ok:
		http.NotFound(w, req)
	default:
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(b))
	}
}

func (r *repo) took() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.asked
	r.asked = nil
	return a
}

func (r *repo) client(dir string) *trust.Client {
	r.t.Helper()
	c, err := trust.New(trust.Config{Root: r.files["1.root.json"], URL: r.url, Dir: dir})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

const name = "caddy/linux amd64/caddy"

func TestDownload(t *testing.T) {
	r := newRepo(t)
	c := r.client(t.TempDir())
	for name, want := range map[string][]byte{name: executable, "empty": {}} {
		target, err := c.Target(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "file")
		if err := c.Download(t.Context(), target, file); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if _, err := c.Target(t.Context(), "another"); !errors.Is(err, trust.ErrNoTarget) {
		t.Errorf("a target that is not there: %v", err)
	}
	r.took()
	if _, err := c.Target(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if asked := r.took(); len(asked) > 0 {
		t.Errorf("what is known is asked for again: %q", asked)
	}
}

// TestResume breaks a download off: the rest alone is asked for.
func TestResume(t *testing.T) {
	r := newRepo(t)
	dir := t.TempDir()
	target, err := r.client(dir).Target(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	r.handle = func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasPrefix(req.URL.Path, "/targets/") {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(executable)))
		w.Write(executable[:1000])
		return true // the server closes the connection: less came than was said
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := r.client(dir).Download(t.Context(), target, file); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("a download that breaks off: %v", err)
	}
	r.handle = nil
	r.took()
	if err := r.client(dir).Download(t.Context(), target, file); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("targets/caddy/linux amd64/%x.caddy", sha256.Sum256(executable))
	if d := cmp.Diff([]string{path + " bytes=1000-"}, r.took()); d != "" {
		t.Errorf("asked for (-want +got):\n%s", d)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, executable) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestResumeSpoilt goes on with what is not the beginning of the file, or at a
// server that knows no ranges: the whole is asked for.
func TestResumeSpoilt(t *testing.T) {
	for _, spoil := range []string{"wrong bytes", "too many bytes", "no ranges"} {
		t.Run(spoil, func(t *testing.T) {
			r := newRepo(t)
			dir := t.TempDir()
			c := r.client(dir)
			target, err := c.Target(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			part := executable[:2000]
			switch spoil {
			case "wrong bytes":
				part = bytes.Repeat([]byte("x"), 2000)
			case "too many bytes":
				part = append(bytes.Clone(executable), 'x')
			case "no ranges":
				r.handle = func(w http.ResponseWriter, req *http.Request) bool {
					req.Header.Del("Range")
					return false
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "parts", fmt.Sprintf("%x", target.SHA256)), part, 0o600); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "file")
			if err := c.Download(t.Context(), target, file); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, executable) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// TestChain follows the root's versions, and does so again from its folder.
func TestChain(t *testing.T) {
	r := newRepo(t)
	dir := t.TempDir()
	r.root(2, nil)
	r.root(3, nil)
	c := r.client(dir)
	if err := c.Refresh(t.Context()); err != nil || c.RootVersion() != 3 {
		t.Fatalf("version %d, %v", c.RootVersion(), err)
	}
	if v := r.client(dir).RootVersion(); v != 3 {
		t.Errorf("after a restart: version %d", v)
	}
	// Someone writes into the folder: no root comes from there that the chain does not have.
	evil := newRepo(t)
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	var err error
	if evil.signer, err = signature.LoadSigner(other, crypto.Hash(0)); err != nil {
		t.Fatal(err)
	}
	if evil.key, err = metadata.KeyFromPublicKey(other.Public()); err != nil {
		t.Fatal(err)
	}
	for _, v := range []int64{3, 4} {
		if err := os.WriteFile(filepath.Join(dir, "roots", fmt.Sprintf("%d.root.json", v)), evil.root(v, nil), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c = r.client(dir)
	if v := c.RootVersion(); v != 2 {
		t.Errorf("with another root in the folder: version %d", v)
	}
	if err := c.Refresh(t.Context()); err != nil || c.RootVersion() != 3 {
		t.Errorf("version %d, %v", c.RootVersion(), err)
	}
}

func TestConfig(t *testing.T) {
	r := newRepo(t)
	for name, c := range map[string]trust.Config{
		"no root":     {URL: r.url, Dir: t.TempDir()},
		"no URL":      {Root: r.files["1.root.json"], Dir: t.TempDir()},
		"another URL": {Root: r.files["1.root.json"], URL: "ftp://example.com", Dir: t.TempDir()},
		"bad root":    {Root: []byte("{}"), URL: r.url, Dir: t.TempDir()},
		"bad mirror":  {Root: r.files["1.root.json"], URL: r.url, Mirrors: []string{"nowhere"}, Dir: t.TempDir()},
	} {
		if _, err := trust.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestForbidden is an object store that forbids what it does not have.
func TestForbidden(t *testing.T) {
	r := newRepo(t)
	r.handle = func(w http.ResponseWriter, req *http.Request) bool {
		if _, ok := r.files[strings.TrimPrefix(req.URL.Path, "/")]; ok {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	}
	if err := r.client(t.TempDir()).Refresh(t.Context()); err != nil {
		t.Error(err)
	}
}

// FuzzRefresh has strangers answer: a file of metadata is anything. Nothing
// panics, and no target but the signed one comes out.
func FuzzRefresh(f *testing.F) {
	r := newRepo(f)
	names := []string{"2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"}
	for i, n := range names {
		f.Add(uint8(i), r.files[n])
	}
	f.Add(uint8(0), r.root(2, nil))
	delete(r.files, "2.root.json")
	f.Add(uint8(1), []byte(`{"signed":{"_type":"timestamp","meta":{"snapshot.json":null}},"signatures":[{"keyid":"a","sig":"00"}]}`))
	f.Add(uint8(3), []byte(`{"signed":{"_type":"targets","delegations":{"succinct_roles":{"bit_length":-1}}},"signatures":[]}`))
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		n := names[int(which)%len(names)]
		r.mu.Lock()
		r.handle = func(w http.ResponseWriter, req *http.Request) bool {
			if req.URL.Path != "/"+n {
				return false
			}
			w.Write(b)
			return true
		}
		r.asked = nil
		r.mu.Unlock()
		c, err := trust.New(trust.Config{Root: r.files["1.root.json"], URL: r.url, Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		target, err := c.Target(t.Context(), name)
		if err == nil && target.SHA256 != sha256.Sum256(executable) {
			t.Errorf("%s makes another target of it: %+v", n, target)
		}
	})
}
