package rehearse

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSites(t *testing.T) {
	t.Setenv("REHEARSE_HOST", "env.example")
	type sites = map[string][]string
	for _, c := range []struct {
		name, server string
		want         sites
	}{
		{"nothing named", `{}`, sites{"localhost": {"/"}}},
		{"a path for all", `{"routes":[{"match":[{"path":["/a","/b/*"]}]}]}`, sites{"localhost": {"/", "/a", "/b/"}}},
		{"hosts", `{"routes":[{"match":[{"host":["A.example","*.b.example"]}],"terminal":true}]}`, sites{"a.example": {"/"}, "rehearsal.b.example": {"/"}}},
		{"as Caddyfile has it", `{"routes":[{"match":[{"host":["a.example"]}],"handle":[{"handler":"subroute","routes":[
			{"match":[{"path":["/x/*"]}],"handle":[{"handler":"subroute","routes":[{"match":[{"path":["/x/y"]}]}]}]},
			{"match":[{"path":["*.php","/a*b/c"]}]}
		]}]}]}`, sites{"a.example": {"/", "/x/", "/x/y", "/index.php", "/axb/c"}}},
		{"handle_path", `{"routes":[{"match":[{"host":["a.example"]}],"handle":[{"handler":"subroute","routes":[
			{"match":[{"path":["/api/*"]}],"handle":[{"handler":"subroute","routes":[
				{"handle":[{"handler":"rewrite","strip_path_prefix":"/api"}]},
				{"match":[{"path":["/users/*"]}],"handle":[{"handler":"static_response"}]}
			]}]}
		]}]}]}`, sites{"a.example": {"/", "/api/", "/api/users/"}}},
		{"paths for all hosts", `{"routes":[{"match":[{"path":["/all"]}]},{"match":[{"host":["a.example"],"path":["/a"]}]}]}`, sites{"a.example": {"/", "/a", "/all"}}},
		{"what can't be asked for", `{"routes":[{"match":[{"host":["{http.vars.x}","a b","","x{y}"],"path":["/{x}","/a b","/%41","/?q"]}]}]}`, sites{"localhost": {"/"}}},
		{"placeholders and other scripts", `{"routes":[{"match":[{"host":["{env.REHEARSE_HOST}","bücher.example","10.0.0.1","[::1]"]}]}]}`,
			sites{"env.example": {"/"}, "xn--bcher-kva.example": {"/"}, "10.0.0.1": {"/"}, "::1": {"/"}}},
		{"a command", `{"routes":[{"match":[{"host":["a.example"],"path":["/deploy"]}],"handle":[{"handler":"exec"}]}]}`, sites{"a.example": {"/"}}},
		{"error routes", `{"errors":{"routes":[{"match":[{"path":["/e"]}]}]}}`, sites{"localhost": {"/", "/e"}}},
		{"nonsense", `{"routes":[1,null,{"match":{},"handle":3},{"match":[7,{"host":"x","path":[1]}],"handle":[null,{"routes":8}]}]}`, sites{"localhost": {"/"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv, _ := value(t, c.server).(map[string]any)
			got := sites{}
			list, left := sitesOf(srv, "localhost", expandEnv)
			for _, s := range list {
				got[s.host] = s.paths
			}
			if d := cmp.Diff(c.want, got); d != "" || left != 0 {
				t.Errorf("%d left out; %s", left, d)
			}
		})
	}
}

func TestManySites(t *testing.T) {
	var hosts, paths []any
	for i := range 1000 {
		hosts = append(hosts, fmt.Sprintf("h%04d.example", i))
		paths = append(paths, fmt.Sprintf("/p%d", i))
	}
	srv := map[string]any{"routes": []any{map[string]any{"match": []any{map[string]any{"host": hosts, "path": paths}}}}}
	list, left := sitesOf(srv, "localhost", expandEnv)
	if len(list) != maxHosts || left != 900 {
		t.Fatalf("%d sites, %d left out", len(list), left)
	}
	// Evenly chosen, and each with as many paths as may be.
	if d := cmp.Diff([]string{"h0000.example", "h0010.example", "h0990.example"}, []string{list[0].host, list[1].host, list[99].host}); d != "" {
		t.Error(d)
	}
	if n := len(list[0].paths); n != 1+maxPaths {
		t.Errorf("%d paths", n)
	}
}

func TestOnDemand(t *testing.T) {
	apps, _ := value(t, `{"tls":{"automation":{"policies":[
		{"subjects":["a.example","*.b.example"]},
		{"subjects":["od.example"],"on_demand":true},
		{"subjects":["get.example"],"get_certificate":[{"via":"http"}]},
		{"on_demand":true}
	]}}}`).(map[string]any)
	got := map[string]bool{}
	for _, h := range []string{"a.example", "x.b.example", "b.example", "od.example", "get.example", "other.example"} {
		got[h] = onDemand(apps, h)
	}
	want := map[string]bool{"a.example": false, "x.b.example": false, "b.example": true, "od.example": true, "get.example": true, "other.example": true}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if onDemand(nil, "a.example") {
		t.Error("without policies, a host is on demand")
	}
}

// FuzzSites: whatever routes say, what is asked for is a few well-formed URLs.
func FuzzSites(f *testing.F) {
	for _, s := range []string{
		liveConfig,
		`{"routes":[{"match":[{"host":["a.example","*.*.x"],"path":["/a","*","**.php","/%2e%2e/","//x"]}]}]}`,
		`{"routes":[{"handle":[{"handler":"rewrite","strip_path_prefix":"/x y"},{"routes":[{"match":[{"path":["/z"]}]}]}]}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		srv, err := decode(b)
		if err != nil {
			return
		}
		sites, _ := sitesOf(srv, "localhost", expandEnv)
		if len(sites) == 0 || len(sites) > maxHosts {
			t.Fatalf("%d sites", len(sites))
		}
		for _, s := range sites {
			if len(s.paths) == 0 || len(s.paths) > 1+maxPaths || s.paths[0] != "/" {
				t.Fatalf("%q", s.paths)
			}
			for _, p := range s.paths {
				q := question{host: s.host, port: 8080, path: p}
				u, err := url.Parse("http://" + q.authority() + p)
				if err != nil || u.Path != p || u.Hostname() == "" || strings.ContainsAny(s.host, "/@ ") {
					t.Errorf("host %q, path %q: %v", s.host, p, err)
				}
			}
		}
	})
}

func FuzzModules(f *testing.F) {
	f.Add("admin.api.load\nhttp.handlers.x v1.0.0\n\n  Standard modules: 2\n")
	f.Fuzz(func(t *testing.T, out string) {
		for _, m := range parseModules(out) {
			if strings.ContainsAny(m, " \n") || m == "" {
				t.Errorf("%q", m)
			}
		}
	})
}

func TestLost(t *testing.T) {
	has := parseModules("a v1\nc\nb.x\n\n  Standard modules: 3\n\nz\n\n  Non-standard modules: 1\n")
	if d := cmp.Diff([]string{"a", "c", "b.x", "z"}, has); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"d", "y"}, lost([]string{"y", "a", "d", "z", "d"}, has)); d != "" {
		t.Error(d)
	}
}
