package evergreen

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"
)

func withAdminOff(c map[string]any) map[string]any {
	c["admin"] = map[string]any{"disabled": true, "config": map[string]any{"persist": false}}
	return c
}

// eventually waits for what another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15s: %s", what)
		}
	}
}

// ours lists the metric families in Caddy's registry that are ours.
func ours(t *testing.T) (names []string) {
	t.Helper()
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "caddy_evergreen_") {
			names = append(names, f.GetName())
		}
	}
	return names
}

// With the admin API off and a configuration that does not name us, the instance
// is alive and counts no traffic: servers that run take no callbacks.
func TestAdminOff(t *testing.T) {
	_, c := newSite(t, "", `respond "fine"`)
	mustLoad(t, c)
	if lookout.looking() {
		t.Error("it looks for configurations while Caddy has loaded the app")
	}
	for _, how := range []string{"reloaded", "started", "reloaded again"} {
		if how == "started" {
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the process ends", func() bool { return currentProcess() == nil })
		}
		s, c := newSite(t, "", `respond "fine"`)
		mustLoad(t, withAdminOff(c))
		eventually(t, how+": an app beside the configuration", func() bool {
			p := currentProcess()
			return p != nil && p.current().ctx.Context == caddy.ActiveContext().Context
		})
		if lookout.looking() {
			t.Errorf("%s: it looks for configurations when it has found one", how)
		}
		eventually(t, how+": metrics", func() bool { return len(ours(t)) > 0 })
		in, ok := currentInstance()
		if !ok {
			t.Fatalf("%s: no instance", how)
		}
		if got := strings.Join(in.Status().Fallbacks, "\n"); !strings.Contains(got, "traffic and facts about the configuration are not reported") {
			t.Errorf("%s: the status does not say what is missing: %q", how, got)
		}
		for _, protocol := range []string{"plain", "http/1.1", "http/2", "http/3"} {
			cl, end := client(t, protocol)
			if status, answer := get(t, cl, "GET", s.url(protocol, "/"), nil); status != 200 || answer != "fine" {
				t.Errorf("%s: %s: %d %q", how, protocol, status, answer)
			}
			end()
		}
		wantCounts(t, map[string]float64{}, "http_requests", "connections", "tls_alpn")
		if report := in.NextReport(); report == nil || report.GetFacts().GetOs() == "" || report.GetFacts().GetServers() != 0 {
			t.Errorf("%s: facts: %v", how, report.GetFacts())
		}
	}
	// And back.
	_, c = newSite(t, "", `respond "fine"`)
	mustLoad(t, c)
	eventually(t, "Caddy's own app", func() bool { p := currentProcess(); return p != nil && p.current().made })
	if lookout.looking() {
		t.Error("it looks for configurations while Caddy has loaded the app")
	}
}

func (w *sentry) looking() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cancel != nil
}

// With the admin API off and the app named, requests over HTTP/1 and HTTP/2 are
// counted whichever app Caddy loads first, and HTTP/3 if it is ours.
func TestAdminOffAndNamed(t *testing.T) {
	for seen, tries := map[bool]bool{}, 0; len(seen) < 2; tries++ {
		if tries == 100 {
			t.Fatalf("Caddy took the apps in the same order %d times", tries)
		}
		s, c := newSite(t, "evergreen", `
		respond /ok "fine"
		error /error 403
		`)
		mustLoad(t, withAdminOff(c))
		if lookout.looking() {
			t.Error("it looks for configurations while Caddy has loaded the app")
		}
		p := currentProcess()
		if p == nil {
			t.Fatal("nothing counts")
		}
		injected := len(p.missing()) == 0
		if seen[injected] {
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		seen[injected] = true
		for _, protocol := range []string{"plain", "http/1.1", "http/2", "http/3"} {
			cl, end := client(t, protocol)
			get(t, cl, "GET", s.url(protocol, "/ok"), nil)
			get(t, cl, "GET", s.url(protocol, "/error"), nil)
			end()
		}
		want := map[string]float64{
			"http_requests{protocol=http/1.1,role=site,status=200}": 2,
			"http_requests{protocol=http/1.1,role=site,status=403}": 2,
			"http_requests{protocol=http/2,role=site,status=200}":   1,
			"http_requests{protocol=http/2,role=site,status=403}":   1,
		}
		servers := uint64(0) // Caddy has forgotten them
		if injected {
			servers = 2
			want["http_requests{protocol=http/3,role=site,status=200}"] = 1
			want["http_requests{protocol=http/3,role=site,status=403}"] = 1
			want["http_errors_handler{role=site,status=403}"] = 4
		} else if diff := cmp.Diff([]string{"HTTP/3 requests and handler errors are not counted, and facts about the configuration are incomplete"}, p.missing()); diff != "" {
			t.Errorf("what is missing (-want +got):\n%s", diff)
		}
		wantCounts(t, want, "http_requests", "http_errors_handler")
		if got := p.collectFacts().GetServers(); uint64(got) != servers {
			t.Errorf("the facts have %d servers, want %d", got, servers)
		}
		if len(ours(t)) == 0 {
			t.Error("Caddy's registry lacks our metrics")
		}
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// Where the environment says off, nobody looks for configurations; and when
// looking fails, Caddy serves.
func TestLookoutEnds(t *testing.T) {
	t.Setenv("EVERGREEN_TELEMETRY", "off")
	w := new(sentry)
	w.resume()
	if w.looking() {
		t.Error("it looks for configurations with telemetry off")
	}

	// Off in a file that Caddy reads its environment from after our start.
	t.Setenv("EVERGREEN_TELEMETRY", "")
	w.resume()
	if !w.looking() {
		t.Error("it does not look for configurations")
	}
	t.Setenv("EVERGREEN_TELEMETRY", "off")
	eventually(t, "it ends", func() bool { return !w.looking() })

	t.Setenv("EVERGREEN_TELEMETRY", "")
	for _, step := range []string{"look for a configuration", "run beside the configuration"} {
		for _, how := range []string{"error", "panic"} {
			failed := make(chan struct{}, 100)
			fails := func(at string) error {
				if at != step {
					return nil
				}
				failed <- struct{}{}
				if how == "panic" {
					panic("as the test asked")
				}
				return errors.New("as the test asked")
			}
			lookout.resume()
			fault.Store(&fails)
			s, c := newSite(t, "", `respond "fine"`)
			mustLoad(t, withAdminOff(c))
			<-failed
			cl, end := client(t, "http/2")
			if status, answer := get(t, cl, "GET", s.url("http/2", "/"), nil); status != 200 || answer != "fine" {
				t.Errorf("%s/%s: %d %q", step, how, status, answer)
			}
			end()
			if err := caddy.Stop(); err != nil {
				t.Error(err)
			}
			fault.Store(nil)
		}
	}
}
