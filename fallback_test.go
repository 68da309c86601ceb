package evergreen

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/google/go-cmp/cmp"
)

// Every step of ours fails, by an error and by a panic, and Caddy serves.
func TestOurFailureIsNotCaddys(t *testing.T) {
	steps := []string{
		"load the app", "make the recorder", "read the configuration", "inject the handler", "provision the http app",
		"insert the handler", "provision the handler", "hand the http app over", "load the http app", "register callbacks",
		"register metrics", "start", "report", "see a connection", "see a connection end", "measure around the server",
		"begin a request", "count a request", "turn off", "stop", "clean up", "discard the http app",
	}
	for _, step := range steps {
		for _, how := range []string{"error", "panic"} {
			t.Run(step+"/"+how, func(t *testing.T) {
				s, c := newSite(t, "", `respond /ok "fine"
				error /error 403
				handle_errors {
					respond "sorry" 403
				}`)
				fails := func(at string) error {
					if at != step {
						return nil
					}
					if how == "panic" {
						panic("as the test asked")
					}
					return errors.New("as the test asked")
				}
				fault.Store(&fails)
				mustLoad(t, c)
				for _, protocol := range []string{"plain", "http/1.1", "http/2", "http/3"} {
					cl, end := client(t, protocol)
					for path, want := range map[string]string{"/ok": "200 fine", "/error": "403 sorry"} {
						status, answer := get(t, cl, "GET", s.url(protocol, path), nil)
						if got := fmt.Sprint(status, " ", answer); got != want {
							t.Errorf("%s %s: %q, want %q", protocol, path, got, want)
						}
					}
					end()
				}
				if err := caddy.Stop(); err != nil {
					t.Error(err)
				}
				fault.Store(nil)
				// What the failing step left.
				_, _ = processes.Delete(processKey{})
				_, _ = processes.Delete(offKey{})
			})
		}
	}
}

// What the user gets wrong reads as without us.
func TestUsersErrorsAreCaddys(t *testing.T) {
	for name, change := range map[string]func(srv map[string]any){
		"unknown handler": func(srv map[string]any) {
			srv["routes"] = []any{map[string]any{"handle": []any{map[string]any{"handler": "no_such"}}}}
		},
		"unknown matcher": func(srv map[string]any) {
			srv["routes"] = []any{map[string]any{}, map[string]any{"match": []any{map[string]any{"no_such": 1}}}}
		},
		"handler's options": func(srv map[string]any) {
			srv["routes"] = []any{map[string]any{"handle": []any{map[string]any{"handler": "static_response", "x": 1}}}}
		},
		"unknown field":   func(srv map[string]any) { srv["no_such"] = true },
		"wrong type":      func(srv map[string]any) { srv["listen"] = 1 },
		"listen address":  func(srv map[string]any) { srv["listen"] = []any{"tcp/127.0.0.1:1-0"} },
		"tls wrapper":     func(srv map[string]any) { srv["listener_wrappers"] = []any{map[string]any{"wrapper": "tls"}} },
		"unknown wrapper": func(srv map[string]any) { srv["listener_wrappers"] = []any{map[string]any{"wrapper": "no_such"}} },
		"logger name": func(srv map[string]any) {
			srv["logs"] = map[string]any{"logger_names": map[string]any{"a:80": []any{"b"}}}
		},
		"error routes": func(srv map[string]any) {
			srv["errors"] = map[string]any{"routes": []any{map[string]any{"handle": []any{map[string]any{"handler": "no_such"}}}}}
		},
		"tls policy": func(srv map[string]any) {
			srv["tls_connection_policies"] = []any{map[string]any{"cipher_suites": []any{"no_such"}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := newSite(t, "auto_https disable_redirects", `respond "fine"`)
			servers := c["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any)
			delete(servers, "srv1") // one server: Caddy takes several in random order
			for _, srv := range servers {
				change(srv.(map[string]any))
			}
			with := load(t, c)
			t.Setenv("EVERGREEN_TELEMETRY", "off")
			without := load(t, c)
			if with == nil || without == nil {
				t.Fatalf("no error: with %v, without %v", with, without)
			}
			if diff := cmp.Diff(without.Error(), with.Error()); diff != "" {
				t.Errorf("error (-without +with):\n%s", diff)
			}
			if p := currentProcess(); p != nil {
				t.Error("the process outlives the configuration that failed")
			}
		})
	}
}

// A failed reload leaves the running configuration counting.
func TestFailedReload(t *testing.T) {
	s, c := newSite(t, "", `respond "fine"`)
	mustLoad(t, c)
	_, bad := newSite(t, "", `respond "fine"`)
	for _, srv := range bad["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any) {
		srv.(map[string]any)["listen"] = []any{"127.0.0.1:" + s.http, "256.0.0.1:1"}
	}
	if err := load(t, bad); err == nil {
		t.Fatal("no error")
	}
	cl, end := client(t, "http/2")
	defer end()
	get(t, cl, "GET", s.url("http/2", "/"), nil)
	wantCounts(t, map[string]float64{"http_requests{protocol=http/2,role=site,status=200}": 1}, "http_requests")
}

// outline is what automatic HTTPS made of a configuration.
func outline(t *testing.T, ours bool) map[string]any {
	t.Helper()
	ctx := caddy.ActiveContext()
	v, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for name, srv := range v.(*caddyhttp.App).Servers {
		routes := srv.Routes
		if ours && name != redirectServer {
			if len(routes) == 0 || len(routes[0].Handlers) != 1 {
				t.Fatalf("%s has no route of ours", name)
			}
			if _, ok := routes[0].Handlers[0].(*Handler); !ok {
				t.Fatalf("the first handler of %s is a %T", name, routes[0].Handlers[0])
			}
			routes = routes[1:]
		}
		var list []string
		for _, r := range routes {
			var ms []string
			for _, set := range r.MatcherSets {
				for _, m := range set {
					ms = append(ms, strings.TrimPrefix(typeName(m), "*"))
					if h, ok := m.(*caddyhttp.MatchHost); ok {
						ms = append(ms, *h...)
					}
				}
			}
			for _, h := range r.Handlers {
				ms = append(ms, typeName(h))
			}
			list = append(list, strings.Join(ms, " "))
		}
		out[name] = map[string]any{"listen": srv.Listen, "auto": srv.AutoHTTPS, "policies": len(srv.TLSConnPolicies), "routes": list, "protocols": srv.Protocols}
	}
	v, err = ctx.App("tls")
	if err != nil {
		t.Fatal(err)
	}
	var policies []any
	if a := v.(*caddytls.TLS).Automation; a != nil {
		for _, p := range a.Policies {
			var issuers []string
			for _, i := range p.Issuers {
				issuers = append(issuers, typeName(i))
			}
			subjects := slices.Sorted(slices.Values(p.Subjects()))
			policies = append(policies, map[string]any{"subjects": subjects, "issuers": issuers})
		}
	}
	out["automation"] = policies
	return out
}

func TestInvisibleToAutomaticHTTPS(t *testing.T) {
	for name, body := range map[string]string{
		"redirects in a server of their own": `https://localhost {
			respond "a"
		}`,
		"redirects in a server of the user's": `http://localhost {
			respond "plain"
		}
		https://localhost, https://other.localhost {
			respond "a"
		}`,
		"catch-all on the HTTP port": `:HTTP {
			respond "all"
		}
		localhost {
			respond "a"
		}`,
		"no host":          "https:// {\n tls internal\n respond \"a\"\n}",
		"plain only":       "http:// {\n respond \"a\"\n}",
		"redirects off":    "{\n auto_https disable_redirects\n}\nlocalhost {\n respond \"a\"\n}",
		"automatic off":    "{\n auto_https off\n}\nhttp://localhost {\n respond \"a\"\n}",
		"two ports":        "localhost:HTTPS, localhost:OTHER {\n respond \"a\"\n}",
		"no routes at all": "localhost {\n}",
	} {
		t.Run(name, func(t *testing.T) {
			ports := strings.NewReplacer("HTTPS", freePort(t), "HTTP", freePort(t), "OTHER", freePort(t))
			c := adapt(t, ports.Replace(body))
			app := c["apps"].(map[string]any)["http"].(map[string]any)
			app["http_port"], app["https_port"] = atoi(ports.Replace("HTTP")), atoi(ports.Replace("HTTPS"))
			for _, srv := range app["servers"].(map[string]any) {
				srv := srv.(map[string]any)
				for i, l := range srv["listen"].([]any) {
					switch l {
					case ":80":
						l = ":" + ports.Replace("HTTP")
					case ":443":
						l = ":" + ports.Replace("HTTPS")
					}
					srv["listen"].([]any)[i] = "127.0.0.1" + l.(string)
				}
			}
			// Automatic HTTPS has to have something to automate.
			delete(object(object(c, "apps"), "tls"), "certificates")
			c["apps"].(map[string]any)["pki"] = map[string]any{"certificate_authorities": map[string]any{"local": map[string]any{"install_trust": false}}}
			freshStorage(t, c)
			mustLoad(t, c)
			with := outline(t, true)
			freshStorage(t, c)
			t.Setenv("EVERGREEN_TELEMETRY", "off")
			mustLoad(t, c)
			if diff := cmp.Diff(outline(t, false), with); diff != "" {
				t.Errorf("provisioned (-without +with):\n%s", diff)
			}
		})
	}
}
