//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"log/slog"
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
