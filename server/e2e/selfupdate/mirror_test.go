//go:build e2e && linux

package selfupdate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/trust"
	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A mirror stands between a Caddy and the update service, and changes what goes
// through it.
type mirror struct {
	*httptest.Server
	asks    atomic.Pointer[func(*http.Request)]
	answers atomic.Pointer[func(*http.Response) error]
}

func newMirror(t *testing.T, s *service) *mirror {
	t.Helper()
	to, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Set("Accept-Encoding", "identity")
			if f := m.asks.Load(); f != nil {
				(*f)(r.Out)
			}
		},
		ModifyResponse: func(r *http.Response) error {
			if f := m.answers.Load(); f != nil {
				return (*f)(r)
			}
			return nil
		},
	}
	m.Server = httptest.NewServer(proxy)
	t.Cleanup(m.Close)
	return m
}

// body has a function change what is answered to a path.
func (m *mirror) body(path *regexp.Regexp, change func(b []byte, h http.Header) []byte) {
	f := func(r *http.Response) error {
		if !path.MatchString(r.Request.URL.Path) || r.StatusCode >= 300 {
			return nil
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		b = change(b, r.Header)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		r.Header.Set("Content-Length", strconv.Itoa(len(b)))
		return nil
	}
	m.answers.Store(&f)
}

func (m *mirror) honest() { m.answers.Store(nil) }

var (
	metadata = regexp.MustCompile(`^/tuf/(timestamp\.json|\d+\.[a-z0-9_-]+\.json)$`)
	targets  = regexp.MustCompile(`^/tuf/targets/`)
	check    = regexp.MustCompile(`^` + wire.PathCheck + `$`)
)

// behind starts a Caddy that has an update whose mirror is m.
func behind(t *testing.T, s *service, m *mirror, l testbed.Launch, exe string) *testbed.Caddy {
	t.Helper()
	root := filepath.Join(s.Dir, "data", "tuf", "1.root.json")
	return loadedWith(t, l, exe, testbed.LoadSiteConfig{
		Globals: []string{fmt.Sprintf("\tupdates critical install {\n\t\twatch 10s\n\t\tserver %s\n\t\troot %s\n\t}", m.URL, root)},
		Lines:   []string{"badplugin"},
	})
}

// TestE2EBadWays has a good update come by a bad way, or to a bad place: it
// isn't installed, Caddy serves on, and when the way is good, it is installed.
func TestE2EBadWays(t *testing.T) {
	s := theUpdates(t)
	before, after := s.before(t), s.after(t)
	root, err := os.ReadFile(filepath.Join(s.Dir, "data", "tuf", "1.root.json"))
	if err != nil {
		t.Fatal(err)
	}
	type way struct {
		name   string
		bad    func(t *testing.T, m *mirror)
		launch testbed.Launch
		causes []updater.Cause // of an attempt that fails; nil: it succeeds all the same
		stays  bool            // it is never installed
		exe    *order          // nil: before
	}
	for _, w := range []way{
		{name: "wrong signature", causes: []updater.Cause{updater.CauseSignature}, bad: func(t *testing.T, m *mirror) {
			m.body(metadata, func(b []byte, _ http.Header) []byte { return forged(t, b) })
		}},
		{name: "another executable", causes: []updater.Cause{updater.CauseMismatch, updater.CauseSignature}, bad: func(_ *testing.T, m *mirror) {
			m.body(targets, func(b []byte, _ http.Header) []byte {
				b[len(b)/2] ^= 1
				return b
			})
		}},
		{name: "truncated, and called whole", causes: []updater.Cause{updater.CauseMismatch, updater.CauseNetwork, updater.CauseSignature}, bad: func(_ *testing.T, m *mirror) {
			m.body(targets, func(b []byte, _ http.Header) []byte { return b[:len(b)/3] })
		}},
		{name: "broken off three times", bad: func(_ *testing.T, m *mirror) {
			var n atomic.Int32
			f := func(r *http.Response) error {
				if targets.MatchString(r.Request.URL.Path) && r.ContentLength > 4096 && n.Add(1) <= 3 {
					r.Body = &brokenOff{r.Body, r.ContentLength / 3}
				}
				return nil
			}
			m.answers.Store(&f)
		}},
		{name: "stale mirror", causes: []updater.Cause{updater.CauseSignature, updater.CauseMismatch, updater.CauseService}, bad: func(_ *testing.T, m *mirror) {
			m.body(regexp.MustCompile(`^/tuf/timestamp\.json$`), func([]byte, http.Header) []byte { return s.stale })
		}},
		{name: "older", stays: true, exe: after, causes: []updater.Cause{updater.CauseOlder}, bad: func(t *testing.T, m *mirror) {
			// The answer says that it is newer; what is signed of it tells.
			target := targetOf(t, s, before, root)
			answer, err := json.Marshal(wire.Answer{NeedsUpdate: true, Target: &target, Plan: &wire.Plan{
				Build: *before.answer.List, Severity: wire.SeverityCritical,
				Changes: []wire.Change{{Path: badPath, From: s.first[badPath], To: s.next[badPath], Kind: wire.ChangePlugin,
					Reasons: []wire.Reason{{Kind: "release", ID: s.next[badPath], Severity: wire.SeverityCritical}}}},
			}, RetryAfter: 3600})
			if err != nil {
				t.Fatal(err)
			}
			m.body(check, func([]byte, http.Header) []byte { return answer })
		}},
		{name: "needs a newer kernel", stays: true, causes: []updater.Cause{updater.CauseKernel}, bad: func(_ *testing.T, m *mirror) {
			// The service would not offer it to this kernel.
			f := func(r *http.Request) {
				if !check.MatchString(r.URL.Path) {
					return
				}
				b, err := io.ReadAll(r.Body)
				var c wire.Check
				if err == nil && json.Unmarshal(b, &c) == nil {
					c.System.Kernel = "99.1.0"
					b, _ = json.Marshal(c)
				}
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
				r.Header.Set("Content-Length", strconv.Itoa(len(b)))
			}
			m.asks.Store(&f)
		}},
		{name: "fills the disk", stays: true, causes: []updater.Cause{updater.CauseSpace}, bad: func(*testing.T, *mirror) {},
			launch: testbed.Launch{Prepare: func(cmd *exec.Cmd) error {
				updates := filepath.Join(cmd.Dir, "data", "caddy", "evergreen", "updates")
				if err := os.MkdirAll(updates, 0o700); err != nil {
					return err
				}
				return through(cmd, "unshare", "--mount", "--", "sh", "-c", `mount -t tmpfs -o size=40m tmpfs "$0" && exec "$@"`, updates)
			}}},
	} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, s)
			exe := before
			if w.exe != nil {
				exe = w.exe
			}
			caddy := behind(t, s, m, w.launch, exe.copied(t))
			load := send(t, caddy, galleryLoads)
			w.bad(t, m)
			began := time.Now()
			do(t, caddy, "apply")
			o := ended(t, caddy, began)
			if w.causes == nil {
				if o.State != updater.Healthy {
					t.Errorf("it ended as %s of %q: %s", o.State, o.Cause, o.Why)
				}
				lostNothing(t, load.Stop())
				return
			}
			if o.State != updater.Failed || !slices.Contains(w.causes, o.Cause) {
				t.Errorf("it ended as %s of %q: %s", o.State, o.Cause, o.Why)
			}
			if slot, err := runs(caddy); err != nil || slot != "" {
				t.Errorf("slot %q runs (%v)", slot, err)
			}
			logged(t, caddy, o)
			if !w.stays {
				m.honest()
				began := time.Now()
				do(t, caddy, "apply")
				if o := ended(t, caddy, began); o.State != updater.Healthy {
					t.Errorf("by a good way it ended as %s: %s", o.State, o.Why)
				}
			}
			all := load.Stop()
			t.Logf("| %s | %s while %s | %d of %d |", w.name, o.State, o.Step, all.Failed(), all.Requests())
			lostNothing(t, all)
		})
	}
}

// forged changes each signature of a metadata file.
func forged(t *testing.T, b []byte) []byte {
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Errorf("metadata: %v", err)
		return b
	}
	if signed, ok := m["signed"].(map[string]any); ok && signed["_type"] == "root" {
		return b // else there is another reason
	}
	signatures, _ := m["signatures"].([]any)
	for _, s := range signatures {
		if s, ok := s.(map[string]any); ok {
			sig := []byte(fmt.Sprint(s["sig"]))
			sig[0] = "0123456789abcdef"[(strings.IndexByte("0123456789abcdef", sig[0])+1)%16]
			s["sig"] = string(sig)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Error(err)
	}
	return b
}

// brokenOff is a body whose connection breaks.
type brokenOff struct {
	io.ReadCloser
	left int64
}

func (b *brokenOff) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// targetOf finds what was ordered in the signed metadata.
func targetOf(t *testing.T, s *service, o *order, root []byte) wire.Target {
	t.Helper()
	c, err := trust.New(trust.Config{Root: root, URL: s.URL() + strings.TrimSuffix(wire.PathTUF, "/"), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	// All files of it have the name of the attestation, but for the end.
	name := strings.TrimSuffix(o.answer.Attestation[strings.Index(o.answer.Attestation, "targets/")+len("targets/"):], ".provenance.json")
	dir, base := filepath.Split(name)
	if _, rest, ok := strings.Cut(base, "."); ok && len(base)-len(rest) == 65 {
		base = rest // without the hash of a consistent snapshot
	}
	target := wire.Target{Name: dir + base, SHA256: o.answer.SHA256, Size: o.answer.Size}
	found, err := c.Target(t.Context(), target.Name)
	if err != nil {
		t.Fatal(err)
	}
	target.Files = []wire.TargetFile{{Name: found.Name, SHA256: o.answer.SHA256, Size: o.answer.Size}}
	return target
}

// TestE2EServiceGone has no service to ask: Caddy starts, serves, and doesn't
// fill its log with that.
func TestE2EServiceGone(t *testing.T) {
	t.Parallel()
	s := theUpdates(t)
	m := newMirror(t, s)
	m.Close()
	c := behind(t, s, m, testbed.Launch{}, s.before(t).copied(t))
	load := send(t, c, galleryLoads)
	var why string
	eventually(t, "waiting for a check to fail", func() error {
		st, err := status(t.Context(), c)
		if err == nil && st.CheckError == "" {
			err = fmt.Errorf("it is %s, and asks at %s", st.State, st.NextCheck)
		}
		why = st.CheckError
		return err
	})
	text := asLogged(t, why)
	eventually(t, "waiting for the log to say so", func() error {
		if !strings.Contains(c.Log(), text) {
			return fmt.Errorf("it has not %q", text)
		}
		return nil
	})
	lines := 0
	for line := range strings.Lines(c.Log()) {
		if strings.Contains(line, text) {
			lines++
		}
	}
	if lines != 1 {
		t.Errorf("the log says %d times: %s", lines, text)
	}
	lostNothing(t, load.Stop())
}

// TestE2ETwoCaddys has two Caddys of one data directory: one updates itself, the
// other one doesn't, and says so once.
func TestE2ETwoCaddys(t *testing.T) {
	t.Parallel()
	s := theUpdates(t)
	exe := s.before(t).copied(t)
	a := loadedWith(t, testbed.Launch{}, exe, gallerySite("10s"))
	b := loadedWith(t, testbed.Launch{Prepare: func(cmd *exec.Cmd) error {
		data := filepath.Join(cmd.Dir, "data")
		return errors.Join(os.Remove(data), os.Symlink(filepath.Join(a.Dir, "data"), data))
	}}, exe, gallerySite("10s"))
	var problem string
	eventually(t, "waiting for the second one to see the first", func() error {
		st, err := status(t.Context(), b)
		if err == nil && st.Problem == "" {
			err = fmt.Errorf("it is %s", st.State)
		}
		problem = st.Problem
		return err
	})
	if !strings.Contains(problem, strconv.Itoa(a.PID())) {
		t.Errorf("it does not name process %d: %s", a.PID(), problem)
	}
	load := send(t, b, galleryLoads)
	began := time.Now()
	do(t, a, "apply")
	if o := ended(t, a, began); o.State != updater.Healthy {
		t.Errorf("the first one ended as %s: %s", o.State, o.Why)
	}
	lostNothing(t, load.Stop())
	if slot, err := runs(b); err != nil || slot != "" {
		t.Errorf("the second one runs %q (%v)", slot, err)
	}
	if err := b.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := a.WaitForCertificate(t.Context(), rootsOf(t, a)); err != nil {
		t.Errorf("the first one after the second ended: %v", err)
	}
}
