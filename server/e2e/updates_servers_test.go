//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/rollout"
	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestE2EUpdatesServers has two servers share a control state in PostgreSQL:
// what a maintainer says to one, both answer by, also when one was killed.
func TestE2EUpdatesServers(t *testing.T) {
	where, database := startPostgres(t)(t), advisories(t)
	start := func() *updateServer {
		s := &updateServer{server: newServer(t)}
		var err error
		s.Config, err = json.Marshal(map[string]any{
			"roles": []string{"updates"}, "updates": map[string]any{"control": where, "advisories": database},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			s.Kill()
			if t.Failed() {
				t.Logf("the log of %s:\n%s", s.Addr, s.LogTail(40))
			}
		})
		return s
	}
	a := start()
	token, err := os.ReadFile(filepath.Join(a.Dir, "data", "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	b := start()
	a.Token, b.Token = strings.TrimSpace(string(token)), strings.TrimSpace(string(token))

	check := wire.Check{
		Build:  wire.BuildList{Go: runtime.Version(), Modules: []wire.ModuleVersion{{Path: wire.CaddyPath, Version: "v2.11.3"}}},
		System: wire.System{OS: "linux", Arch: "amd64"}, Scope: wire.ScopeCritical, Channel: wire.ChannelStable,
	}
	both := func(needs bool, held string) {
		t.Helper()
		for _, s := range []*updateServer{a, b} {
			eventually(t, 2*time.Minute, func() error {
				id := wire.InstanceID{1, 2, 3}
				c := updater.Client{Service: s.URL(), Instance: &id}
				got, _, err := c.Check(t.Context(), check)
				if err == nil && (got.NeedsUpdate != needs || !strings.Contains(got.Held, held) || held == "" && got.Held != "") {
					err = fmt.Errorf("%s: needs an update %v, held %q", s.Addr, got.NeedsUpdate, got.Held)
				}
				return err
			})
		}
	}
	both(false, "") // nobody has rated the advisory
	var next, o rollout.Rollout
	a.maintain(t, &next, "rollout", "create", wire.CaddyPath+"@v2.11.9", "0%")
	a.maintain(t, &o, "rollout", "create", wire.CaddyPath+"@v2.11.8", "0%")
	b.maintain(t, nil, "release", "tag", wire.CaddyPath+"@v2.11.8", "--severity", "critical")
	both(false, "its rollout has reached 0 % of instances")
	b.maintain(t, nil, "rollout", "ramp", o.ID, "100%")
	both(true, "")
	a.Kill()
	b.maintain(t, nil, "rollout", "pause", o.ID)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	both(false, "its rollout is paused")
	a.maintain(t, &o, "rollout", "status", o.ID)
	var did []string
	for _, e := range o.History {
		did = append(did, e.What)
	}
	if got := strings.Join(did, " "); got != "create ramp pause" {
		t.Errorf("the history is %q", got)
	}
	for _, s := range []*updateServer{a, b} {
		resp, err := http.Get(s.URL() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s says %s", s.Addr, resp.Status)
		}
	}
}
