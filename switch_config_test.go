package evergreen

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHelperConfig(t *testing.T) {
	got, err := helperConfig([]byte(`{
		"admin": {"listen": "localhost:2019", "identity": {"identifiers": ["a"]}},
		"logging": {"logs": {"default": {"level": "WARN"}}},
		"apps": {
			"http": {"http_port": 80, "servers": {
				"b": {"listen": [":443", "unix//run/caddy.sock|0222"], "routes": [{"match": [{"host": ["x"]}]}]},
				"a": {"listen": [":80"], "listener_wrappers": [{"wrapper": "proxy_protocol", "timeout": 9007199254740993}, {"wrapper": "tls"}, {"wrapper": "z"}]}
			}},
			"tls": {"automation": {}}
		}
	}`), helperRewrite{Sockets: "/run/s", Unix: map[string]int{"/run/caddy.sock": 7}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{
		"admin": {"disabled": true, "config": {"persist": false}},
		"logging": {"logs": {"default": {"level": "WARN"}}},
		"apps": {
			"evergreen": {},
			"http": {"http_port": 80, "servers": {
				"b": {"listen": [":443", "fd/7"], "routes": [{"match": [{"host": ["x"]}]}],
					"listener_wrappers": [{"wrapper": "evergreen_helper", "socket": "/run/s/1"}, {"wrapper": "tls"}]},
				"a": {"listen": [":80"], "listener_wrappers": [{"wrapper": "proxy_protocol", "timeout": 9007199254740993},
					{"wrapper": "evergreen_helper", "socket": "/run/s/0"}, {"wrapper": "tls"}, {"wrapper": "z"}]}
			}},
			"tls": {"automation": {}}
		}
	}`
	if diff := cmp.Diff(decoded(t, want), decoded(t, string(got))); diff != "" {
		t.Errorf("the helper's configuration (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(got), "9007199254740993") {
		t.Error("a large number came out as another one")
	}
}

func decoded(t *testing.T, s string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestHelperConfigRefuses(t *testing.T) {
	for _, bad := range []string{``, `[]`, `{"apps": []}`, `{"apps": {"http": 1}}`, `{"apps": {"http": {"servers": 1}}}`,
		`{"apps": {"http": {"servers": {"a": []}}}}`, `{"apps": {"http": {"servers": {"a": {"listen": "x"}}}}}`,
		`{"apps": {"http": {"servers": {"a": {"listen": [1]}}}}}`, `{"apps": {"http": {"servers": {"a": {"listener_wrappers": {}}}}}}`} {
		if got, err := helperConfig([]byte(bad), helperRewrite{Sockets: "/s"}); err == nil {
			t.Errorf("%s becomes %s", bad, got)
		}
	}
}

// Whatever the configuration: no admin endpoint, nothing saved, and what is
// there stays.
func FuzzHelperConfig(f *testing.F) {
	for _, s := range []string{`null`, `{}`, `{"apps":null}`, `{"apps":{"http":{"servers":{"a":{"listen":["unix//x"]},"b":null}}}}`,
		`{"admin":{"listen":"x"},"apps":{"evergreen":{"telemetry":"off"},"layer4":{"servers":{}}}}`, `{"apps":{"http":{"servers":{"":{"listener_wrappers":[{}]}}}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := helperConfig(b, helperRewrite{Sockets: "/s", Unix: map[string]int{"/x": 7}})
		if err != nil {
			return
		}
		var c struct {
			Admin struct {
				Disabled bool
				Config   struct{ Persist *bool }
			}
			Apps map[string]json.RawMessage
		}
		if err := json.Unmarshal(got, &c); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if !c.Admin.Disabled || c.Admin.Config.Persist == nil || *c.Admin.Config.Persist {
			t.Errorf("%s has an admin endpoint, or is saved", got)
		}
		if len(c.Apps["evergreen"]) == 0 {
			t.Errorf("%s lacks our app", got)
		}
		again, err := helperConfig(got, helperRewrite{})
		if err != nil || !sameJSON(got, again) {
			t.Errorf("%s becomes %s (%v) at the second time", got, again, err)
		}
	})
}

func TestSocketName(t *testing.T) {
	name := socketName("/run/s/12", 3, &net.TCPAddr{Port: 8443})
	if server, port, ok := parseSocketName(name); server != 12 || port != 8443 || !ok {
		t.Errorf("%s is read as server %d, port %d (%v)", name, server, port, ok)
	}
	for _, bad := range []string{"", "x", "1-2", "-1-2-3", "1-2-3x", "1-2-70000"} {
		if _, _, ok := parseSocketName(bad); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestHostsOf(t *testing.T) {
	got := hostsOf([]byte(`{"apps":{"http":{"servers":{
		"a":{"routes":[{"match":[{"host":["b.example","a.example"],"path":["/x"]},{"host":["a.example","*.example","{env.X}"]}]}]},
		"b":{"routes":[{"handle":[]}]},"c":{}}}}}`))
	want := map[string][]string{"a": {"a.example", "b.example"}, "b": {""}, "c": {""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sites (-want +got):\n%s", diff)
	}
}
