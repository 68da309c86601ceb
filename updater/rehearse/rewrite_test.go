package rehearse

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// countingPorts are 20001, 20002, …
func countingPorts() func(int) ([]int, error) {
	last := 20000
	return func(n int) (ports []int, err error) {
		for range n {
			last++
			ports = append(ports, last)
		}
		return ports, nil
	}
}

func rewriting() Rewriting {
	return Rewriting{DataDir: "/data/caddy", Sockets: "/scratch/s", Ports: countingPorts(), Loopbacks: 250}
}

// rewritten is the configuration to start with, as the value below a path of keys.
func rewritten(t *testing.T, live string, r Rewriting, path ...string) any {
	t.Helper()
	w, err := Rewrite([]byte(live), r)
	if err != nil {
		t.Fatal(err)
	}
	return at(t, w.Run, path...)
}

func at(t *testing.T, b []byte, path ...string) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

func value(t *testing.T, s string) any { t.Helper(); return at(t, []byte(s)) }

func TestRewriteListeners(t *testing.T) {
	t.Setenv("REHEARSE_PORT", "8090")
	// Ports in order: those that stand for none, then 80, 443 and the others.
	for _, c := range []struct{ name, servers, want string }{
		{"all addresses", `"s":{"listen":[":443"]}`, `"s":{"listen":["127.0.0.1:20002"]}`},
		{"plain", `"s":{"listen":[":80"]}`, `"s":{"listen":["127.0.0.1:20001"]}`},
		{"equal ports of two addresses", `"a":{"listen":["10.0.0.1:443"]},"b":{"listen":["10.0.0.2:443",":8080"]}`,
			`"a":{"listen":["127.0.0.2:20002"]},"b":{"listen":["127.0.0.3:20002","127.0.0.1:20003"]}`},
		{"IPv6", `"s":{"listen":["[::1]:443","tcp6/[::]:443"]}`, `"s":{"listen":["127.0.0.2:20002","127.0.0.1:20002"]}`},
		{"a range", `"s":{"listen":[":8001-8003"]}`, `"s":{"listen":["127.0.0.1:20003","127.0.0.1:20004","127.0.0.1:20005"]}`},
		{"a range with protocols", `"s":{"listen":[":8001-8002",":443"],"listen_protocols":[["h1"],null]}`,
			`"s":{"listen":["127.0.0.1:20003","127.0.0.1:20004","127.0.0.1:20002"],"listen_protocols":[["h1"],["h1"],null]}`},
		{"UDP", `"s":{"listen":["udp/:443"]}`, `"s":{"listen":["udp/127.0.0.1:20002"]}`},
		{"a socket", `"s":{"listen":["unix//run/caddy.sock|0222"]}`, `"s":{"listen":["unix//scratch/s/0|0600"]}`},
		{"an abstract socket", `"s":{"listen":["unix/@caddy"]}`, `"s":{"listen":["unix//scratch/s/0|0600"]}`},
		{"a descriptor", `"s":{"listen":["fd/3","fdgram/4"]}`, `"s":{"listen":["127.0.0.1:20002","udp/127.0.0.1:20001"]}`},
		{"a plugin's network", `"s":{"listen":["tailscale/host:443"]}`, `"s":{"listen":["127.0.0.1:20001"]}`},
		{"any port", `"s":{"listen":[":0","localhost"]}`, `"s":{"listen":["127.0.0.1:20002","127.0.0.1:20001"]}`},
		{"the environment", `"s":{"listen":[":{env.REHEARSE_PORT}"]}`, `"s":{"listen":["127.0.0.1:20003"]}`},
		{"no regard to case", `"s":{"Listen":[":443"]}`, `"s":{"listen":["127.0.0.1:20002"]}`},
		{"none", `"s":{}`, `"s":{}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := rewritten(t, `{"apps":{"http":{"servers":{`+c.servers+`}}}}`, rewriting(), "apps", "http", "servers")
			if d := cmp.Diff(value(t, `{`+c.want+`}`), got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRewriteRefuses(t *testing.T) {
	for _, c := range []struct{ live, want string }{
		{``, "reading the running configuration"},
		{`null`, errNoConfig.Error()},
		{`{}{}`, "there is more after it"},
		{`{"apps":{"http":{"servers":{"s":{"listen":":80"}}}}}`, "listen is no list"},
		{`{"apps":{"http":{"servers":{"s":{"listen":[80]}}}}}`, "a listener is no text"},
		{`{"apps":{"http":{"servers":{"s":{"listen":[":http"]}}}}}`, "its port is no number"},
		{`{"apps":{"http":{"servers":{"s":{"listen":[":1-9999"]}}}}}`, "more than 64 ports"},
		{`{"apps":{"http":{"servers":{"s":{"listen":[":{file./port}"]}}}}}`, "not known here"},
		{`{"apps":{"http":{"servers":{"s":{"listen":[":80",":81"],"listen_protocols":[null]}}}}}`, "protocols for 1"},
		{`{"apps":{"http":{"http_port":"80"}}}`, "http_port is no number"},
		{`{"apps":{"http":{"https_port":99999}}}`, "https_port is no port"},
	} {
		_, err := Rewrite([]byte(c.live), rewriting())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, without %q", c.live, err, c.want)
		}
	}
	r := rewriting()
	r.Loopbacks = 1
	if _, err := Rewrite([]byte(`{"apps":{"http":{"servers":{"s":{"listen":["10.0.0.1:80","10.0.0.2:80"]}}}}}`), r); err == nil {
		t.Error("two addresses went to one")
	}
}

const liveConfig = `{
	"admin": {"listen": "localhost:2019", "identity": {"identifiers": ["a.example"]}},
	"logging": {"logs": {
		"default": {"writer": {"output": "file", "filename": "/var/log/caddy.log"}, "encoder": {"format": "console"}},
		"access": {"Writer": {"output": "net", "address": "logs.example:1"}, "include": ["http.log.access"]}
	}},
	"storage": {"module": "redis", "host": "storage.example"},
	"apps": {
		"http": {
			"https_port": 8443,
			"shutdown_delay": "10s",
			"servers": {"srv0": {
				"listen": [":8443"],
				"logs": {"default_logger_name": "access"},
				"routes": [{"handle": [{"handler": "cache", "storage": {"type": "none"}, "Storage": {"module": "unknown"}}]}]
			}}
		},
		"tls": {
			"certificates": {"load_storage": {"pairs": [], "storage": {"module": "file_system", "root": "/certs"}}},
			"automation": {
				"on_demand": {"ask": "http://localhost:5555/ask"},
				"policies": [
					{"subjects": ["a.example"], "issuers": [{"module": "acme", "email": "a@a.example"}, {"module": "internal"}], "storage": {"module": "redis"}},
					{"on_demand": true}
				]
			},
			"encrypted_client_hello": {"configs": [{"public_name": "ech.example"}]}
		},
		"pki": {"certificate_authorities": {"corp": {"install_trust": true, "storage": {"module": "redis"}}}},
		"events": {"subscriptions": [{"handlers": [{"handler": "exec", "command": "ls"}]}]},
		"layer4": {"servers": {"x": {"listen": ["udp/:53", ":5000-5001"]}, "y": {"listen": [":443"]}}},
		"dynamic_dns": {"dns_provider": {"name": "example"}}
	}
}`

func TestRewriteWhole(t *testing.T) {
	r := rewriting()
	r.Storage = []string{"file_system", "redis"}
	r.Keep = func(app string) bool { return app != "dynamic_dns" }
	w, err := Rewrite([]byte(liveConfig), r)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"dynamic_dns"}, w.Left); d != "" {
		t.Error(d)
	}
	redis := `{"module":"evergreen_rehearsal","real":{"module":"redis"}}`
	storage := `{"module":"evergreen_rehearsal","real":{"module":"redis","host":"storage.example"}}`
	admin := `{"disabled":true,"config":{"persist":false}}`
	files := `{"load_storage":{"pairs":[],"storage":{"module":"evergreen_rehearsal","real":{"module":"file_system","root":"/certs"}}}}`
	routes := `[{"handle":[{"handler":"cache","storage":{"type":"none"},"Storage":{"module":"unknown"}}]}]`

	// What is validated is what runs, but for files.
	want := `{
		"admin": ` + admin + `,
		"logging": {"logs": {
			"default": {"writer": {"output": "discard"}, "encoder": {"format": "console"}},
			"access": {"writer": {"output": "discard"}, "include": ["http.log.access"]}
		}},
		"storage": ` + storage + `,
		"apps": {
			"http": {
				"https_port": 8443,
				"shutdown_delay": "10s",
				"servers": {"srv0": {"listen": [":8443"], "logs": {"default_logger_name": "access"}, "routes": ` + routes + `}}
			},
			"tls": {
				"certificates": ` + files + `,
				"automation": {
					"on_demand": {"ask": "http://localhost:5555/ask"},
					"policies": [
						{"subjects": ["a.example"], "issuers": [{"module": "acme", "email": "a@a.example"}, {"module": "internal"}], "storage": ` + redis + `},
						{"on_demand": true}
					]
				},
				"encrypted_client_hello": {"configs": [{"public_name": "ech.example"}]}
			},
			"pki": {"certificate_authorities": {"corp": {"install_trust": true, "storage": ` + redis + `}}},
			"events": {"subscriptions": [{"handlers": [{"handler": "exec", "command": "ls"}]}]},
			"layer4": {"servers": {"x": {"listen": ["udp/:53", ":5000-5001"]}, "y": {"listen": [":443"]}}},
			"dynamic_dns": {"dns_provider": {"name": "example"}}
		}
	}`
	if d := cmp.Diff(value(t, want), at(t, w.Validate)); d != "" {
		t.Errorf("to validate: %s", d)
	}

	// 80 → 20001, 443 → 20003, 53 → 20001…: in order 53, 80, 443, 5000, 5001, 8443.
	want = `{
		"admin": ` + admin + `,
		"logging": {"logs": {"default": {"writer": {"output": "stderr"}, "encoder": {"format": "json"}, "level": "INFO"}}},
		"storage": ` + storage + `,
		"apps": {
			"http": {
				"http_port": 20002, "https_port": 20006,
				"servers": {"srv0": {"listen": ["127.0.0.1:20006"], "routes": ` + routes + `}}
			},
			"tls": {
				"disable_ocsp_stapling": true, "disable_storage_check": true, "disable_storage_clean": true,
				"certificates": ` + files + `,
				"automation": {
					"on_demand": {"permission": {"module": "evergreen_rehearsal"}},
					"policies": [
						{"subjects": ["a.example"], "disable_ocsp_stapling": true, "issuers": [
							{"module": "evergreen_rehearsal", "real": {"module": "acme", "email": "a@a.example"}},
							{"module": "evergreen_rehearsal", "real": {"module": "internal"}}
						], "storage": ` + redis + `},
						{"on_demand": true, "disable_ocsp_stapling": true}
					]
				}
			},
			"pki": {"certificate_authorities": {"local": {"install_trust": false}, "corp": {"install_trust": false, "storage": ` + redis + `}}},
			"events": {},
			"layer4": {"servers": {"x": {"listen": ["udp/127.0.0.1:20001", "127.0.0.1:20004"]}, "y": {"listen": ["127.0.0.1:20003"]}}}
		}
	}`
	if d := cmp.Diff(value(t, want), at(t, w.Run)); d != "" {
		t.Errorf("to run: %s", d)
	}
	if d := cmp.Diff([]int{20001, 20002, 20003, 20004, 20005, 20006}, w.Ports); d != "" {
		t.Error(d)
	}
	var got []string
	for _, l := range w.listeners {
		got = append(got, l.running.String()+" "+l.candidate.String())
	}
	// The second is automatic HTTPS's.
	if d := cmp.Diff([]string{"127.0.0.1:8443 127.0.0.1:20006", "127.0.0.1:80 127.0.0.1:20002"}, got); d != "" {
		t.Error(d)
	}
}

// TestLongSocketPath has a folder too deep for a socket: it goes to a port.
func TestLongSocketPath(t *testing.T) {
	r := rewriting()
	r.Sockets = "/" + strings.Repeat("x", 100)
	got := rewritten(t, `{"apps":{"http":{"servers":{"s":{"listen":["unix//run/caddy.sock"]}}}}}`, r, "apps", "http", "servers", "s", "listen")
	if d := cmp.Diff([]any{"127.0.0.1:20001"}, got); d != "" {
		t.Error(d)
	}
}

// FuzzRewrite: any input gives an error, or JSON that Caddy would read so that
// all of its servers listen on loopback or below the sockets' folder.
func FuzzRewrite(f *testing.F) {
	f.Add([]byte(liveConfig))
	for _, s := range []string{
		`{}`, `null`, `[]`, `{"apps":null}`, `{"apps":{"http":{"servers":{"a":null}}}}`,
		`{"Apps":{"http":{"ServerS":{"a":{"LISTEN":["0.0.0.0:1","unix/@x","fd/3"],"lısten":[":1"]}}}}}`,
		`{"apps":{"http":{"servers":{"a":{"listen":[":80"],"listen_protocols":[["h2c"]]}}},"x":{"listen":":1"}}}`,
		`{"apps":{"http":{"http_port":1e3,"servers":{"a":{"listen":["a/b/c:1","[::1%eth0]:2",":3-4"]}}}}}`,
		`{"storage":{"module":"x"},"apps":{"tls":{"automation":{"policies":[1,{"issuers":[null]}],"on_demand":7}}}}`,
		`{"logging":{"logs":{"a":{"writer":1}},"sink":{"WRITER":{}}},"admin":{"listen":":1"},"ADMIN":{}}`,
	} {
		f.Add([]byte(s))
	}
	sockets := f.TempDir()
	f.Fuzz(func(t *testing.T, live []byte) {
		r := rewriting()
		r.Sockets = sockets
		if len(sockets) > 80 {
			r.Sockets = "/s"
		}
		w, err := Rewrite(live, r)
		if err != nil {
			return
		}
		for _, b := range [][]byte{w.Validate, w.Run} {
			var c struct {
				Admin struct {
					Disabled bool `json:"disabled"`
					Listen   any  `json:"listen"`
				} `json:"admin"`
				Storage struct {
					Module string `json:"module"`
				} `json:"storage"`
			}
			if err := json.Unmarshal(b, &c); err != nil {
				t.Fatalf("%v: %s", err, b)
			}
			if !c.Admin.Disabled || c.Admin.Listen != nil || c.Storage.Module != storageModule {
				t.Fatalf("it has an admin API or its own storage: %s", b)
			}
		}
		// As Caddy does: apps by name, the app and its servers without regard to case.
		var c struct {
			Apps map[string]json.RawMessage `json:"apps"`
		}
		var http struct {
			Servers map[string]*struct {
				Listen []string `json:"listen"`
			} `json:"servers"`
		}
		if json.Unmarshal(w.Run, &c) != nil || json.Unmarshal(c.Apps["http"], &http) != nil {
			return // Caddy refuses it
		}
		for name, srv := range http.Servers {
			if srv == nil {
				continue
			}
			for _, l := range srv.Listen {
				if !harmless(l, r.Sockets) {
					t.Errorf("server %q listens on %q: %s", name, l, w.Run)
				}
			}
		}
	})
}

func harmless(listen, sockets string) bool {
	if path, ok := strings.CutPrefix(listen, "unix/"); ok {
		return strings.HasPrefix(path, sockets+string(filepath.Separator)) && !strings.Contains(path, "..")
	}
	ap, err := netip.ParseAddrPort(strings.TrimPrefix(listen, "udp/"))
	return err == nil && ap.Addr().IsLoopback() && ap.Port() > 20000
}

func FuzzParseListen(f *testing.F) {
	for _, s := range []string{":80", "udp/:1-3", "unix//a|0222", "fd/3", "[::1]:443", "localhost", "a/b/c", ":", "", "::1", ":-", "[", "tcp/ :8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		all, err := parseListen(s)
		if err != nil {
			return
		}
		if len(all) == 0 || len(all) > maxRange {
			t.Fatalf("%q has %d addresses", s, len(all))
		}
		if !slices.IsSortedFunc(all, func(a, b address) int { return a.port - b.port }) {
			t.Errorf("%q: %v", s, all)
		}
		for _, a := range all {
			_, _ = a.running()
		}
	})
}

func TestMain(m *testing.M) {
	if os.Getenv(candidateVariable) != "" {
		candidate(os.Args[1:])
		return
	}
	if orders := os.Getenv(rehearserVariable); orders != "" {
		rehearser(orders)
		return
	}
	os.Exit(m.Run())
}
