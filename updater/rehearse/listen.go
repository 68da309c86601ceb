package rehearse

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxUnixPath is how long a socket's path may be on every system.
const maxUnixPath = 100

// A place is an address of a server, and where it goes.
type place struct {
	address
	port int    // key of rewriter.ports; 0 if it is a socket of unix
	path string // of that socket
}

// move puts all listeners of the apps on loopback.
//
// Caddy decides by its port whether a listener is TLS, and by its address which
// server redirects: so equal ports go to equal ports, and different addresses to
// different ones of loopback.
func (w *rewriter) move(apps map[string]any) error {
	http := object(apps, "http")
	canonical(http, "servers", "http_port", "https_port", "shutdown_delay")
	servers := object(http, "servers")
	names := slices.Sorted(maps.Keys(servers))
	places := map[string][][]place{}
	hosts := map[string]bool{}
	for _, name := range names {
		srv, ok := servers[name].(map[string]any)
		if !ok {
			return fmt.Errorf("the server %.50q is no object", name)
		}
		canonical(srv, "listen", "listen_protocols", "protocols", "logs", "routes")
		list, ok := srv["listen"].([]any)
		if !ok && srv["listen"] != nil {
			return fmt.Errorf("the server %.50q: listen is no list", name)
		}
		for _, v := range list {
			all, err := w.placesOf(v)
			if err != nil {
				return fmt.Errorf("the server %.50q: %w", name, err)
			}
			places[name] = append(places[name], all)
			for _, p := range all {
				if p.port > 0 {
					hosts[p.host] = true
				}
			}
		}
	}
	w.hosts = slices.Sorted(maps.Keys(hosts)) // all addresses, "", is first
	if len(w.hosts) > w.Loopbacks {
		return fmt.Errorf("the servers listen on %d different addresses: loopback has %d here, so that they can't be rehearsed", len(w.hosts), w.Loopbacks)
	}
	var httpPort, httpsPort int
	if http != nil {
		var err1, err2 error
		httpPort, err1 = portOf(http, "http_port", 80)
		httpsPort, err2 = portOf(http, "https_port", 443)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		w.ports[httpPort], w.ports[httpsPort] = 0, 0
	}
	later := w.others(apps, nil)
	if err := w.pick(); err != nil {
		return err
	}
	for _, set := range later {
		set()
	}
	if http == nil {
		return nil
	}
	http["http_port"], http["https_port"] = w.ports[httpPort], w.ports[httpsPort]
	delete(http, "shutdown_delay")
	for _, name := range names {
		srv := servers[name].(map[string]any)
		delete(srv, "logs")
		if err := w.moveServer(name, srv, places[name]); err != nil {
			return err
		}
	}
	w.redirects(httpPort)
	return nil
}

// placesOf reads one entry of a list of listeners.
func (w *rewriter) placesOf(v any) ([]place, error) {
	s, ok := v.(string)
	if !ok {
		return nil, errors.New("a listener is no text")
	}
	s, err := w.Expand(s)
	if err != nil {
		return nil, err
	}
	all, err := parseListen(s)
	if err != nil {
		return nil, err
	}
	var ps []place
	for _, a := range all {
		p := place{address: a}
		if a.isUnix() {
			p.path = filepath.Join(w.Sockets, strconv.Itoa(w.unix))
			w.unix++
			if len(p.path) <= maxUnixPath {
				ps = append(ps, p)
				continue
			}
			p.path = ""
		}
		p.port = a.port
		if p.port == 0 || !a.isTCP() && !a.isUDP() {
			w.nobody--
			p.port = w.nobody
		}
		w.ports[p.port] = 0
		ps = append(ps, p)
	}
	return ps, nil
}

// pick finds the ports of loopback.
func (w *rewriter) pick() error {
	wanted := slices.Sorted(maps.Keys(w.ports))
	picked, err := w.Ports(len(wanted))
	if err != nil {
		return err
	}
	if len(picked) != len(wanted) {
		return fmt.Errorf("%d ports of loopback are needed, and %d were found", len(wanted), len(picked))
	}
	for i, port := range wanted {
		w.ports[port] = picked[i]
		if port > 0 {
			w.out.original[picked[i]] = port
		}
	}
	w.out.Ports = picked
	return nil
}

// loopback is the address of loopback that stands for a host.
func (w *rewriter) loopback(host string) string {
	return "127.0.0." + strconv.Itoa(1+max(0, slices.Index(w.hosts, host)))
}

// to is where a place goes, as Caddy writes it and as it is dialled.
func (w *rewriter) to(p place) (listen string, e endpoint) {
	if p.path != "" {
		return "unix/" + p.path + "|0600", endpoint{"unix", p.path}
	}
	at := net.JoinHostPort(w.loopback(p.host), strconv.Itoa(w.ports[p.port]))
	if p.isUDP() || p.network == "fdgram" {
		return "udp/" + at, endpoint{"tcp", at}
	}
	return at, endpoint{"tcp", at}
}

func (w *rewriter) moveServer(name string, srv map[string]any, places [][]place) error {
	perListener, _ := srv["listen_protocols"].([]any)
	if perListener != nil && len(perListener) != len(places) {
		return fmt.Errorf("the server %.50q: it has %d listeners, and protocols for %d", name, len(places), len(perListener))
	}
	if len(places) == 0 {
		return nil
	}
	protocols := texts(srv["protocols"])
	if len(protocols) == 0 {
		protocols = defaultProtocols
	}
	var listen, listenProtocols []any
	for i, all := range places {
		own := protocols
		if perListener != nil {
			if p := texts(perListener[i]); len(p) > 0 {
				own = p
			}
		}
		for _, p := range all {
			s, e := w.to(p)
			listen = append(listen, s)
			if perListener != nil {
				listenProtocols = append(listenProtocols, perListener[i])
			}
			l := listener{server: name, at: p.address, candidate: e, protocols: own}
			var err error
			if l.running, err = p.running(); err != nil {
				l.why = err.Error()
			}
			w.out.listeners = append(w.out.listeners, l)
		}
	}
	srv["listen"] = listen
	if perListener != nil {
		srv["listen_protocols"] = listenProtocols
	}
	return nil
}

// redirects adds the listeners that automatic HTTPS may have made: on the HTTP
// port, beside those of TLS. Which servers have TLS is not known here, so that
// each is asked for its own hosts there.
func (w *rewriter) redirects(httpPort int) {
	taken := map[string]bool{}
	for _, l := range w.out.listeners {
		taken[l.candidate.address] = true
	}
	for _, l := range w.out.listeners {
		if !l.at.isTCP() || l.at.port == 0 || l.at.port == httpPort || l.running.network != "tcp" {
			continue
		}
		r := listener{server: l.server, at: l.at, protocols: []string{"h1"}, redirects: true}
		r.at.port = httpPort
		r.running, _ = r.at.running()
		_, r.candidate = w.to(place{address: r.at, port: httpPort})
		if mine := r.server + " " + r.candidate.address; !taken[r.candidate.address] && !taken[mine] {
			taken[mine] = true
			w.out.listeners = append(w.out.listeners, r)
		}
	}
}

// others finds what else in the configuration looks like a listener, such as
// plugins' apps have: a text, or a list of texts, called listen. It returns what
// is to be done when the ports are known.
func (w *rewriter) others(v any, path []string) (later []func()) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			below := append(slices.Clip(path), key)
			if key != "listen" || isServer(path) {
				if key != "listen" {
					later = append(later, w.others(v[key], below)...)
				}
				continue
			}
			list, isList := v[key].([]any)
			if !isList {
				list = []any{v[key]}
			}
			var moved []place
			for _, item := range list {
				places, err := w.placesOf(item)
				if err != nil || len(places) == 0 {
					moved = nil
					break
				}
				// A range becomes its first: nothing asks there.
				moved = append(moved, places[0])
			}
			if moved == nil {
				later = append(later, w.others(v[key], below)...)
				continue
			}
			later = append(later, func() {
				var to []any
				for _, p := range moved {
					s, _ := w.to(p)
					to = append(to, s)
				}
				if isList {
					v[key] = to
				} else {
					v[key] = to[0]
				}
			})
		}
	case []any:
		for _, item := range v {
			later = append(later, w.others(item, path)...)
		}
	}
	return later
}

// isServer reports whether path is that of one of http's servers.
func isServer(path []string) bool {
	return len(path) == 3 && path[0] == "http" && path[1] == "servers"
}

// portOf reads a port of the http app.
func portOf(http map[string]any, key string, otherwise int) (int, error) {
	v, ok := http[key]
	if !ok {
		return otherwise, nil
	}
	n, ok := v.(json.Number)
	if !ok {
		return 0, fmt.Errorf("%s is no number", key)
	}
	port, err := strconv.ParseUint(n.String(), 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%s is no port: %w", key, err)
	}
	if port == 0 {
		return otherwise, nil
	}
	return int(port), nil
}

// expandEnv resolves {env.NAME}, and refuses other placeholders.
func expandEnv(s string) (string, error) {
	for {
		before, rest, ok := strings.Cut(s, "{env.")
		if !ok {
			break
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			break
		}
		s = before + strings.ReplaceAll(os.Getenv(name), "{env.", "") + after
	}
	if strings.Contains(s, "{") {
		return "", fmt.Errorf("what %.100q stands for is not known here", s)
	}
	return s, nil
}

// object is the object called key, or nil.
func object(m map[string]any, key string) map[string]any {
	o, _ := m[key].(map[string]any)
	return o
}

// made is the object called key, made if there is none.
func made(m map[string]any, key string) map[string]any {
	o, ok := m[key].(map[string]any)
	if !ok {
		o = map[string]any{}
		m[key] = o
	}
	return o
}

// objects are those of a map's values that are objects.
func objects(m map[string]any) iter.Seq2[string, map[string]any] {
	return func(yield func(string, map[string]any) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if o, ok := m[key].(map[string]any); ok && !yield(key, o) {
				return
			}
		}
	}
}

func texts(v any) (t []string) {
	list, _ := v.([]any)
	for _, item := range list {
		if s, ok := item.(string); ok {
			t = append(t, s)
		}
	}
	return t
}
