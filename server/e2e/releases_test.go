//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/wire"
)

// openReleases opens a service of releases at a place for control state.
func openReleases(t *testing.T, where string, cfg release.Config) *release.Service {
	t.Helper()
	var err error
	if cfg.DB, err = control.Open(t.Context(), where); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cfg.DB.Close() })
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := release.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestE2EReleasesInPostgres has two servers share releases in PostgreSQL: what
// both change at once is all there, in one order, and critical tags need two
// people on whichever server.
func TestE2EReleasesInPostgres(t *testing.T) {
	where := startPostgres(t)(t)
	file := filepath.Join(t.TempDir(), "admin.token")
	a := openReleases(t, where, release.Config{AdminTokenFile: file, TwoPeople: true})
	b := openReleases(t, where, release.Config{AdminTokenFile: file, TwoPeople: true})
	token, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	admin := release.Credential{Principal: release.TokenPrincipal(strings.TrimSpace(string(token)))}
	ctx := t.Context()
	bob := release.Credential{Principal: release.TokenPrincipal(release.NewToken())}
	if _, err := b.Grant(ctx, admin, release.Grant{Principal: bob.Principal, Path: "example.com/...", Role: release.RoleMaintainer, Name: "bob"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i, s := range []*release.Service{a, b} {
		for j := range 2 {
			wg.Go(func() {
				for n := range 5 {
					tag := release.Tag{Path: "example.com/m", Version: fmt.Sprintf("v0.%d.%d", 2*i+j, n), Severity: wire.SeverityMinor}
					if _, err := s.Tag(ctx, bob, tag); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	out, err := a.Tag(ctx, bob, release.Tag{Path: "example.com/m", Version: "v1.0.0", Severity: wire.SeverityCritical})
	if err != nil || out.Proposal == nil {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, err := b.Approve(ctx, bob, "example.com/m", "v1.0.0", out.Proposal.Sum, false); err == nil {
		t.Error("one approves one's own tag on the other server")
	}
	if _, err := b.Approve(ctx, admin, "example.com/m", "v1.0.0", out.Proposal.Sum, false); err != nil {
		t.Error(err)
	}
	if n := len(b.Snapshot().Releases("example.com/m")); n != 21 {
		t.Errorf("%d releases are there, not 21", n)
	}
	if lines, _, err := a.VerifyAudit(ctx); err != nil || lines != 24 { // 2 grants, 20 tags, 1 proposal, 1 approval
		t.Errorf("the log has %d lines: %v", lines, err)
	}
}

// running are what an instance runs.
type running []wire.ModuleVersion

func (r running) Modules(context.Context) ([]wire.ModuleVersion, error) { return r, nil }

// TestE2EReleasesFromProxy asks the module proxy that `go` uses here.
func TestE2EReleasesFromProxy(t *testing.T) {
	goproxy, err := exec.Command("go", "env", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	proxy := release.ProxyOf(strings.TrimSpace(string(goproxy)))
	if proxy == "" {
		t.Fatalf("GOPROXY is %s, which names no proxy", goproxy)
	}
	const cloudflare = "github.com/caddy-dns/cloudflare"
	s := openReleases(t, "sqlite:"+filepath.Join(t.TempDir(), "control.db"), release.Config{
		Proxy: proxy, Private: wire.EvergreenPath, Pause: 50 * time.Millisecond,
		Modules: running{{Path: wire.CaddyPath, Version: "v2.11.3"}, {Path: cloudflare, Version: "v0.2.0"}, {Path: "golang.org/x/net", Version: "v0.53.0"}},
	})
	if err := s.PollDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for path, version := range map[string]string{wire.CaddyPath: "v2.11.8", cloudflare: "v0.2.1", wire.Toolchain: "go1.26.11", "golang.org/x/net": "v0.54.0"} {
		r, _ := s.Snapshot().Release(path, version)
		got[path] = r.Version + " " + string(r.Severity)
	}
	want := map[string]string{
		wire.CaddyPath: "v2.11.8 minor", cloudflare: "v0.2.1 minor", wire.Toolchain: "go1.26.11 minor", "golang.org/x/net": "v0.54.0 feature",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("found (-want +got):\n" + diff)
	}
	for _, path := range s.Snapshot().Paths() {
		rs := s.Snapshot().Releases(path)
		t.Logf("%s: %d releases, the highest %s", path, len(rs), rs[len(rs)-1].Version)
	}
}

// TestE2EReleasesServed has maintainers use the program against a server that
// is killed again and again: what was answered is kept, the log is whole, and
// the pages show it.
func TestE2EReleasesServed(t *testing.T) {
	s := newServer(t, append([]string{"GOPROXY=off"}, shortTiming...)...)
	config := map[string]any{"roles": []string{"collect", "dashboard", "updates"}, "updates": map[string]any{"two_people": true}}
	vulns, err := filepath.Abs("../../../shared/data/vulndb/vulndb.zip")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(vulns); err == nil {
		config["updates"].(map[string]any)["advisories"] = vulns
	} else {
		vulns = ""
	}
	if s.Config, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Kill() })
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), evergreen, args...)
		cmd.Env = append(os.Environ(), "EVERGREEN_SERVER="+s.URL())
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := run(args...)
		if err != nil {
			t.Fatalf("evergreen %v: %v\n%s", args, err, out)
		}
		return out
	}
	key, admin := filepath.Join(s.Dir, "ann.key"), filepath.Join(s.Dir, "data", "admin-token")
	public := strings.TrimSpace(must("release", "key", key))
	must("release", "grant", "example.com/m", "--name", "ann", "--public-key", public, "--token-file", admin)

	answered := 0 // tags: v0.0.0, v0.0.1, …
	for range 5 {
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			time.Sleep(rand.N(200 * time.Millisecond))
			s.Kill()
		}()
		for {
			if _, err := run("release", "tag", fmt.Sprintf("example.com/m@v0.0.%d", answered), "--severity", "minor", "--key", key); err != nil {
				break
			}
			answered++
		}
		<-killed
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		must("release", "log", "--verify")
		var list release.ReleaseList
		if err := json.Unmarshal([]byte(must("release", "list", "example.com/m", "--json", "--limit", "1000")), &list); err != nil {
			t.Fatal(err)
		}
		// The one that was asked for last may have been kept without an answer.
		if n := len(list.Releases); n != answered && n != answered+1 {
			t.Fatalf("%d tags were answered, %d releases are there", answered, n)
		}
		answered = len(list.Releases)
	}
	t.Logf("%d tags over 5 kills", answered)

	must("release", "tag", "example.com/m@v1.0.0", "--severity", "critical", "--notes", "Read this.", "--key", key)
	shown := must("release", "approve", "example.com/m@v1.0.0")
	_, sum, ok := strings.Cut(strings.TrimSpace(shown), "--sum ")
	if !ok {
		t.Fatalf("there is no sum in\n%s", shown)
	}
	must("release", "approve", "example.com/m@v1.0.0", "--sum", sum, "--token-file", admin)
	page, err := s.Get(t.Context(), "/releases?severity=critical")
	if err != nil || !strings.Contains(string(page), "Read this.") || !strings.Contains(string(page), "ann, admin") {
		t.Errorf("the page of critical releases lacks it: %v\n%s", err, page)
	}
	if vulns != "" {
		eventually(t, time.Minute, func() error {
			page, err := s.Get(t.Context(), "/advisories?module=github.com%2Fcaddyserver%2Fcaddy%2Fv2")
			if err == nil && !strings.Contains(string(page), "GO-2026-5346") {
				err = fmt.Errorf("the page of advisories lacks GO-2026-5346: %s", page)
			}
			return err
		})
	}
	s.stop(t)
}
