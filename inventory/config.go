package inventory

import (
	"encoding/json"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-evergreen/evergreen/wire"
)

// maxDepth is how deep a configuration is followed. Caddyfiles nest five
// levels for each block.
const maxDepth = 512

// A server is what the verdicts need to know of one.
type server struct {
	listen    []address
	hosts     map[string]bool // of its host matchers, lower case
	protocols []string
	auto      bool // automatic HTTPS is not switched off
	redirects bool // nor are its redirects
	policies  bool // it has TLS connection policies
	plainOnly bool // it listens on the HTTP port alone
}

// An address is a listener's, as far as it can be parsed before placeholders are
// replaced.
type address struct {
	text string
	net  caddy.NetworkAddress
	ok   bool
}

// describe fills in what the configuration says.
func (c *Collector) describe(f *wire.Facts, configJSON []byte) {
	var config any
	if len(configJSON) == 0 || json.Unmarshal(configJSON, &config) != nil {
		return
	}
	httpApp := field(config, "apps", "http")
	httpPort := port(field(httpApp, "http_port"), 80)

	used := map[string]bool{}
	safely(func() { modulesUsed(config, used) })

	var servers []*server
	for _, raw := range object(field(httpApp, "servers")) {
		if object(raw) != nil {
			servers = append(servers, describeServer(raw, httpPort))
		}
	}
	tlsApp := field(config, "apps", "tls")
	safely(func() { words(config, servers, used) })
	safely(func() {
		for _, name := range wire.Feature.Values {
			if used[name] {
				f.Features = append(f.Features, name)
			}
		}
	})

	listeners, sites, protocols := map[string]int{}, map[string]bool{}, map[string]bool{}
	for _, s := range servers {
		for _, a := range s.listen {
			listeners[a.text] = 1
			if a.ok {
				listeners[a.text] = int(a.net.PortRangeSize())
			}
		}
		for h := range s.hosts {
			sites[h] = true
		}
		for _, p := range s.protocols {
			protocols[p] = true
		}
	}
	n := 0
	for _, ports := range listeners {
		n += ports
	}
	f.Servers, f.Listeners, f.Sites = count(len(servers)), count(n), count(len(sites))
	for _, p := range wire.ServerProtocol.Values {
		if protocols[p] {
			f.Protocols = append(f.Protocols, p)
		}
	}
	safely(func() { f.Deployment = deployment(servers, tlsApp) })
}

func describeServer(raw any, httpPort uint) *server {
	s := &server{hosts: map[string]bool{}, auto: true, redirects: true}
	auto := field(raw, "automatic_https")
	if truth(field(auto, "disable")) {
		s.auto, s.redirects = false, false
	}
	if truth(field(auto, "disable_redirects")) {
		s.redirects = false
	}
	s.policies = len(list(field(raw, "tls_connection_policies"))) > 0
	for _, l := range list(field(raw, "listen")) {
		if text, ok := l.(string); ok {
			s.listen = append(s.listen, parseAddress(text))
		}
	}
	s.plainOnly = len(s.listen) > 0
	for _, a := range s.listen {
		if !a.ok || a.net.StartPort != httpPort || a.net.EndPort != httpPort {
			s.plainOnly = false
		}
	}
	hostNames(field(raw, "routes"), s.hosts, 0)

	s.protocols = []string{"h1", "h2", "h3"}
	if ps := list(field(raw, "protocols")); len(ps) > 0 {
		s.protocols = nil
		for _, p := range ps {
			if name, ok := p.(string); ok {
				s.protocols = append(s.protocols, named(wire.ServerProtocol, name))
			}
		}
	}
	if !s.tls() { // HTTP/2 and HTTP/3 are enabled, but can't be spoken
		var plain []string
		for _, p := range s.protocols {
			if p != "h2" && p != "h3" {
				plain = append(plain, p)
			}
		}
		s.protocols = plain
	}
	return s
}

// tls is whether the server has HTTPS: by its own policies, or because
// automatic HTTPS finds a name to serve.
func (s *server) tls() bool { return s.policies || s.automatic() }

func (s *server) automatic() bool {
	if !s.auto || s.plainOnly {
		return false
	}
	for h := range s.hosts {
		if kindOf(h) != nowhere {
			return true
		}
	}
	return false
}

func parseAddress(text string) address {
	a, err := caddy.ParseNetworkAddress(text)
	return address{text: text, net: a, ok: err == nil && !strings.Contains(text, "{")}
}

// hostNames collects the names of all host matchers below v: in routes, in
// subroutes and in a matcher's own matchers, such as not.
func hostNames(v any, into map[string]bool, depth int) {
	if depth > maxDepth {
		return
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			hostNames(e, into, depth+1)
		}
	case map[string]any:
		for _, set := range list(v["match"]) {
			for _, h := range list(field(set, "host")) {
				if name, ok := h.(string); ok && name != "" {
					into[strings.ToLower(strings.TrimSuffix(name, "."))] = true
				}
			}
		}
		for key, e := range v {
			if key != "match" {
				hostNames(e, into, depth+1)
			}
		}
	}
}

// words adds to used what no module's id says.
func words(config any, servers []*server, used map[string]bool) {
	tlsApp, httpApp := field(config, "apps", "tls"), field(config, "apps", "http")
	automation := field(tlsApp, "automation")
	set := func(word string, is bool) {
		if is {
			used[word] = true
		}
	}
	set("on_demand_tls", field(automation, "on_demand") != nil)
	set("ech", field(tlsApp, "encrypted_client_hello") != nil)
	set("metrics", field(httpApp, "metrics") != nil)
	for _, p := range list(field(automation, "policies")) {
		set("on_demand_tls", truth(field(p, "on_demand")))
		for _, issuer := range list(field(p, "issuers")) {
			set("internal_issuer", field(issuer, "module") == "internal")
			set("dns_challenge", field(issuer, "challenges", "dns") != nil)
		}
	}
	for _, raw := range object(field(httpApp, "servers")) {
		set("access_log", field(raw, "logs") != nil)
		set("metrics", field(raw, "metrics") != nil)
		for _, p := range list(field(raw, "tls_connection_policies")) {
			set("client_auth", field(p, "client_authentication") != nil)
		}
	}
	for _, s := range servers {
		set("automatic_https", s.automatic())
		set("https_redirects", s.automatic() && s.redirects)
		for _, p := range s.protocols {
			set("h2c", p == "h2c")
		}
		for _, a := range s.listen {
			set("unix_socket_listener", a.ok && a.net.IsUnixNetwork())
			set("h2c", strings.HasPrefix(a.text, "unix+h2c"))
		}
		for h := range s.hosts {
			set("wildcard_site", strings.Contains(h, "*"))
			// Caddy has its own authority sign for names that nobody else would.
			set("internal_issuer", s.automatic() && kindOf(h) != public && kindOf(h) != nowhere && !hasPolicy(tlsApp, h))
		}
	}
}

// Reading JSON of unknown shape: what is not there, or something else, is nil.

func field(v any, path ...string) any {
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

func list(v any) []any            { l, _ := v.([]any); return l }
func object(v any) map[string]any { m, _ := v.(map[string]any); return m }
func truth(v any) bool            { b, _ := v.(bool); return b }

func port(v any, otherwise uint) uint {
	if n, ok := v.(float64); ok && n >= 1 && n <= 65535 {
		return uint(n)
	}
	return otherwise
}

// hostOf is the host of "host", "host:port" or "[::1]:port".
func hostOf(s string) string {
	if h, _, err := net.SplitHostPort(s); err == nil {
		return h
	}
	return strings.Trim(s, "[]")
}

func isNumber(s string) bool { _, err := strconv.ParseUint(s, 10, 64); return err == nil }

func parseIP(s string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return ip.Unmap().WithZone(""), err == nil
}
