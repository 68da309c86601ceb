package inventory

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

func adapt(t testing.TB, caddyfile string) []byte {
	t.Helper()
	b, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// described are the facts that a configuration alone decides.
func described(t testing.TB, config []byte) *wire.Facts {
	t.Helper()
	f := new(wire.Facts)
	New(t.TempDir(), nil).describe(f, config)
	return f
}

func TestDescribe(t *testing.T) {
	const manyUses = `{
	metrics
	email someone@caddy.community
	servers {
		listener_wrappers {
			proxy_protocol
			tls
		}
		protocols h1 h2 h2c
		trusted_proxies static private_ranges
	}
	on_demand_tls {
		ask http://localhost:9123/ask
	}
	log default {
		output file /var/log/x.log
		format filter {
			wrap json
			fields {
				request>remote_ip ip_mask
			}
		}
	}
}
*.caddy.community, caddy.community {
	log
	encode zstd gzip
	tls {
		on_demand
		client_auth {
			mode require
		}
	}
	@static not path /api/*
	handle @static {
		root * /srv
		templates
		file_server {
			precompressed br
		}
	}
	handle_path /app/* {
		php_fastcgi unix//run/php.sock
	}
	reverse_proxy /api/* localhost:8080 {
		lb_policy cookie {
			fallback round_robin
		}
		dynamic a backend 80
		transport http {
			tls_insecure_skip_verify
		}
	}
	basic_auth /admin/* {
		bob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
	}
	handle_errors {
		respond "{err.status_code}"
	}
}
`
	for name, test := range map[string]struct {
		config []byte
		want   *wire.Facts
	}{
		"nothing":     {nil, &wire.Facts{}},
		"empty":       {[]byte(`{}`), &wire.Facts{Deployment: "unknown"}},
		"not JSON":    {[]byte(`{`), &wire.Facts{}},
		"other types": {[]byte(`{"apps":{"http":{"servers":[1],"http_port":"x"},"tls":7},"logging":"y"}`), &wire.Facts{Deployment: "unknown", Features: []string{"http", "tls"}}},
		"stock Caddyfile": {adapt(t, ":80 {\n\troot * /usr/share/caddy\n\tfile_server\n}\n"), &wire.Facts{
			Servers: 1, Listeners: 1, Protocols: []string{"h1"}, Deployment: "unknown",
			Features: []string{"http", "http.handlers.file_server", "http.handlers.vars"},
		}},
		"a site and its alias": {adapt(t, "caddy.community, www.caddy.community {\n\trespond hello\n}\nhttp://caddy.community:8080 {\n\trespond plain\n}\n"), &wire.Facts{
			Servers: 2, Listeners: 2, Sites: 2, Protocols: []string{"h1", "h2", "h3"}, Deployment: "production",
			Features: []string{"automatic_https", "https_redirects", "http", "http.handlers.static_response", "http.handlers.subroute", "http.matchers.host"},
		}},
		"localhost": {adapt(t, "localhost {\n\trespond hello\n}\n"), &wire.Facts{
			Servers: 1, Listeners: 1, Sites: 1, Protocols: []string{"h1", "h2", "h3"}, Deployment: "local",
			Features: []string{"automatic_https", "internal_issuer", "https_redirects", "http", "http.handlers.static_response", "http.handlers.subroute", "http.matchers.host"},
		}},
		"many uses": {adapt(t, manyUses), &wire.Facts{
			Servers: 1, Listeners: 1, Sites: 2, Protocols: []string{"h1", "h2", "h2c"}, Deployment: "production",
			Features: []string{
				"on_demand_tls", "automatic_https", "client_auth", "https_redirects", "wildcard_site", "access_log", "metrics", "h2c",
				"caddy.listeners.proxy_protocol", "caddy.listeners.tls", "caddy.logging.encoders.filter", "caddy.logging.encoders.filter.ip_mask",
				"caddy.logging.encoders.json", "caddy.logging.writers.file", "http", "http.authentication.hashes.bcrypt", "http.authentication.providers.http_basic",
				"http.encoders.gzip", "http.encoders.zstd", "http.handlers.authentication", "http.handlers.encode", "http.handlers.file_server",
				"http.handlers.reverse_proxy", "http.handlers.rewrite", "http.handlers.static_response", "http.handlers.subroute", "http.handlers.templates",
				"http.handlers.vars", "http.ip_sources.static", "http.matchers.file", "http.matchers.host", "http.matchers.not", "http.matchers.path",
				"http.precompressed.br", "http.reverse_proxy.selection_policies.cookie", "http.reverse_proxy.selection_policies.round_robin",
				"http.reverse_proxy.transport.fastcgi", "http.reverse_proxy.transport.http", "http.reverse_proxy.upstreams.a", "tls",
				"tls.handshake_match.sni", "tls.issuance.acme", "tls.permission.http",
			},
		}},
		"listeners": {[]byte(`{"apps":{"http":{"http_port":8080,"servers":{
			"a":{"listen":[":8080"],"routes":[{"match":[{"host":["A.Community.","a.community","{env.X}"]}]}]},
			"b":{"listen":[":9000-9004","tcp/:9443",":9443","unix//run/x.sock|0200"],"protocols":["h1","h9"],"tls_connection_policies":[{}]},
			"c":{"listen":["{env.ADDRESS}"],"logs":{},"automatic_https":{"disable":true}},
			"d":null}}}}`), &wire.Facts{
			Servers: 3, Listeners: 10, Sites: 2, Protocols: []string{"other", "h1"}, Deployment: "production",
			Features: []string{"access_log", "unix_socket_listener", "http", "http.matchers.host"},
		}},
		"DNS challenge, ECH, storage": {[]byte(`{"storage":{"module":"file_system","root":"x"},"apps":{"pki":{},"tls":{"encrypted_client_hello":{"configs":[]},
			"session_tickets":{"key_source":{"provider":"distributed"}},
			"automation":{"policies":[{"issuers":[{"module":"acme","challenges":{"dns":{"provider":{"name":"acme-private"}}}},{"module":"internal"}]}]}}}}`), &wire.Facts{
			Deployment: "unknown",
			Features:   []string{"internal_issuer", "ech", "dns_challenge", "caddy.storage.file_system", "pki", "tls", "tls.issuance.acme", "tls.issuance.internal", "tls.stek.distributed"},
		}},
		"values that look like modules": {[]byte(`{"apps":{"http":{"servers":{"s":{"routes":[{"handle":[{"handler":"static_response","body":"{\"handler\":\"templates\"}"},
			{"handler":"vars","handler2":"file_server","x":{"handler":"reverse_proxy"}},{"handler":"no.such.module"},{"handler":7}]}]}}}}}`), &wire.Facts{
			Servers: 1, Protocols: []string{"h1"}, Deployment: "unknown",
			Features: []string{"http", "http.handlers.static_response", "http.handlers.vars"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(test.want, described(t, test.config), protocmp.Transform()); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// privateModule stands for a plugin whose module id nobody may learn.
type privateModule struct {
	Next json.RawMessage `json:"next,omitempty" caddy:"namespace=http.encoders inline_key=secret_kind"`
}

func (privateModule) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.acme_secret_handler", New: func() caddy.Module { return new(privateModule) }}
}

func init() { caddy.RegisterModule(privateModule{}) }

func TestPluginsModules(t *testing.T) {
	f := described(t, []byte(`{"apps":{"http":{"servers":{"s":{"routes":[{"handle":[{"handler":"acme_secret_handler","next":{"secret_kind":"gzip"}}]}]}}}}}`))
	// Its id is other; what of Caddy's own it uses is found through its type.
	if d := cmp.Diff([]string{"other", "http", "http.encoders.gzip"}, f.Features); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// Every module that this Caddy has and a configuration can name is in the dictionary.
func TestVocabularyIsComplete(t *testing.T) {
	for _, r := range registrations() {
		if strings.HasPrefix(r.pkg, caddyPath) && !wire.Feature.Has(r.id) {
			t.Errorf("wire/features.go lacks %s", r.id)
		}
	}
}

func TestDeployment(t *testing.T) {
	for name, test := range map[string]struct {
		caddyfile string
		want      string
	}{
		"public name":                     {"shop.caddy.community\nrespond x", "production"},
		"public name, on demand":          {"https:// {\n\ttls {\n\t\ton_demand\n\t}\n\trespond x\n}", "production"},
		"public name behind a proxy":      {"http://shop.caddy.community\nrespond x", "production"},
		"public name, loopback":           {"shop.caddy.community {\n\tbind 127.0.0.1 ::1\n\trespond x\n}", "local"},
		"public name, tls internal":       {"shop.caddy.community {\n\ttls internal\n\trespond x\n}", "internal"},
		"public name, local_certs":        {"{\n\tlocal_certs\n}\nshop.caddy.community\nrespond x", "internal"},
		"public name, a company's CA":     {"shop.caddy.community {\n\ttls {\n\t\tca https://ca.corp.internal/acme/acme/directory\n\t}\n\trespond x\n}", "internal"},
		"public name, staging":            {"shop.caddy.community {\n\ttls {\n\t\tca https://acme-staging-v02.api.letsencrypt.org/directory\n\t}\n\trespond x\n}", "production"},
		"one public among internal":       {"nas.lan\nrespond x", "internal"},
		"mixed":                           {"nas.lan {\n\trespond x\n}\nshop.caddy.community {\n\trespond x\n}", "production"},
		"bare name":                       {"intranet\nrespond x", "internal"},
		"private address":                 {"192.168.1.5\nrespond x", "internal"},
		"private IPv6 address":            {"[fd00::5]\nrespond x", "internal"},
		"public address":                  {"93.184.215.14\nrespond x", "production"},
		"mDNS":                            {"printer.local\nrespond x", "internal"},
		"test name":                       {"shop.test\nrespond x", "local"},
		"documentation's name":            {"example.com\nrespond x", "local"},
		"localhost on a port":             {"localhost:8443\nrespond x", "local"},
		"port only":                       {":8080\nrespond x", "unknown"},
		"port only, certificate":          {":443 {\n\ttls /etc/x.pem /etc/x.key\n\trespond x\n}", "production"},
		"port only on a private address":  {":8080 {\n\tbind 10.0.0.1\n\trespond x\n}", "internal"},
		"port only on a public address":   {":8080 {\n\tbind 93.184.215.14\n\trespond x\n}", "production"},
		"unix socket behind a server":     {"http:// {\n\tbind unix//run/caddy.sock\n\trespond x\n}", "unknown"},
		"unix socket, public name":        {"http://shop.caddy.community {\n\tbind unix//run/caddy.sock\n\trespond x\n}", "production"},
		"wildcard of a public name":       {"*.caddy.community {\n\ttls {\n\t\ton_demand\n\t}\n\trespond x\n}", "production"},
		"on demand by an own authority":   {"https:// {\n\ttls internal {\n\t\ton_demand\n\t}\n\trespond x\n}", "unknown"},
		"wildcard policy of an authority": {"*.caddy.community {\n\ttls internal\n\trespond x\n}\na.caddy.community {\n\ttls internal\n\trespond x\n}", "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := described(t, adapt(t, test.caddyfile)).Deployment; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

const secretConfig = `{
	email owner@secret-mail-zq.community
	admin unix//run/secret-admin-zq.sock
	storage file_system /secret-storage-zq
	servers {
		trusted_proxies static 198.51.100.77/32
	}
	log secret-logger-zq {
		output file /secret-log-zq/access.log
		include http.log.access.secret-include-zq
	}
}
secret-host-zq.community, *.secret-wildcard-zq.lan:8443 {
	bind 192.0.2.55
	tls {
		ca https://secret-ca-zq.corp/acme
		eab secret-eab-zq c2VjcmV0LW1hYy16cQ
		client_auth {
			mode require
			trust_pool inline {
				trust_der MIIBsecretderzq
			}
		}
	}
	@m {
		path /secret-path-zq/*
		header X-Secret-Header-Zq secret-value-zq
		query secret-query-zq=1
		remote_ip 198.51.100.88
		expression {path}.startsWith("/secret-expression-zq")
	}
	basic_auth @m bcrypt "secret-realm-zq" {
		secret-user-zq $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
	}
	header X-Secret-Response-Zq "secret-response-zq"
	reverse_proxy /x secret-upstream-zq:8080 {
		header_up Authorization "Bearer secret-token-zq"
	}
	root * /secret-root-zq
	file_server {
		hide secret-hidden-zq
	}
	respond /y "secret-body-zq" 418
	log secret-site-log-zq {
		output net secret-logserver-zq:514
	}
}
http://203.0.113.99 {
	redir https://secret-redirect-zq.community{uri}
}
`

// secretsOf are the configuration's words, but for those that it has in common
// with every configuration.
func secretsOf(config []byte) []string {
	var words []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for k, e := range v {
				words = append(words, k)
				walk(e)
			}
		case string:
			words = append(words, strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune("/:*=,\" (){}@", r) })...)
			words = append(words, v)
		}
	}
	var v any
	_ = json.Unmarshal(config, &v)
	walk(v)
	var secrets []string
	for _, w := range words {
		lower := strings.ToLower(w)
		if strings.Contains(lower, "secret") || strings.Contains(lower, "zq") || strings.Contains(w, "198.51") || strings.Contains(w, "203.0") ||
			strings.Contains(w, "192.0.2") || strings.Contains(w, "community") || strings.HasPrefix(w, "$2a") || strings.Contains(w, ".lan") || strings.Contains(w, "c2Vj") {
			secrets = append(secrets, w)
		}
	}
	return secrets
}

func TestNoSecretLeaves(t *testing.T) {
	config := adapt(t, secretConfig)
	secrets := secretsOf(config)
	if len(secrets) < 40 {
		t.Fatalf("only %d secrets in the configuration: the test has lost its teeth", len(secrets))
	}
	env := map[string]string{
		"HOSTNAME": "secret-hostname-zq", "USER": "secret-user-zq", "container": "secret-container-zq", "PATH": "/secret-path-zq",
		"NOTIFY_SOCKET": "/run/secret-notify-zq", "INVOCATION_ID": "secret-invocation-zq", "GOPRIVATE": "github.com/secret-private-zq",
		"KUBERNETES_SERVICE_HOST": "", "XPC_SERVICE_NAME": "secret-service-zq",
	}
	c := machine(t, files{
		"/etc/hostname": "secret-hostname-zq\n", "/etc/machine-id": "5ec4e70000000000000000000000zq\n",
		"/proc/self/cgroup": "0::/secret-slice-zq/secret-zq.service\n", "/proc/1/environ": "container=secret-container-zq\x00",
		"/proc/self/status": "Pid:\t9\nPPid:\t8\n", "/proc/8/status": "Name:\tsecret-zq\n",
		"/proc/sys/kernel/osrelease": "6.1.0-secret-build-zq\n", "/run/systemd/container": "secret-container-zq",
	}, env)
	c.executable = func() (string, error) { return "/home/secret-user-zq/caddy", nil }
	c.args = []string{"/home/secret-user-zq/caddy", "run", "--config", "/secret-config-zq/Caddyfile.secret", "--adapter", "secret-adapter-zq"}
	c.build = func() (*debug.BuildInfo, bool) {
		return &debug.BuildInfo{
			Main: debug.Module{Path: "secret-main-zq.corp/caddy"},
			Deps: []*debug.Module{{Path: "git.secret-forge-zq.corp/x/plugin", Version: "v1.0.0-secretzq"},
				{Path: "github.com/secret-private-zq/x", Version: "v1.0.0"},
				{Path: "github.com/x/y", Version: "v1.0.0", Replace: &debug.Module{Path: "/home/secret-user-zq/y"}}},
			Settings: []debug.BuildSetting{{Key: "-ldflags", Value: "-X secret-ldflags-zq"}},
		}, true
	}
	f := c.Facts(Input{ConfigJSON: config, AdapterName: "secret-adapter-zq", Label: "Secret Label ZQ", Now: time.Unix(2000, 0), Started: time.Unix(1000, 0)})

	b, err := proto.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	j, err := wire.EncodeJSON(&wire.Report{Facts: f})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.ToLower(string(b) + string(j) + prototext.Format(f))
	for _, s := range append(secrets, "secret", "zq", "home", "5ec4e7", "corp", "x/y") {
		if strings.Contains(all, strings.ToLower(s)) {
			t.Errorf("%q left the instance:\n%s", s, prototext.Format(f))
		}
	}
	if f.Servers == 0 || f.Sites != 3 || len(f.Features) < 15 {
		t.Errorf("the configuration was not understood:\n%s", prototext.Format(f))
	}
	if f.UptimeSeconds != 1000 {
		t.Errorf("uptime is %d s, want 1000", f.UptimeSeconds)
	}
	check(t, f)
}

// check holds facts to the promises of the package comment.
func check(t testing.TB, f *wire.Facts) {
	t.Helper()
	inDictionary := func(d *wire.Dimension, names ...string) {
		t.Helper()
		for _, n := range names {
			if n != "" && !d.Has(n) {
				t.Errorf("%s is %q, which the dictionary lacks", d.Name, n)
			}
		}
	}
	inDictionary(wire.OS, f.Os)
	inDictionary(wire.Arch, f.Arch)
	inDictionary(wire.Kernel, f.Kernel)
	inDictionary(wire.CPUFeature, f.CpuFeatures...)
	inDictionary(wire.MemoryClass, f.Memory)
	inDictionary(wire.Container, f.Container)
	inDictionary(wire.Init, f.Init)
	inDictionary(wire.Installation, f.Installation)
	inDictionary(wire.ServerProtocol, f.Protocols...)
	inDictionary(wire.Adapter, f.ConfigAdapter)
	inDictionary(wire.Feature, f.Features...)
	inDictionary(wire.DeploymentKind, f.Deployment)
	for _, l := range [][]string{f.Features, f.Protocols, f.CpuFeatures} {
		s := slices.Clone(l)
		slices.Sort(s)
		if len(slices.Compact(s)) != len(l) {
			t.Errorf("%q has doubles", l)
		}
	}
	if len(f.Modules) > wire.MaxModules {
		t.Errorf("%d modules", len(f.Modules))
	}
	kept := &wire.Report{Number: 1, Created: 1, Windows: []*wire.Window{{Seconds: 300}}, Facts: proto.CloneOf(f)}
	if _, err := kept.Clean(); err != nil {
		t.Errorf("the server would refuse these facts: %v", err)
	}
	if d := cmp.Diff(kept.Facts, f, protocmp.Transform()); d != "" {
		t.Errorf("the server would change these facts: -kept +sent\n%s", d)
	}
}

// This machine's own facts, whatever it is, are in order.
func TestThisMachine(t *testing.T) {
	f := Collect(Input{Started: time.Now().Add(-time.Hour), Now: time.Now(), Label: "my-fleet", ConfigJSON: []byte(`{}`)})
	check(t, f)
	if f.Os == "" || f.Arch == "" || f.Cpus == 0 || f.GoVersion == "" || f.CaddyVersion == "" || f.Label != "my-fleet" || f.UptimeSeconds < 3600 {
		t.Errorf("something is missing:\n%s", prototext.Format(f))
	}
	if _, err := os.Stat(filepath.Join("/proc", "self", "status")); err == nil && (f.Memory == "" || f.Kernel == "" || f.Container == "" || f.Installation == "") {
		t.Errorf("something of Linux is missing:\n%s", prototext.Format(f))
	}
	if f.EvergreenVersion == "" || Version() != f.EvergreenVersion {
		t.Errorf("our own version is %q and %q", Version(), f.EvergreenVersion)
	}
	g := Collect(Input{})
	if g.UptimeSeconds != 0 || g.Label != "" || g.Deployment != "" {
		t.Errorf("out of nothing came:\n%s", prototext.Format(g))
	}
}

// A caller may change what it got.
func TestFactsAreTheCallers(t *testing.T) {
	c := New("/", os.Getenv)
	a := c.Facts(Input{})
	want := proto.CloneOf(a)
	a.Modules, a.CpuFeatures = append(a.Modules, nil), append(a.CpuFeatures, "x")
	for _, m := range a.Modules {
		if m != nil {
			m.Path = "changed"
		}
	}
	if d := cmp.Diff(want, c.Facts(Input{}), protocmp.Transform()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// notSafely does what describe does behind safely, so that a panic is a finding.
func notSafely(configJSON []byte) {
	var config any
	if json.Unmarshal(configJSON, &config) != nil {
		return
	}
	used := map[string]bool{}
	modulesUsed(config, used)
	var servers []*server
	for _, raw := range object(field(config, "apps", "http", "servers")) {
		servers = append(servers, describeServer(raw, 80))
	}
	words(config, servers, used)
	deployment(servers, field(config, "apps", "tls"))
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"apps":{"http":{"servers":{"a":{"listen":[":1-65535","unix/","",7],"routes":[{"match":[{"host":["","*","[","[::1]:x","*.","a..b"]}]}]}}}}}`))
	f.Add([]byte(`{"apps":{"tls":{"automation":{"policies":[null,{"subjects":["*",""],"issuers":[null,{"module":"acme","ca":"%"}]}]}}}}`))
	f.Add([]byte(`{"apps":{"http":{"servers":{"a":{"routes":[{"match":[{"not":[{"not":[{"host":["x"]}]}]}]}]}}}}}`))
	f.Add([]byte(strings.Repeat(`{"apps":{"http":{"servers":{"a":{"routes":[`, 1) + strings.Repeat(`{"handle":[{"handler":"subroute","routes":[`, 600) + strings.Repeat(`]}]}`, 600) + `]}}}}}`))
	f.Add(adapt(f, secretConfig))
	c := New(f.TempDir(), nil)
	f.Fuzz(func(t *testing.T, config []byte) {
		facts := new(wire.Facts)
		c.describe(facts, config)
		check(t, facts)
		notSafely(config)
	})
}
