package updater

import (
	"strings"
	"testing"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A spec has this module beside the plugins; an executable without it would never
// update itself again.
func TestVouchedWithEvergreen(t *testing.T) {
	self := wire.Check{Build: wire.BuildList{Go: "go1.26.3", Modules: []wire.ModuleVersion{
		{Path: wire.EvergreenPath, Version: "devel", Plugin: true}, {Path: wire.CaddyPath, Version: "v2.11.3"}, {Path: "github.com/mholt/caddy-ratelimit", Version: "v0.1.0", Plugin: true},
	}}}
	for spec, want := range map[string]string{
		`{"go":"go1.26.3","caddy":"v2.11.9","evergreen":"v0.0.0-20260101000000-aaaaaaaaaaaa","plugins":[{"path":"github.com/mholt/caddy-ratelimit","version":"v0.1.0"}]}`: "",
		`{"go":"go1.26.3","caddy":"v2.11.9","plugins":[{"path":"github.com/mholt/caddy-ratelimit","version":"v0.1.0"}]}`:                                                  "lacks the plugin " + wire.EvergreenPath,
		`{"go":"go1.26.3","caddy":"v2.11.9","evergreen":"v0.1.0"}`:                                                                                                        "lacks the plugin github.com/mholt/caddy-ratelimit",
	} {
		err := acceptVouched(self, wire.TargetCustom{Kind: wire.TargetExecutable, Spec: []byte(spec)})
		if err == nil != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", spec, err, want)
		}
	}
}
