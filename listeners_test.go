package evergreen

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"
)

// through is a client whose connections dial makes.
func through(t *testing.T, protocol string, dial func() (net.Conn, error)) (c *http.Client, end func()) {
	t.Helper()
	c, end = client(t, protocol)
	c.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) { return dial() }
	return c, end
}

func TestUnixSockets(t *testing.T) {
	dir, err := os.MkdirTemp("", "eg") // a socket's path has room for 100 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	plain, secure := filepath.Join(dir, "plain"), filepath.Join(dir, "tls")
	mustLoad(t, adapt(t, fmt.Sprintf(`{
	auto_https disable_redirects
}
http://localhost {
	bind unix/%s
	respond "fine"
}
https://localhost {
	bind unix/%s
	respond "fine"
}
`, plain, secure)))
	for _, test := range []struct{ protocol, url, socket string }{
		{"http/1.1", "http://localhost/", plain}, {"http/1.1", "https://localhost/", secure}, {"http/2", "https://localhost/", secure},
	} {
		cl, end := through(t, test.protocol, func() (net.Conn, error) { return net.Dial("unix", test.socket) })
		for range 2 {
			if status, answer := get(t, cl, "GET", test.url, nil); status != 200 || answer != "fine" {
				t.Errorf("%s: %d %q", test.url, status, answer)
			}
		}
		end()
	}
	// One connection that has no request.
	conn, err := net.Dial("unix", plain)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	wantCounts(t, map[string]float64{
		"http_requests{protocol=http/1.1,role=site,status=200}":                            4,
		"http_requests{protocol=http/2,role=site,status=200}":                              2,
		"http_requests_transport{family=unix,protocol=http/1.1,role=site,transport=plain}": 2,
		"http_requests_transport{family=unix,protocol=http/1.1,role=site,transport=tls}":   2,
		"http_requests_transport{family=unix,protocol=http/2,role=site,transport=tls}":     2,
		"connections{family=unix,protocol=http/1.1,role=site,transport=plain}":             1,
		"connections{family=unix,protocol=http/1.1,role=site,transport=tls}":               1,
		"connections{family=unix,protocol=http/2,role=site,transport=tls}":                 1,
		"connections{family=unix,protocol=other,role=site,transport=plain}":                1,
		"tls_alpn{alpn=h2}":   1,
		"tls_alpn{alpn=none}": 1,
	}, "http_requests", "http_requests_transport", "connections", "tls_alpn")
}

// HTTP/2 without TLS, beside HTTP/1 and alone.
func TestH2C(t *testing.T) {
	for _, protocols := range []string{"h1 h2c", "h2c"} {
		t.Run(protocols, func(t *testing.T) {
			s, c := newSite(t, "servers {\n protocols "+protocols+"\n}", `respond "fine"`)
			mustLoad(t, c)
			cl, end := client(t, "http/2")
			only := new(http.Protocols)
			only.SetUnencryptedHTTP2(true)
			cl.Transport.(*http.Transport).Protocols = only
			for range 3 {
				if status, answer := get(t, cl, "GET", s.url("plain", "/"), nil); status != 200 || answer != "fine" {
					t.Errorf("%d %q", status, answer)
				}
			}
			end()
			want := map[string]float64{
				"http_requests{protocol=http/2,role=site,status=200}":                            3,
				"http_requests_transport{family=ipv4,protocol=http/2,role=site,transport=plain}": 3,
				"connections{family=ipv4,protocol=http/2,role=site,transport=plain}":             1,
			}
			if protocols == "h1 h2c" {
				cl, end = client(t, "plain")
				get(t, cl, "GET", s.url("plain", "/"), nil)
				end()
				want["http_requests{protocol=http/1.1,role=site,status=200}"] = 1
				want["http_requests_transport{family=ipv4,protocol=http/1.1,role=site,transport=plain}"] = 1
				want["connections{family=ipv4,protocol=http/1.1,role=site,transport=plain}"] = 1
			}
			wantCounts(t, want, "http_requests", "http_requests_transport", "connections", "tls_alpn")
		})
	}
}

// The address that counts is the one in the PROXY header.
func TestProxyProtocol(t *testing.T) {
	s, c := newSite(t, `servers {
	listener_wrappers {
		proxy_protocol {
			timeout 5s
			allow 127.0.0.0/8
		}
		tls
	}
	protocols h1 h2
}`, `respond {remote_host}`)
	mustLoad(t, c)
	want := map[string]float64{
		// The connections without a request below.
		"connections{family=ipv6,protocol=other,role=site,transport=tls}":   1,
		"connections{family=ipv4,protocol=other,role=site,transport=plain}": 1,
		"tls_alpn{alpn=none}": 1,
	}
	for _, test := range []struct{ header, family, remote string }{
		{"PROXY TCP6 2001:db8::1 2001:db8::2 40000 443\r\n", "ipv6", "2001:db8::1"},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n", "ipv4", "192.0.2.1"},
		{"", "ipv4", "127.0.0.1"},
	} {
		for _, name := range []string{"plain", "http/1.1", "http/2"} {
			port, protocol, transport := s.https, name, "tls"
			if name == "plain" {
				port, protocol, transport = s.http, "http/1.1", "plain"
			}
			cl, end := through(t, protocol, func() (net.Conn, error) { return dialProxied(port, test.header) })
			for range 2 {
				if status, answer := get(t, cl, "GET", s.url(name, "/"), nil); status != 200 || answer != test.remote {
					t.Errorf("%q over %s: %d %q", test.header, name, status, answer)
				}
			}
			end()
			want["http_requests{protocol="+protocol+",role=site,status=200}"] += 2
			want["http_requests_transport{family="+test.family+",protocol="+protocol+",role=site,transport="+transport+"}"] += 2
			want["connections{family="+test.family+",protocol="+protocol+",role=site,transport="+transport+"}"]++
			switch name {
			case "http/1.1":
				want["tls_alpn{alpn=none}"]++
			case "http/2":
				want["tls_alpn{alpn=h2}"]++
			}
		}
	}
	// One that only shakes hands, and one that ends before its header.
	conn, err := dialProxied(s.https, "PROXY TCP6 2001:db8::1 2001:db8::2 40000 443\r\n")
	if err != nil {
		t.Fatal(err)
	}
	secure := tls.Client(conn, insecure.Clone())
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	secure.Close()
	if conn, err = dialProxied(s.http, ""); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	wantCounts(t, want, "http_requests", "http_requests_transport", "connections", "tls_alpn")
}

func dialProxied(port, header string) (net.Conn, error) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte(header)); err != nil {
		return nil, err
	}
	return conn, nil
}

// notes is a user's listener wrapper: it notes the type of the connections that
// it is given, and wraps them.
type notes struct {
	Name string `json:"name"`
}

func (notes) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.notes", New: func() caddy.Module { return new(notes) }}
}

// noted is what all of them saw.
var noted struct {
	sync.Mutex
	types []string
}

func (n *notes) WrapListener(ln net.Listener) net.Listener { return notingListener{ln, n.Name} }

type notingListener struct {
	net.Listener
	name string
}

func (l notingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	noted.Lock()
	noted.types = append(noted.types, l.name+" "+typeName(c))
	noted.Unlock()
	if c, ok := c.(secureConn); ok {
		return notedTLSConn{c}, nil
	}
	return notedConn{c}, nil
}

type notedConn struct{ net.Conn }

type secureConn interface {
	net.Conn
	ConnectionState() tls.ConnectionState
}

type notedTLSConn struct{ secureConn }

// The user's listener wrappers work as without us, wherever TLS stands among
// them, and every request, connection and handshake counts once.
func TestListenerWrappers(t *testing.T) {
	for name, list := range map[string][]string{
		"none":                 nil,
		"without tls":          {"a"},
		"two without tls":      {"a", "b"},
		"before tls":           {"a", "tls"},
		"two before tls":       {"a", "b", "tls"},
		"before and after tls": {"a", "tls", "b"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newSite(t, "", `respond "fine"`)
			var wrappers []any
			for _, w := range list {
				if w == "tls" {
					wrappers = append(wrappers, map[string]any{"wrapper": "tls"})
				} else {
					wrappers = append(wrappers, map[string]any{"wrapper": "notes", "name": w})
				}
			}
			for _, srv := range c["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any) {
				if wrappers != nil {
					srv.(map[string]any)["listener_wrappers"] = wrappers
				}
			}
			var seen [2][]string
			for i, telemetry := range []string{"off", "on"} {
				t.Setenv("EVERGREEN_TELEMETRY", telemetry)
				noted.Lock()
				noted.types = nil
				noted.Unlock()
				mustLoad(t, c)
				for _, protocol := range []string{"plain", "http/1.1"} {
					cl, end := client(t, protocol)
					for range 2 {
						if status, answer := get(t, cl, "GET", s.url(protocol, "/"), nil); status != 200 || answer != "fine" {
							t.Errorf("%s: %d %q", protocol, status, answer)
						}
					}
					end()
				}
				cl, end := client(t, "http/2")
				version := answeredIn(t, cl, s.url("http/2", "/"))
				end()
				noted.Lock()
				seen[i] = append(slices.Clone(noted.types), version)
				noted.Unlock()
				if telemetry == "on" {
					// Whatever Caddy makes of a wrapper behind TLS.
					protocol := strings.ToLower(strings.TrimSuffix(version, ".0"))
					want := map[string]float64{
						"http_requests{protocol=http/1.1,role=site,status=200}":                4,
						"connections{family=ipv4,protocol=http/1.1,role=site,transport=plain}": 1,
						"connections{family=ipv4,protocol=http/1.1,role=site,transport=tls}":   1,
						"tls_alpn{alpn=none}":       1,
						"tls_alpn{alpn=h2}":         1,
						"tls_sni{presence=present}": 2,
					}
					want["http_requests{protocol="+protocol+",role=site,status=200}"]++
					want["connections{family=ipv4,protocol="+protocol+",role=site,transport=tls}"]++
					wantCounts(t, want, "http_requests", "connections", "tls_alpn", "tls_sni")
				}
				stop(t, s)
			}
			if len(list) > 0 && len(seen[0]) < 4 {
				t.Errorf("the wrappers saw %q", seen[0])
			}
			if diff := cmp.Diff(seen[0], seen[1]); diff != "" {
				t.Errorf("what the wrappers saw (-without +with):\n%s", diff)
			}
		})
	}
}

// answeredIn is the version of HTTP that the answer came in.
func answeredIn(t *testing.T, cl *http.Client, url string) string {
	t.Helper()
	resp, err := cl.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := bufio.NewReader(resp.Body).ReadString(0); b != "fine" {
		t.Errorf("%q %v", b, err)
	}
	return resp.Proto
}

func TestSeveralServers(t *testing.T) {
	ports := make([]any, 5)
	for i := range ports {
		ports[i] = freePort(t)
	}
	mustLoad(t, adapt(t, fmt.Sprintf(`{
	http_port %s
	https_port %s
	auto_https disable_redirects
}
http://localhost:%s {
	bind 127.0.0.1
	respond "a" 201
}
http://localhost:%s {
	bind 127.0.0.1
	respond "b" 202
}
https://localhost {
	bind 127.0.0.1
	error 403
}
https://localhost:%s {
	bind 127.0.0.1
	error 404
	handle_errors {
		respond "d" 410
	}
}
`, ports...)))
	for i, port := range []any{ports[2], ports[3], ports[1], ports[4]} {
		protocols := []string{"http/1.1"}
		scheme := "http"
		if i > 1 {
			protocols, scheme = []string{"http/1.1", "http/2", "http/3"}, "https"
		}
		for _, protocol := range protocols {
			cl, end := client(t, protocol)
			for range i + 1 {
				get(t, cl, "GET", fmt.Sprintf("%s://localhost:%s/", scheme, port), nil)
			}
			end()
		}
	}
	wantCounts(t, map[string]float64{
		"http_requests{protocol=http/1.1,role=site,status=201}":                1,
		"http_requests{protocol=http/1.1,role=site,status=202}":                2,
		"http_requests{protocol=http/1.1,role=site,status=403}":                3,
		"http_requests{protocol=http/2,role=site,status=403}":                  3,
		"http_requests{protocol=http/3,role=site,status=403}":                  3,
		"http_requests{protocol=http/1.1,role=site,status=410}":                4,
		"http_requests{protocol=http/2,role=site,status=410}":                  4,
		"http_requests{protocol=http/3,role=site,status=410}":                  4,
		"http_errors_handler{role=site,status=403}":                            9,
		"http_errors_handler{role=site,status=404}":                            12,
		"connections{family=ipv4,protocol=http/1.1,role=site,transport=plain}": 2,
		"connections{family=ipv4,protocol=http/1.1,role=site,transport=tls}":   2,
		"connections{family=ipv4,protocol=http/2,role=site,transport=tls}":     2,
		"connections{family=ipv4,protocol=http/3,role=site,transport=tls}":     2,
	}, "http_requests", "http_errors_handler", "connections")
}
