package evergreen

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-evergreen/evergreen/wire"
)

// The newest configuration's policy holds at once, and that of the one before
// again if the newest fails to start; one updater outlives them all, whatever
// becomes of telemetry.
func TestUpdatesFollowReloads(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	t.Setenv("EVERGREEN_UPDATES_SERVER", srv.URL)
	site := func(option string) map[string]any {
		_, c := newSite(t, option, `respond "fine"`)
		return c
	}
	want := func(when string, scope wire.Scope, off string) {
		t.Helper()
		if d := currentUpdatesInstance().Document(); d.Off != off || off == "" && d.Scope != scope {
			t.Errorf("%s: scope %q, off %q; want %q, %q", when, d.Scope, d.Off, scope, off)
		}
	}
	mustLoad(t, site("evergreen off\n updates all notify"))
	want("with telemetry off", wire.ScopeAll, "")
	u := currentUpdates()
	mustLoad(t, site("updates important notify"))
	want("reloaded", wire.ScopeImportant, "")
	if currentUpdates() != u {
		t.Error("a reload makes another updater")
	}
	for _, name := range []string{"caddy_evergreen_update_available", "caddy_evergreen_update_state", "caddy_evergreen_update_last_check_timestamp_seconds"} {
		if !slices.Contains(ours(t), name) {
			t.Errorf("Caddy's registry lacks %s", name)
		}
	}
	taken := adapt(t, "{\n updates all\n auto_https off\n}\nhttp://"+srv.Listener.Addr().String()+" {\n bind 127.0.0.1\n respond fine\n}\n")
	if err := load(t, taken); err == nil {
		t.Error("a configuration is loaded whose port is taken")
	}
	want("after one that failed", wire.ScopeImportant, "")
	mustLoad(t, site("updates none"))
	want("off", "", "updates none in the configuration")
	eventually(t, "the updater ends", func() bool { return currentUpdates() == nil })
	mustLoad(t, site("updates feature notify"))
	want("on again", wire.ScopeFeature, "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the updater ends with Caddy", func() bool { return currentUpdates() == nil })
}
