// Package trust is the client of a repository of The Update Framework (TUF).
//
// A root of trust, the address of a repository and a folder arrive; files leave,
// which the repository's offline and online keys together vouch for. Who serves
// the repository, and who is between, need not be trusted: what they can do is
// withhold, and that becomes an error when the metadata expires.
//
// The work of deciding what is trusted is go-tuf's. This package adds what a
// server that must go on needs around it: the root metadata is kept as a chain
// from the one that was built in, so that a replaced file in the folder can't
// become a root; transfers have limits of size, time and speed; downloads are
// resumed, and tried at mirrors; no answer, however odd, panics.
package trust

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A Config says what to trust. Root, URL and Dir are needed.
type Config struct {
	// Root is the root metadata to begin with, as JSON.
	Root []byte
	// URL is where the metadata is; files are below URL/targets/.
	URL string
	// Mirrors are other such URLs, for files as well as metadata, asked in this
	// order when one before fails.
	Mirrors []string
	// Dir is a folder of the client's own, made if it is missing. It keeps the
	// metadata last seen, against rollbacks, and downloads under way.
	Dir string
	// HTTP sends requests; nil is http.DefaultClient.
	HTTP *http.Client
	// Now is the time against which expiry is checked; nil is time.Now.
	Now    func() time.Time
	Limits Limits
}

// Limits are on what a repository, or who claims to be it, may use of ours. Zero
// fields are the defaults.
type Limits struct {
	Metadata int64         // bytes of a metadata file: 4 MiB
	Target   int64         // bytes of a file: 1 GiB
	Refresh  time.Duration // of all metadata: 2 minutes
	// MinRate is the least bytes per second, over each Window, that a transfer
	// may have: 2048 over 20 s.
	MinRate int64
	Window  time.Duration
}

func (l Limits) or() Limits {
	l.Metadata = cmp.Or(l.Metadata, 4<<20)
	l.Target = cmp.Or(l.Target, 1<<30)
	l.Refresh = cmp.Or(l.Refresh, 2*time.Minute)
	l.MinRate = cmp.Or(l.MinRate, 2048)
	l.Window = cmp.Or(l.Window, 20*time.Second)
	return l
}

// Kinds of errors. Whatever is none of them is a failure to reach the repository
// or to use the folder.
var (
	// ErrSignatures: metadata is not signed by enough of the keys that may.
	ErrSignatures = errors.New("not signed by enough trusted keys")
	// ErrExpired: metadata is too old, as if someone withheld what is newer. The
	// clock of this machine may be wrong as well.
	ErrExpired = errors.New("expired metadata")
	// ErrRollback: metadata is older than what was seen, or than it should be.
	ErrRollback = errors.New("metadata of a wrong version")
	// ErrMismatch: a file or metadata has not the hash or size that is signed.
	ErrMismatch = errors.New("not the file that was signed")
	// ErrTooLarge: a transfer goes on after its end.
	ErrTooLarge = errors.New("larger than allowed")
	// ErrSlow: a transfer is too slow to ever end.
	ErrSlow = errors.New("too slow")
	// ErrMalformed: what came is not metadata.
	ErrMalformed = errors.New("malformed metadata")
	// ErrNoTarget: the repository vouches for no file of that name.
	ErrNoTarget = errors.New("no such target")
)

// A Client has one repository's trusted metadata. Its methods can be called at
// the same time; those that use metadata wait for each other.
type Client struct {
	c     Config
	urls  []string
	mu    sync.Mutex
	now   *session // nil before the first Refresh
	roots *chain
}

// A session is what one refresh from one URL led to.
type session struct {
	updater *updater.Updater
	fetcher *fetcher
}

// New reads what the folder knows; it asks nothing of the network.
func New(c Config) (*Client, error) {
	c.Limits = c.Limits.or()
	if c.HTTP == nil {
		c.HTTP = http.DefaultClient
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	var urls []string
	for _, u := range append([]string{c.URL}, c.Mirrors...) {
		if p, err := url.Parse(u); err != nil || p.Scheme != "http" && p.Scheme != "https" || p.Host == "" {
			return nil, fmt.Errorf("%q is no URL of a repository: it should begin with https://", u)
		}
		urls = append(urls, strings.TrimSuffix(u, "/"))
	}
	if err := os.MkdirAll(filepath.Join(c.Dir, "parts"), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the update repository: %w", err)
	}
	roots, err := openChain(c.Dir, c.Root)
	if err != nil {
		return nil, err
	}
	return &Client{c: c, urls: urls, roots: roots}, nil
}

// Refresh fetches what is new of the top-level metadata: a few kilobytes. After
// an error, the metadata known before stays in use until it expires.
func (c *Client) Refresh(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := c.limit(ctx)
	defer cancel()
	return c.each(ctx, func(*session) error { return nil })
}

func (c *Client) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, c.c.Limits.Refresh, fmt.Errorf("%w: it took longer than %v", ErrSlow, c.c.Limits.Refresh))
}

// each refreshes from one URL after the other until f succeeds too.
func (c *Client) each(ctx context.Context, f func(*session) error) error {
	var errs []error
	for _, u := range c.urls {
		s, err := c.refresh(ctx, u)
		if err == nil {
			c.now = s
			if err = f(s); err == nil || errors.Is(err, ErrNoTarget) {
				return err
			}
		}
		errs = append(errs, fmt.Errorf("from %s: %w", u, err))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (c *Client) refresh(ctx context.Context, u string) (*session, error) {
	f := &fetcher{client: c.c.HTTP, limits: c.c.Limits, ctx: ctx, roots: map[int64][]byte{}}
	cfg, err := config.New(u, c.roots.raw)
	if err != nil {
		return nil, fmt.Errorf("the repository's URL: %w", err)
	}
	cfg.LocalMetadataDir = filepath.Join(c.c.Dir, "metadata")
	cfg.LocalTargetsDir = filepath.Join(c.c.Dir, "parts")
	cfg.Fetcher = f
	cfg.TargetsMaxLength, cfg.SnapshotMaxLength = c.c.Limits.Metadata, c.c.Limits.Metadata
	cfg.RootMaxLength = min(cfg.RootMaxLength, c.c.Limits.Metadata)
	var up *updater.Updater
	err = guard(func() (err error) {
		if up, err = updater.New(cfg); err != nil {
			return err
		}
		up.UnsafeSetRefTime(c.c.Now())
		return up.Refresh()
	})
	if up != nil {
		// Roots that were followed stay followed, even if what they sign is not there.
		if kept := c.roots.keep(f.roots, up.GetTrustedMetadataSet().Root); kept != nil {
			err = errors.Join(err, kept)
		}
	}
	if err != nil {
		return nil, f.explain(err)
	}
	return &session{up, f}, nil
}

// A Target is a file that the repository vouches for.
type Target struct {
	Name   string
	Size   int64 // bytes
	SHA256 [32]byte
	Custom wire.TargetCustom
	path   string // below targets/
}

// Target finds a file by its name, in the metadata as of the last Refresh, which
// it does itself if there was none or its time is over. Its error is ErrNoTarget
// if there is no such file.
func (c *Client) Target(ctx context.Context, name string) (Target, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := c.limit(ctx)
	defer cancel()
	var t Target
	find := func(s *session) (err error) {
		s.fetcher.ctx = ctx
		t, err = c.find(s, name)
		return err
	}
	if c.now != nil && !c.now.updater.GetTrustedMetadataSet().Timestamp.Signed.IsExpired(c.c.Now()) {
		if err := find(c.now); err == nil || errors.Is(err, ErrNoTarget) {
			return t, err
		}
	}
	if err := c.each(ctx, find); err != nil {
		return Target{}, fmt.Errorf("finding %.200q: %w", name, err)
	}
	return t, nil
}

func (c *Client) find(s *session, name string) (Target, error) {
	var tf *metadata.TargetFiles
	s.updater.UnsafeSetRefTime(c.c.Now())
	err := guard(func() (err error) {
		tf, err = s.updater.GetTargetInfo(name)
		return err
	})
	if err != nil {
		// The library has no kind of error for this one.
		if err.Error() == "target "+name+" not found" {
			return Target{}, ErrNoTarget
		}
		return Target{}, s.fetcher.explain(err)
	}
	return newTarget(name, tf)
}

func newTarget(name string, tf *metadata.TargetFiles) (Target, error) {
	sum := tf.Hashes["sha256"]
	if len(sum) != sha256.Size || tf.Length < 0 {
		return Target{}, fmt.Errorf("%w: the target has no SHA-256", ErrMalformed)
	}
	t := Target{Name: name, Size: tf.Length, SHA256: [32]byte(sum)}
	if tf.Custom != nil {
		if err := json.Unmarshal(*tf.Custom, &t.Custom); err != nil {
			return Target{}, fmt.Errorf("%w: what is said of the target: %w", ErrMalformed, err)
		}
	}
	dir, base := path.Split(name)
	t.path = (&url.URL{Path: fmt.Sprintf("%s%x.%s", dir, t.SHA256, base)}).EscapedPath()
	return t, nil
}

// RootVersion is that of the newest root metadata that is trusted.
func (c *Client) RootVersion() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.roots.version
}

// guard turns a panic of f into an error: a bug in reading what strangers send
// must not end the server.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: reading it panics: %v", ErrMalformed, r)
		}
	}()
	return f()
}
