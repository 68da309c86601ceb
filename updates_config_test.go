package evergreen

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"
)

func TestUpdatesJSON(t *testing.T) {
	for _, test := range []struct{ in, err string }{
		{`{}`, ""},
		{`{"updates":{}}`, ""},
		{`{"updates":{"scope":"all","mode":"install","check_interval":"6h","pins":{"a.example/b":"v1.0.0"},"watch":"1m"}}`, ""},
		{`{"updates":{"scop":"all"}}`, `updates: unknown option "scop": did you mean "scope"?`},
		{`{"updates":"all"}`, `updates: expected an object with the options scope, mode`},
		{`{"updates":{"scope":"much"}}`, `scope is "much"`},
		{`{"updates":{"mode":"maybe"}}`, `mode is "maybe": set notify or install`},
		{`{"updates":{"pins":{"a b":"v1"}}}`, `no path of a module`},
		{`{"updates":{"pins":{"toolchain":"go1.26.3"}}}`, ""},
		{`{"updates":{"check_interval":"1000h"}}`, `check_interval is 1000h0m0s`},
		{`{"updates":{"watch":"1s"}}`, `watch is 1s`},
	} {
		var c Config
		err := json.Unmarshal([]byte(test.in), &c)
		if err == nil {
			err = c.check()
		}
		if err == nil != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: error %v, want %q", test.in, err, test.err)
		}
	}
}

func TestUpdatesEnv(t *testing.T) {
	for _, test := range []struct {
		name string
		env  map[string]string
		want UpdatesConfig
		err  string
	}{
		{"nothing", nil, UpdatesConfig{}, ""},
		{"scope", map[string]string{"EVERGREEN_UPDATES": "all"}, UpdatesConfig{Scope: "all"}, ""},
		{"scope and mode", map[string]string{"EVERGREEN_UPDATES": "feature notify"}, UpdatesConfig{Scope: "feature", Mode: "notify"}, ""},
		{"off", map[string]string{"EVERGREEN_UPDATES": "OFF"}, UpdatesConfig{Scope: "none"}, ""},
		{"zero", map[string]string{"EVERGREEN_UPDATES": "0"}, UpdatesConfig{Scope: "none"}, ""},
		{"none", map[string]string{"EVERGREEN_UPDATES": "none"}, UpdatesConfig{Scope: "none"}, ""},
		{"unreadable", map[string]string{"EVERGREEN_UPDATES": "most"}, UpdatesConfig{Mode: "notify"}, `EVERGREEN_UPDATES: scope is "most"`},
		{
			"all of it", map[string]string{
				"EVERGREEN_UPDATES": "critical install", "EVERGREEN_UPDATES_CHANNEL": "beta", "EVERGREEN_UPDATES_CHECK_INTERVAL": "2h",
				"EVERGREEN_UPDATES_WINDOW": "Sun 02:00-05:00 UTC", "EVERGREEN_UPDATES_PINS": "a.example/b@v1.0.0, c.example/d@v2.0.0",
				"EVERGREEN_UPDATES_SERVER": "https://u.example", "EVERGREEN_ROOT": "/root.json", "EVERGREEN_UPDATES_WATCH": "90s",
			},
			UpdatesConfig{
				Scope: "critical", Mode: "install", Channel: "beta", CheckInterval: caddy.Duration(2 * time.Hour), Window: "Sun 02:00-05:00 UTC",
				Pins: map[string]string{"a.example/b": "v1.0.0", "c.example/d": "v2.0.0"}, Server: "https://u.example", Root: "/root.json",
				Watch: caddy.Duration(90 * time.Second),
			}, "",
		},
		{
			"some can't be read", map[string]string{"EVERGREEN_UPDATES": "all", "EVERGREEN_UPDATES_SERVER": "u.example", "EVERGREEN_UPDATES_PINS": "a.example/b"},
			UpdatesConfig{Scope: "all", Mode: "notify"}, "EVERGREEN_UPDATES_PINS: updates: pin:",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := updatesEnv(func(k string) string { return test.env[k] })
			if err == nil != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("what the environment says (-want +got):\n%s", diff)
			}
		})
	}
}
