package rehearse

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// Bounds of what is asked for.
const (
	maxHosts = 100 // of a server; more are chosen evenly
	maxPaths = 8   // of a host, besides "/"
	maxDepth = 30  // of routes within routes
)

// A site is a host of a server, with the paths that the configuration has for
// it. The choice is the same for the same configuration.
type site struct {
	host  string
	paths []string // "/" is first
}

// A siteReader collects the sites of a server from its routes.
type siteReader struct {
	expand func(string) (string, error)
	paths  map[string][]string // by host; "" stands for any
}

// sitesOf are the sites of a server. Where its routes name no host, otherwise
// is the one. left is how many hosts were left out.
func sitesOf(srv map[string]any, otherwise string, expand func(string) (string, error)) (sites []site, left int) {
	r := siteReader{expand, map[string][]string{}}
	r.routes(srv["routes"], []string{""}, "", 0)
	if errs := object(srv, "errors"); errs != nil {
		r.routes(errs["routes"], []string{""}, "", 0)
	}
	common := r.paths[""]
	delete(r.paths, "")
	if len(r.paths) == 0 {
		r.paths[otherwise] = nil
	}
	hosts := slices.Sorted(maps.Keys(r.paths))
	if n := len(hosts); n > maxHosts {
		left = n - maxHosts
		for i := range maxHosts {
			hosts[i] = hosts[i*n/maxHosts]
		}
		hosts = hosts[:maxHosts]
	}
	for _, host := range hosts {
		paths := []string{"/"}
		for _, p := range slices.Concat(r.paths[host], common) {
			if len(paths) <= maxPaths && !slices.Contains(paths, p) {
				paths = append(paths, p)
			}
		}
		sites = append(sites, site{host, paths})
	}
	return sites, left
}

// routes reads a list of routes, which are reached for the hosts, by paths that
// begin with prefix where an outer route has taken that off.
func (r *siteReader) routes(v any, hosts []string, prefix string, depth int) {
	list, _ := v.([]any)
	if depth > maxDepth {
		return
	}
	for _, item := range list {
		route, ok := item.(map[string]any)
		if !ok {
			continue
		}
		canonical(route, "match", "handle")
		handlers, _ := route["handle"].([]any)
		inner := r.match(route["match"], hosts, prefix, !executes(handlers))
		stripped := prefix + strips(handlers)
		for _, h := range handlers {
			if h, ok := h.(map[string]any); ok && h["routes"] != nil {
				r.routes(h["routes"], inner, stripped, depth+1)
			}
		}
	}
}

// match notes what a route's matchers name, and returns the hosts that it is
// reached for.
func (r *siteReader) match(v any, hosts []string, prefix string, ask bool) (inner []string) {
	sets, _ := v.([]any)
	for _, item := range sets {
		set, ok := item.(map[string]any)
		if !ok {
			continue
		}
		here := hosts
		if named := texts(set["host"]); len(named) > 0 {
			here = nil
			for _, h := range named {
				if h, ok := r.host(h); ok {
					here = append(here, h)
					r.paths[h] = append(r.paths[h], []string{}...)
				}
			}
		}
		inner = append(inner, here...)
		if !ask {
			continue
		}
		for _, p := range texts(set["path"]) {
			p, ok := concrete(prefix, p)
			if !ok {
				continue
			}
			for _, h := range here {
				if len(r.paths[h]) <= maxPaths && !slices.Contains(r.paths[h], p) {
					r.paths[h] = append(r.paths[h], p)
				}
			}
		}
	}
	if len(sets) == 0 {
		return hosts
	}
	slices.Sort(inner)
	return slices.Compact(inner)
}

// host makes a name of what a host matcher has.
func (r *siteReader) host(h string) (string, bool) {
	h, err := r.expand(h)
	if err != nil {
		return "", false
	}
	// Any label will do where there is a star.
	labels := strings.Split(strings.ToLower(h), ".")
	for i, l := range labels {
		if l == "*" {
			labels[i] = "rehearsal"
		}
	}
	h = strings.Join(labels, ".")
	if len(h) > 253 || h == "" {
		return "", false
	}
	if _, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil {
		return strings.Trim(h, "[]"), true
	}
	h, err = idna.ToASCII(h) // as Caddy does
	if err != nil {
		return "", false
	}
	for _, c := range h {
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return "", false
		}
	}
	return h, true
}

// concrete makes a path of what a path matcher has.
func concrete(prefix, p string) (string, bool) {
	if strings.ContainsAny(p, "{}") || len(p) > 200 {
		return "", false
	}
	switch {
	case p == "*" || p == "":
		return "", false // "/" is asked for anyhow
	case strings.HasPrefix(p, "*"):
		p = "/index" + p[1:] // as *.php
	case strings.HasSuffix(p, "*"):
		p = p[:len(p)-1]
	}
	p = strings.ReplaceAll(p, "*", "x")
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	p = prefix + p
	for _, c := range p {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '#' || c == '%' || c == '?' {
			return "", false
		}
	}
	return p, true
}

// executes reports whether asking for a route would run a command of the
// user's: the only well-known handler that acts on any GET.
func executes(handlers []any) bool {
	return slices.ContainsFunc(handlers, func(v any) bool {
		h, ok := v.(map[string]any)
		return ok && h["handler"] == "exec"
	})
}

// strips is the prefix that handlers take off the path, as handle_path does:
// in the routes below them.
func strips(handlers []any) string {
	for _, v := range handlers {
		h, _ := v.(map[string]any)
		if prefix, ok := h["strip_path_prefix"].(string); ok && h["handler"] == "rewrite" && strings.HasPrefix(prefix, "/") {
			return prefix
		}
		if h["handler"] != "subroute" {
			continue
		}
		list, _ := h["routes"].([]any)
		for _, item := range list {
			route, _ := item.(map[string]any)
			below, _ := route["handle"].([]any)
			for _, v := range below {
				h, _ := v.(map[string]any)
				if prefix, ok := h["strip_path_prefix"].(string); ok && h["handler"] == "rewrite" && strings.HasPrefix(prefix, "/") && route["match"] == nil {
					return prefix
				}
			}
		}
	}
	return ""
}

// onDemand reports whether a host's certificate is obtained when it is asked
// for, by the first policy that is for it.
func onDemand(apps map[string]any, host string) bool {
	policies, _ := object(object(apps, "tls"), "automation")["policies"].([]any)
	for _, v := range policies {
		p, ok := v.(map[string]any)
		if !ok {
			continue
		}
		subjects := texts(p["subjects"])
		if len(subjects) > 0 && !slices.ContainsFunc(subjects, func(s string) bool { return covers(s, host) }) {
			continue
		}
		managers, _ := p["get_certificate"].([]any)
		return p["on_demand"] == true || len(managers) > 0
	}
	return false
}

// covers reports whether a certificate's subject is for a host.
func covers(subject, host string) bool {
	subject = strings.ToLower(subject)
	if subject == host {
		return true
	}
	_, parent, ok := strings.Cut(host, ".")
	return ok && subject == "*."+parent
}
