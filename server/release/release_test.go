package release_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/wire"
)

const plugin = "github.com/someone/plugin"

// A clock goes only where the test turns it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A server is a Service behind HTTP, with its first administrator's token.
type server struct {
	t     *testing.T
	db    *control.DB
	clock *clock
	*release.Service
	url, admin string
}

func start(t *testing.T, cfg release.Config) *server {
	t.Helper()
	s := &server{t: t, clock: &clock{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}}
	if cfg.DB == nil {
		var err error
		if cfg.DB, err = control.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "control.db")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cfg.DB.Close() })
	}
	s.db = cfg.DB
	if cfg.AdminTokenFile == "" {
		cfg.AdminTokenFile = filepath.Join(t.TempDir(), "admin.token")
	}
	cfg.Now, cfg.Pause = s.clock.Now, time.Microsecond
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	var err error
	if s.Service, err = release.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(cfg.AdminTokenFile); err == nil {
		s.admin = strings.TrimSpace(string(b))
	}
	mux := http.NewServeMux()
	s.Register(mux)
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	s.url = web.URL
	return s
}

// do sends a request and answers its status with its body or, of a problem,
// its detail.
func (s *server) do(r *http.Request, into any) (int, string) {
	s.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode >= 400 {
		var p wire.Problem
		if err := json.Unmarshal(body, &p); err != nil || p.Status != resp.StatusCode || resp.Header.Get("Content-Type") != wire.TypeProblem {
			s.t.Errorf("%s %s: %d without a problem document: %s", r.Method, r.URL, resp.StatusCode, body)
		}
		return resp.StatusCode, p.Title + ": " + p.Detail
	}
	if into != nil && resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, into); err != nil {
			s.t.Errorf("%s %s: %v in %s", r.Method, r.URL, err, body)
		}
	}
	return resp.StatusCode, string(body)
}

func (s *server) request(method, path string, body any) *http.Request {
	s.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	if method == http.MethodGet {
		b = nil
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	return r
}

// post asks for a change with a token.
func (s *server) post(token, path string, body, into any) (int, string) {
	s.t.Helper()
	r := s.request("POST", path, body)
	r.Header.Set("Authorization", "Bearer "+token)
	return s.do(r, into)
}

func (s *server) get(path string, into any) (int, string) {
	s.t.Helper()
	return s.do(s.request("GET", path, nil), into)
}

// ok fails the test if a change was refused.
func (s *server) ok(token, path string, body, into any) {
	s.t.Helper()
	if status, text := s.post(token, path, body, into); status != http.StatusOK {
		s.t.Fatalf("POST %s: %d %s", path, status, text)
	}
}

// refused fails the test if a change was not refused as it should be.
func (s *server) refused(status int, want, token, path string, body any) {
	s.t.Helper()
	if got, text := s.post(token, path, body, nil); got != status || !strings.Contains(text, want) {
		s.t.Errorf("POST %s %+v: %d %s; it should be %d and name %q", path, body, got, text, status, want)
	}
}

// maintainer grants somebody a role and answers their token.
func (s *server) maintainer(name, path string) string {
	s.t.Helper()
	token := release.NewToken()
	s.ok(s.admin, "/api/v1/releases/grant", release.GrantRequest{
		Principal: release.TokenPrincipal(token), Path: path, Role: release.RoleMaintainer, Name: name,
	}, nil)
	return token
}

func TestTag(t *testing.T) {
	s := start(t, release.Config{})
	ann := s.maintainer("ann", plugin)
	tag := release.Tag{
		Path: plugin, Version: "v1.2.3", Severity: wire.SeverityImportant, Notes: "Fixes\nit.", Links: []string{"https://example.com/x"},
		MinKernel: map[string]string{"linux": "3.2"}, Step: true,
	}
	before := s.Snapshot()
	var out release.Outcome
	s.ok(ann, "/api/v1/releases/tag", tag, &out)
	want := wire.Release{
		Path: plugin, Version: "v1.2.3", Severity: wire.SeverityImportant, Channel: wire.ChannelStable, Notes: "Fixes\nit.",
		Links: tag.Links, MinKernel: tag.MinKernel, Step: true, Tagged: true, By: "ann", Time: s.clock.Now(),
	}
	if diff := cmp.Diff(release.Outcome{Release: want}, out); diff != "" {
		t.Error("the answer (-want +got):\n" + diff)
	}
	if got, _ := s.Snapshot().Release(plugin, "v1.2.3"); cmp.Diff(want, got) != "" {
		t.Error("in the snapshot (-want +got):\n" + cmp.Diff(want, got))
	}
	if len(before.Releases(plugin)) != 0 || before.Generation() == s.Snapshot().Generation() {
		t.Error("the snapshot before has what came later, or its generation")
	}
	select {
	case <-before.Superseded():
	default:
		t.Error("the snapshot before does not say that there is another")
	}
	// Others are put in the order of versions, not of tagging.
	for _, v := range []string{"v1.10.0", "v1.9.0", "v2.0.0+incompatible", "v1.10.0-rc.1"} {
		s.ok(ann, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: v, Severity: wire.SeverityMinor}, nil)
	}
	var got []string
	for _, r := range s.Snapshot().Releases(plugin) {
		got = append(got, r.Version+" "+string(r.Channel))
	}
	if diff := cmp.Diff([]string{"v1.2.3 stable", "v1.9.0 stable", "v1.10.0-rc.1 beta", "v1.10.0 stable", "v2.0.0+incompatible stable"}, got); diff != "" {
		t.Error("in order (-want +got):\n" + diff)
	}
	// Another server with the same state has it all.
	other := start(t, release.Config{DB: s.db})
	if diff := cmp.Diff(s.Snapshot().Releases(plugin), other.Snapshot().Releases(plugin)); diff != "" {
		t.Error("another server (-want +got):\n" + diff)
	}
}

func TestTagRefuses(t *testing.T) {
	s := start(t, release.Config{})
	ann := s.maintainer("ann", plugin)
	good := release.Tag{Path: plugin, Version: "v1.2.3", Severity: wire.SeverityMinor}
	for want, change := range map[string]func(*release.Tag){
		"severity is": func(t *release.Tag) { t.Severity = "grave" },
		"severity":    func(t *release.Tag) { t.Severity = wire.SeverityUnrated },
		"version is":  func(t *release.Tag) { t.Version = "1.2.3" },
		"in full":     func(t *release.Tag) { t.Version = "v1.2" },
		"can't have":  func(t *release.Tag) { t.Version = "v2.0.0" },
		"path is":     func(t *release.Tag) { t.Path = "../../etc" },
		"toolchain":   func(t *release.Tag) { t.Path, t.Version = wire.Toolchain, "v1.26.0" },
		"channel is":  func(t *release.Tag) { t.Channel = "nightly" },
		"printed":     func(t *release.Tag) { t.Notes = "\x1b[31mred" },
		"at most":     func(t *release.Tag) { t.Notes = strings.Repeat("x", 17<<10) },
		"https":       func(t *release.Tag) { t.Links = []string{"javascript:alert(1)"} },
		"links":       func(t *release.Tag) { t.Links = make([]string, 21) },
		"min_kernel":  func(t *release.Tag) { t.MinKernel = map[string]string{"linux": "new"} },
		"maintainer of": func(t *release.Tag) {
			t.Path = wire.CaddyPath
			t.Version = "v2.11.9"
		},
	} {
		tag := good
		change(&tag)
		status := http.StatusUnprocessableEntity
		if want == "maintainer of" {
			status = http.StatusForbidden
		}
		s.refused(status, want, ann, "/api/v1/releases/tag", tag)
	}
	s.refused(http.StatusForbidden, "not known", release.NewToken(), "/api/v1/releases/tag", good)
	s.refused(http.StatusBadRequest, "severty", ann, "/api/v1/releases/tag", map[string]string{"severty": "minor"})
	s.refused(http.StatusRequestEntityTooLarge, "large", ann, "/api/v1/releases/tag", strings.Repeat("x", 70<<10))
	r := s.request("POST", "/api/v1/releases/tag", good)
	if status, text := s.do(r, nil); status != http.StatusUnauthorized || !strings.Contains(text, "Bearer") {
		t.Errorf("without a token: %d %s", status, text)
	}
	if got := s.Snapshot().Paths(); len(got) != 0 {
		t.Errorf("after refusals there are releases of %v", got)
	}
}

func TestTwoPeople(t *testing.T) {
	s := start(t, release.Config{TwoPeople: true})
	ann, bob, eve := s.maintainer("ann", plugin), s.maintainer("bob", plugin), s.maintainer("eve", "github.com/someone/other")
	critical := release.Tag{Path: plugin, Version: "v1.2.3", Severity: wire.SeverityCritical}
	var out release.Outcome
	s.ok(ann, "/api/v1/releases/tag", critical, &out)
	if out.Proposal == nil || out.Release.Path != "" || len(s.Snapshot().Releases(plugin)) != 0 {
		t.Fatalf("one person alone makes a release critical: %+v", out)
	}
	approve := release.ApproveRequest{Path: plugin, Version: "v1.2.3", Sum: out.Proposal.Sum}
	s.refused(http.StatusForbidden, "another person", ann, "/api/v1/releases/approve", approve)
	s.refused(http.StatusForbidden, "no maintainer", eve, "/api/v1/releases/approve", approve)
	// A second token of ann's is still ann.
	s.refused(http.StatusForbidden, "another person", s.maintainer("ann", plugin), "/api/v1/releases/approve", approve)

	// What bob saw is what counts: ann puts something else in its place.
	changed := critical
	changed.Notes = "another text"
	s.ok(ann, "/api/v1/releases/tag", changed, &out)
	s.refused(http.StatusConflict, "another one", bob, "/api/v1/releases/approve", approve)
	approve.Sum = s.Snapshot().Proposals()[0].Sum
	s.ok(bob, "/api/v1/releases/approve", approve, &out)
	want := wire.Release{
		Path: plugin, Version: "v1.2.3", Severity: wire.SeverityCritical, Channel: wire.ChannelStable, Notes: "another text",
		Tagged: true, By: "ann, bob", Time: s.clock.Now(),
	}
	if got, _ := s.Snapshot().Release(plugin, "v1.2.3"); cmp.Diff(want, got) != "" || len(s.Snapshot().Proposals()) != 0 {
		t.Error("approved (-want +got):\n" + cmp.Diff(want, got))
	}
	s.refused(http.StatusNotFound, "waits for approval", bob, "/api/v1/releases/approve", approve)

	// One alone can't take the weight from it either; what is not critical needs nobody.
	lesser := critical
	lesser.Severity = wire.SeverityMinor
	s.ok(bob, "/api/v1/releases/tag", lesser, &out)
	if got, _ := s.Snapshot().Release(plugin, "v1.2.3"); out.Proposal == nil || got.Severity != wire.SeverityCritical {
		t.Error("one person alone makes a critical release minor")
	}
	s.ok(ann, "/api/v1/releases/approve", release.ApproveRequest{Path: plugin, Version: "v1.2.3", Sum: out.Proposal.Sum, Reject: true}, nil)
	if len(s.Snapshot().Proposals()) != 0 {
		t.Error("a rejected proposal is still there")
	}
	lesser.Version = "v1.2.4"
	var at release.Outcome
	s.ok(bob, "/api/v1/releases/tag", lesser, &at)
	if at.Proposal != nil || at.Release.Severity != wire.SeverityMinor {
		t.Errorf("a minor release waits: %+v", at)
	}

	// Whoever lost the role proposed in vain.
	critical.Version = "v1.2.5"
	s.ok(ann, "/api/v1/releases/tag", critical, &out)
	s.ok(s.admin, "/api/v1/releases/revoke", release.RevokeRequest{Path: plugin, Who: "ann"}, nil)
	s.refused(http.StatusConflict, "no role any more", bob, "/api/v1/releases/approve", release.ApproveRequest{Path: plugin, Version: "v1.2.5", Sum: out.Proposal.Sum})
	s.refused(http.StatusForbidden, "not known", ann, "/api/v1/releases/tag", critical)
}

func TestYank(t *testing.T) {
	s := start(t, release.Config{TwoPeople: true})
	ann := s.maintainer("ann", plugin)
	yank := release.YankRequest{Path: plugin, Version: "v1.2.3", Reason: "loses data"}
	s.refused(http.StatusUnprocessableEntity, "reason", ann, "/api/v1/releases/yank", release.YankRequest{Path: plugin, Version: "v1.2.3"})
	s.ok(ann, "/api/v1/releases/yank", yank, nil)
	if got, _ := s.Snapshot().Release(plugin, "v1.2.3"); got.Yanked != "loses data" || got.Tagged {
		t.Errorf("withdrawn: %+v", got)
	}
	// A tag says what it is, not that it is good.
	s.ok(ann, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: "v1.2.3", Severity: wire.SeverityFeature}, nil)
	if got, _ := s.Snapshot().Release(plugin, "v1.2.3"); got.Yanked != "loses data" || !got.Tagged {
		t.Errorf("tagged after it was withdrawn: %+v", got)
	}
	yank.Restore, yank.Reason = true, "it was another version"
	s.ok(ann, "/api/v1/releases/yank", yank, nil)
	if got, _ := s.Snapshot().Release(plugin, "v1.2.3"); got.Yanked != "" || got.Severity != wire.SeverityFeature {
		t.Errorf("restored: %+v", got)
	}
	s.refused(http.StatusNotFound, "not withdrawn", ann, "/api/v1/releases/yank", yank)

	var shown release.ReleaseShown
	s.get("/api/v1/releases/show?path="+plugin+"&version=v1.2.3", &shown)
	var actions []string
	for _, c := range shown.History {
		actions = append(actions, c.By+" "+c.Action)
	}
	if diff := cmp.Diff([]string{"ann restore", "ann tag", "ann yank"}, actions); diff != "" {
		t.Error("its history (-want +got):\n" + diff)
	}
	if !strings.Contains(string(shown.History[0].Before), "loses data") || !strings.Contains(string(shown.History[0].After), "it was another version") {
		t.Errorf("the log does not say from what to what: %s to %s", shown.History[0].Before, shown.History[0].After)
	}
}

func TestRoles(t *testing.T) {
	s := start(t, release.Config{})
	grant := func(as, who, path, name string, role release.Role, status int, want string) {
		t.Helper()
		g := release.GrantRequest{Principal: release.TokenPrincipal(who), Path: path, Role: role, Name: name}
		if status == http.StatusOK {
			s.ok(as, "/api/v1/releases/grant", g, nil)
		} else {
			s.refused(status, want, as, "/api/v1/releases/grant", g)
		}
	}
	org, ann, eve := release.NewToken(), release.NewToken(), release.NewToken()
	grant(s.admin, org, "github.com/org/...", "org", release.RoleAdmin, http.StatusOK, "")
	grant(org, ann, "github.com/org/plugin", "ann", release.RoleMaintainer, http.StatusOK, "")
	grant(org, ann, "github.com/other/plugin", "ann", release.RoleMaintainer, http.StatusForbidden, "admin of")
	grant(org, ann, "*", "ann", release.RoleMaintainer, http.StatusForbidden, "admin of all")
	grant(org, ann, "github.com/organ", "ann", release.RoleMaintainer, http.StatusForbidden, "admin of")
	grant(org, ann, "github.com/...", "ann", release.RoleMaintainer, http.StatusForbidden, "admin of")
	grant(ann, eve, "github.com/org/plugin", "eve", release.RoleMaintainer, http.StatusForbidden, "admin of")
	// Nobody gets another's name, nor two names.
	grant(org, eve, "github.com/org/plugin", "ann", release.RoleMaintainer, http.StatusConflict, "of this name")
	grant(org, ann, "github.com/org/plugin", "bob", release.RoleMaintainer, http.StatusConflict, "belongs to")
	grant(s.admin, eve, "github.com/org/plugin", "ann", release.RoleMaintainer, http.StatusOK, "")
	grant(s.admin, eve, "github.com/org/plugin", "x\ny", release.RoleMaintainer, http.StatusUnprocessableEntity, "one line")
	grant(s.admin, eve, "github.com/org/plugin", "ann", "root", http.StatusUnprocessableEntity, "role is")
	s.refused(http.StatusUnprocessableEntity, "principal", s.admin, "/api/v1/releases/grant", release.GrantRequest{Principal: "token:" + release.NewToken(), Path: "*", Role: release.RoleAdmin, Name: "x"})

	tag := func(as, path string, status int) {
		t.Helper()
		if got, text := s.post(as, "/api/v1/releases/tag", release.Tag{Path: path, Version: "v0.1.0", Severity: wire.SeverityMinor}, nil); got != status {
			t.Errorf("tagging %s: %d %s, not %d", path, got, text, status)
		}
	}
	tag(ann, "github.com/org/plugin", http.StatusOK)
	tag(ann, "github.com/org/plugin/sub", http.StatusForbidden)
	tag(org, "github.com/org/anything", http.StatusOK)
	tag(org, "github.com/organ/anything", http.StatusForbidden)
	tag(s.admin, "example.com/anything", http.StatusOK)

	s.refused(http.StatusConflict, "last administrator", s.admin, "/api/v1/releases/revoke", release.RevokeRequest{Path: "*", Who: "admin"})
	s.refused(http.StatusNotFound, "no role", s.admin, "/api/v1/releases/revoke", release.RevokeRequest{Path: "*", Who: "ann"})
	s.ok(org, "/api/v1/releases/revoke", release.RevokeRequest{Path: "github.com/org/plugin", Who: release.TokenPrincipal(ann)}, nil)
	tag(ann, "github.com/org/plugin", http.StatusForbidden)
	tag(eve, "github.com/org/plugin", http.StatusOK)
	var gs []release.Grant
	s.ok(eve, "/api/v1/releases/roles", struct{}{}, &gs)
	var got []string
	for _, g := range gs {
		got = append(got, fmt.Sprintf("%s %s %s by %s", g.Name, g.Role, g.Path, g.By))
	}
	if diff := cmp.Diff(map[string]bool{"admin admin * by evergreen": true, "org admin github.com/org/... by admin": true, "ann maintainer github.com/org/plugin by admin": true}, set(got)); diff != "" {
		t.Error("roles (-want +got):\n" + diff)
	}
	// The token itself is nowhere.
	if _, text := s.get("/api/v1/releases/audit?limit=1000", nil); strings.Contains(text, ann) || strings.Contains(text, s.admin) {
		t.Error("the log has a token")
	}
}

func set(of []string) map[string]bool {
	m := map[string]bool{}
	for _, s := range of {
		m[s] = true
	}
	return m
}

func TestFirstAdmin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "admin.token")
	s := start(t, release.Config{AdminTokenFile: file})
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the token's file: %v, %v", info, err)
	}
	// A new start makes no other; nor does one after a crash before the role was kept.
	again := start(t, release.Config{AdminTokenFile: file, DB: s.db})
	crashed := start(t, release.Config{AdminTokenFile: file})
	for _, one := range []*server{again, crashed} {
		one.ok(s.admin, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: "v0.1.0", Severity: wire.SeverityMinor}, nil)
	}
	db, err := control.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := os.WriteFile(file, []byte("half\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := release.Open(t.Context(), release.Config{DB: db, AdminTokenFile: file}); err == nil || !strings.Contains(err.Error(), "no token") {
		t.Errorf("half a token gets %v", err)
	}
}

func TestSigned(t *testing.T) {
	s := start(t, release.Config{})
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.ok(s.admin, "/api/v1/releases/grant", release.GrantRequest{Principal: release.KeyPrincipal(pub), Path: plugin, Role: release.RoleMaintainer, Name: "ann"}, nil)
	type signing struct {
		path string
		at   time.Time
		body []byte
		p    wire.Purpose
	}
	send := func(change func(*signing, *http.Request)) (int, string) {
		t.Helper()
		r := s.request("POST", "/api/v1/releases/tag", release.Tag{Path: plugin, Version: "v1.2.3", Severity: wire.SeverityMinor})
		body, err := r.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		sg := signing{path: "/api/v1/releases/tag", at: s.clock.Now(), body: b, p: wire.PurposeChange}
		if change != nil {
			change(&sg, r)
		}
		at := strconv.FormatInt(sg.at.UnixMilli(), 10)
		r.Header.Set(wire.HeaderKey, hex.EncodeToString(pub))
		if r.Header.Get(wire.HeaderTime) == "" {
			r.Header.Set(wire.HeaderTime, at)
		}
		r.Header.Set(wire.HeaderSignature, hex.EncodeToString(wire.Sign(key, sg.p, wire.ChangeContent(sg.path, at, sg.body))))
		return s.do(r, nil)
	}
	for name, c := range map[string]struct {
		change func(*signing, *http.Request)
		want   string
	}{
		"another path":    {func(sg *signing, _ *http.Request) { sg.path = "/api/v1/releases/yank" }, "does not belong"},
		"another body":    {func(sg *signing, _ *http.Request) { sg.body = append(sg.body, ' ') }, "does not belong"},
		"another time":    {func(_ *signing, r *http.Request) { r.Header.Set(wire.HeaderTime, "1") }, "does not belong"},
		"another purpose": {func(sg *signing, _ *http.Request) { sg.p = wire.PurposeReport }, "does not belong"},
		"too old":         {func(sg *signing, _ *http.Request) { sg.at = sg.at.Add(-11 * time.Minute) }, "by your clock"},
		"of tomorrow":     {func(sg *signing, _ *http.Request) { sg.at = sg.at.Add(24 * time.Hour) }, "by your clock"},
	} {
		if status, text := send(c.change); status != http.StatusUnauthorized || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s, which should be 401 and name %q", name, status, text, c.want)
		}
	}
	if status, text := send(nil); status != http.StatusOK {
		t.Fatalf("a good one: %d %s", status, text)
	}
	if status, text := send(nil); status != http.StatusConflict || !strings.Contains(text, "done already") {
		t.Errorf("the same again: %d %s", status, text)
	}
	s.clock.add(time.Millisecond)
	if status, text := send(nil); status != http.StatusOK {
		t.Errorf("signed again: %d %s", status, text)
	}
	// Those that are too old to be obeyed are not kept.
	s.clock.add(time.Hour)
	if status, text := send(nil); status != http.StatusOK {
		t.Errorf("an hour later: %d %s", status, text)
	}
	var n int
	if err := s.db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRowContext(t.Context(), "SELECT count(*) FROM release_spent").Scan(&n)
	}); err != nil || n != 1 {
		t.Errorf("%d signatures are kept, not 1: %v", n, err)
	}
}

func TestAudit(t *testing.T) {
	s := start(t, release.Config{})
	ann := s.maintainer("ann", plugin)
	for i := range 5 {
		s.ok(ann, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: fmt.Sprintf("v0.%d.0", i), Severity: wire.SeverityMinor}, nil)
	}
	lines, sum, err := s.VerifyAudit(t.Context())
	if err != nil || lines != 7 || len(sum) != 64 { // two grants
		t.Fatalf("%d lines, %q, %v", lines, sum, err)
	}
	var all, page []string
	for next := int64(0); ; {
		var list release.AuditList
		query := "?limit=3"
		if next > 0 {
			query += fmt.Sprint("&before=", next)
		}
		if status, text := s.get("/api/v1/releases/audit"+query, &list); status != http.StatusOK {
			t.Fatal(status, text)
		}
		page = append(page, fmt.Sprint(len(list.Changes)))
		for _, c := range list.Changes {
			all = append(all, fmt.Sprintf("%d %s %s %s", c.N, c.By, c.Action, c.Subject))
		}
		if next = list.Next; next == 0 {
			break
		}
	}
	want := []string{"7 ann tag v0.4.0", "6 ann tag v0.3.0", "5 ann tag v0.2.0", "4 ann tag v0.1.0", "3 ann tag v0.0.0", "2 admin grant ann", "1 evergreen grant admin"}
	if diff := cmp.Diff(want, all); diff != "" || cmp.Diff([]string{"3", "3", "1"}, page) != "" {
		t.Errorf("in pages of %v (-want +got):\n%s", page, diff)
	}
	for _, c := range []struct{ sql, want string }{
		{"UPDATE release_audit SET who = 'bob' WHERE n = 4", "line 4"},
		{"UPDATE release_audit SET who = 'ann' WHERE n = 4", ""},
		{"DELETE FROM release_audit WHERE n = 3", "line 3"},
	} {
		if err := s.db.Tx(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), c.sql)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.VerifyAudit(t.Context()); (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("after %s: %v", c.sql, err)
		}
	}
}

// vulns is a small database: two of a plugin, one of them with a score, and
// one of the standard library.
func vulns(t *testing.T, asOf string) string {
	t.Helper()
	entry := func(id, module, fixed string) string {
		return fmt.Sprintf(`{"id": %q, "modified": "2026-08-02T00:00:00Z", "published": "2026-08-0%sT00:00:00Z", "aliases": ["CVE-%[1]s"], "summary": "of %[3]s",
			"affected": [{"package": {"name": %[3]q, "ecosystem": "Go"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": %[4]q}]}]}]}`, id, id[len(id)-1:], module, fixed)
	}
	file := filepath.Join(t.TempDir(), "vulndb.zip")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for name, body := range map[string]string{
		"index/db.json":        fmt.Sprintf(`{"modified": %q}`, asOf),
		"ID/GO-2026-0001.json": entry("GO-2026-0001", plugin, "1.2.3"),
		"ID/GO-2026-0002.json": entry("GO-2026-0002", plugin, "1.3.0"),
		"ID/GO-2026-0003.json": entry("GO-2026-0003", "stdlib", "1.26.4"),
	} {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSeverities(t *testing.T) {
	s := start(t, release.Config{Vulndb: vulns(t, "2026-08-21T00:00:00Z")})
	if got := s.Snapshot().AsOf(); !got.IsZero() || len(s.Snapshot().AdvisoriesFor(plugin)) != 0 {
		t.Errorf("before the database is read, it is of %v", got)
	}
	if err := s.RefreshAdvisories(t.Context()); err != nil {
		t.Fatal(err)
	}
	check := func(when string, want ...string) {
		t.Helper()
		var got []string
		for _, a := range s.Snapshot().RecentAdvisories("", "") {
			got = append(got, fmt.Sprint(a.ID[len(a.ID)-1:], " ", a.Severity, " ", a.Why))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		// Every way to them says the same.
		for _, path := range []string{plugin, wire.Stdlib} {
			for _, a := range s.Snapshot().AdvisoriesFor(path) {
				if diff := cmp.Diff([]wire.Advisory{a}, s.Snapshot().Advisory(a.Aliases[0])); diff != "" {
					t.Errorf("%s: by module and by alias (-want +got):\n%s", when, diff)
				}
			}
		}
	}
	tag := func(path, v string, severity wire.Severity) {
		t.Helper()
		s.ok(s.admin, "/api/v1/releases/tag", release.Tag{Path: path, Version: v, Severity: severity}, nil)
	}
	check("at first", "3 unrated unrated", "2 unrated unrated", "1 unrated unrated")
	tag(plugin, "v1.3.0", wire.SeverityFeature)
	check("a feature release that also fixes something", "3 unrated unrated", "2 unrated unrated", "1 unrated unrated")
	tag(plugin, "v1.2.3", wire.SeverityCritical)
	check("a critical release", "3 unrated unrated", "2 unrated unrated", "1 critical release")
	tag(wire.Toolchain, "go1.26.4", wire.SeverityImportant)
	check("an important toolchain", "3 important release", "2 unrated unrated", "1 critical release")
	override := release.OverrideRequest{ID: "CVE-GO-2026-0001", Severity: wire.SeverityMinor, Reason: "we don't use that"}
	s.ok(s.admin, "/api/v1/advisories/override", override, nil)
	check("an override, by alias", "3 important release", "2 unrated unrated", "1 minor override")
	var shown release.AdvisoryShown
	s.get("/api/v1/advisories/GO-2026-0001", &shown)
	want := &release.Override{ID: "GO-2026-0001", Severity: wire.SeverityMinor, Reason: "we don't use that", By: "admin", Time: s.clock.Now()}
	if diff := cmp.Diff(want, shown.Override); diff != "" || shown.Link != "https://pkg.go.dev/vuln/GO-2026-0001" {
		t.Errorf("shown with %q (-want +got):\n%s", shown.Link, diff)
	}
	override.Severity = ""
	s.ok(s.admin, "/api/v1/advisories/override", override, nil)
	s.ok(s.admin, "/api/v1/releases/yank", release.YankRequest{Path: wire.Toolchain, Version: "go1.26.4", Reason: "does not build"}, nil)
	check("taken back, and a release withdrawn", "3 unrated unrated", "2 unrated unrated", "1 critical release")

	override.ID, override.Severity = "GO-2026-0009", wire.SeverityMinor
	s.refused(http.StatusNotFound, "2026-08-21", s.admin, "/api/v1/advisories/override", override)
	override.ID, override.Severity = "GO-2026-0001", "grave"
	s.refused(http.StatusUnprocessableEntity, "severity is", s.admin, "/api/v1/advisories/override", override)
	override.Severity = wire.SeverityMinor
	s.refused(http.StatusForbidden, "admin of all", s.maintainer("ann", plugin), "/api/v1/advisories/override", override)

	before := s.Snapshot()
	if err := s.RefreshAdvisories(t.Context()); err != nil || s.Snapshot() != before {
		t.Errorf("the same database makes another snapshot: %v", err)
	}
}

func TestRead(t *testing.T) {
	s := start(t, release.Config{})
	for i, v := range []string{"v0.1.0", "v0.3.0", "v0.2.0"} {
		s.ok(s.admin, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: v, Severity: wire.Severities[i]}, nil)
		s.clock.add(time.Second)
	}
	s.ok(s.admin, "/api/v1/releases/tag", release.Tag{Path: "example.com/b", Version: "v1.0.0", Severity: wire.SeverityMinor}, nil)
	for query, want := range map[string][]string{
		"":                               {"example.com/b v1.0.0", plugin + " v0.2.0", plugin + " v0.3.0", plugin + " v0.1.0"},
		"?path=" + plugin:                {plugin + " v0.3.0", plugin + " v0.2.0", plugin + " v0.1.0"},
		"?severity=critical":             {plugin + " v0.1.0"},
		"?channel=beta":                  nil,
		"?limit=1":                       {"example.com/b v1.0.0"},
		"?path=" + plugin + "&limit=1":   {plugin + " v0.3.0"},
		"?path=example.com/none&limit=1": nil,
	} {
		var list release.ReleaseList
		if status, text := s.get("/api/v1/releases"+query, &list); status != http.StatusOK {
			t.Errorf("%s: %d %s", query, status, text)
		}
		var got []string
		for _, r := range list.Releases {
			got = append(got, r.Path+" "+r.Version)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	for path, want := range map[string]string{
		"/api/v1/releases?limit=0":                                 "400 a parameter is not understood: limit is",
		"/api/v1/releases?limt=3":                                  `400 a parameter is not understood: There is no parameter "limt". Did you mean "limit"?`,
		"/api/v1/releases?limit=3&limit=4":                         "400 a parameter is not understood: limit is given twice.",
		"/api/v1/releases?severity=grave":                          "400 a parameter is not understood: severity is",
		"/api/v1/releases/show?path=x":                             "404 there is nothing here: No release of",
		"/api/v1/releases/show?path=" + plugin + "&version=v9.9.9": "404 there is nothing here: " + plugin + " has no release \"v9.9.9\" that is known; the highest is v0.3.0.",
		"/api/v1/releases/audit?before=x":                          "400 a parameter is not understood: before is",
		"/api/v1/advisories/GO-1":                                  "404 there is nothing here: The database of vulnerabilities, of no date",
	} {
		if status, text := s.get(path, nil); !strings.HasPrefix(fmt.Sprint(status, " ", text), want) {
			t.Errorf("%s: %d %s, which should begin %s", path, status, text, want)
		}
	}
	// Asking again costs nothing until something changes.
	r := s.request("GET", "/api/v1/releases", nil)
	r.Header.Set("If-None-Match", `"`+s.Snapshot().Generation()+`"`)
	if status, _ := s.do(r, nil); status != http.StatusNotModified {
		t.Errorf("asked again: %d", status)
	}
	s.ok(s.admin, "/api/v1/releases/yank", release.YankRequest{Path: plugin, Version: "v0.1.0", Reason: "x"}, nil)
	if status, _ := s.do(r, nil); status != http.StatusOK {
		t.Errorf("asked again after a change: %d", status)
	}
}

// TestServersShare has two servers change the same releases at once: no change
// is lost, and each sees the other's.
func TestServersShare(t *testing.T) {
	a := start(t, release.Config{})
	b := start(t, release.Config{DB: a.db, AdminTokenFile: filepath.Join(t.TempDir(), "none")})
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	var wg sync.WaitGroup
	for i, s := range []*server{a, b} {
		wg.Go(func() {
			for n := range 10 {
				s.ok(a.admin, "/api/v1/releases/tag", release.Tag{Path: plugin, Version: fmt.Sprintf("v0.%d.%d", i, n), Severity: wire.SeverityMinor}, nil)
			}
		})
	}
	wg.Wait()
	// Each has its own at once; the other's when it next looks.
	for len(b.Snapshot().Releases(plugin)) < 20 {
		select {
		case <-b.Snapshot().Superseded():
		case <-t.Context().Done():
			t.Fatal("the other server's changes are never seen")
		}
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if lines, _, err := a.VerifyAudit(t.Context()); err != nil || lines != 21 {
		t.Errorf("the log has %d lines: %v", lines, err)
	}
}
