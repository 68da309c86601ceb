package evergreen

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"
)

// Options that are taken are also taken as they are written down again, and have
// nothing that a check would be refused for.
func FuzzUpdatesOptions(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"scope":"all","mode":"notify"}`, `{"check_interval":"6h","watch":"10m"}`, `{"window":"Sat,Sun 02:00-05:00 UTC"}`,
		`{"pins":{"github.com/mholt/caddy-ratelimit":"v0.1.0"}}`, `{"server":"https://u.example","root":"/r"}`, `[]`, `{"scope":1}`, `{"scop":"all"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var c UpdatesConfig
		if json.Unmarshal([]byte(in), &c) != nil || c.check() != nil {
			return
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var again UpdatesConfig
		if err := json.Unmarshal(b, &again); err != nil || again.check() != nil {
			t.Errorf("%s is taken, and %s is not: %v, %v", in, b, err, again.check())
		}
	})
}

// Whatever is in the environment, the policy is one that an operator can have,
// and one that can't be read never installs.
func FuzzUpdatesEnvironment(f *testing.F) {
	f.Add("all install", "a.example/b@v1.0.0", "Sun 02:00-05:00 UTC", "6h")
	f.Add("off", "", "", "")
	f.Add("most", "@", "never", "-1s")
	f.Fuzz(func(t *testing.T, updates, pins, window, every string) {
		c, err := updatesEnv(func(k string) string {
			return map[string]string{
				"EVERGREEN_UPDATES": updates, "EVERGREEN_UPDATES_PINS": pins, "EVERGREEN_UPDATES_WINDOW": window, "EVERGREEN_UPDATES_CHECK_INTERVAL": every,
			}[k]
		})
		if bad := c.check(); bad != nil {
			t.Errorf("it is %+v, which is refused: %v", c, bad)
		}
		if err != nil && c.Mode != modeNotify {
			t.Errorf("%v, and yet updates are installed: %+v", err, c)
		}
	})
}

func FuzzReadRequest(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"version":"v2.11.9"}`, `{"version":1}`, `{"version":"v1"}{}`, `null`, ` `} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var r applyRequest
		if err := readRequest(strings.NewReader(in), &r, "{}"); err == nil && len(in) > maxRequest {
			t.Errorf("%d bytes are taken", len(in))
		}
	})
}

func FuzzNotRestarted(f *testing.F) {
	f.Add("0::/system.slice/caddy.service\n", "[Service]\nRestart=no\n", "[Service]\nRestart=always\n")
	f.Add("0::/a/../../x.service\n", "[", "=")
	f.Fuzz(func(t *testing.T, cgroup, unit, dropin string) {
		got := notRestarted(fstest.MapFS{
			"proc/self/cgroup": {Data: []byte(cgroup)}, "etc/systemd/system/caddy.service": {Data: []byte(unit)},
			"etc/systemd/system/caddy.service.d/a.conf": {Data: []byte(dropin)},
		})
		if got != "" && got != "caddy.service" {
			t.Errorf("it names %q, which is no unit here", got)
		}
	})
}
