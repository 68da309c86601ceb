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
	"runtime"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func TestRedirectServer(t *testing.T) {
	ports := [2]string{freePort(t), freePort(t)}
	mustLoad(t, adapt(t, fmt.Sprintf("{\n http_port %s\n https_port %s\n skip_install_trust\n}\nhttps://localhost {\n bind 127.0.0.1\n}", ports[0], ports[1])))
	cl, end := client(t, "plain")
	get(t, cl, "GET", "http://localhost:"+ports[0]+"/", nil)
	end()
	wantCounts(t, map[string]float64{
		"http_requests{protocol=http/1.1,role=redirect,status=308}":                1,
		"connections{family=ipv4,protocol=http/1.1,role=redirect,transport=plain}": 1,
	}, "http_requests", "connections")
}

func TestPanicsAbortsAndUpgrades(t *testing.T) {
	s, c := newSite(t, "", `
	misbehave /panic panic
	misbehave /abort abort
	misbehave /hang hang
	misbehave /stream stream
	misbehave /upgrade upgrade
	`)
	mustLoad(t, c)
	for _, protocol := range []string{"http/1.1", "http/2", "http/3"} {
		cl, end := client(t, protocol)
		for _, path := range []string{"/panic", "/abort"} {
			req, _ := http.NewRequestWithContext(t.Context(), "POST", s.url(protocol, path), nil)
			if resp, err := cl.Do(req); err == nil {
				resp.Body.Close()
				t.Errorf("%s %s: answered %d", protocol, path, resp.StatusCode)
			}
		}
		for _, path := range []string{"/hang", "/stream"} {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-waiting; cancel() }()
			req, _ := http.NewRequestWithContext(ctx, "GET", s.url(protocol, path), nil)
			if resp, err := cl.Do(req); err == nil {
				_, _ = resp.Body.Read(make([]byte, 1))
				resp.Body.Close()
			}
		}
		end()
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+s.http)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /upgrade HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n")
	rd := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(rd, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("upgrade: %v %v", resp, err)
	}
	fmt.Fprintln(conn, "hello")
	if line, err := rd.ReadString('\n'); line != "hello\n" {
		t.Fatalf("%q %v", line, err)
	}
	conn.Close()
	want := map[string]float64{"http_upgrades{protocol=http/1.1,upgrade=websocket}": 1}
	for _, p := range []string{"http/1.1", "http/2", "http/3"} {
		want["http_errors_panic{protocol="+p+"}"] = 1
		want["http_errors_aborted{phase=before_header,protocol="+p+"}"] = 1
		want["http_errors_aborted{phase=after_header,protocol="+p+"}"] = 1
	}
	wantCounts(t, want, "http_upgrades", "http_errors_panic", "http_errors_aborted")
}

// A connection without a request counts, and its handshake.
func TestHandshakeWithoutRequest(t *testing.T) {
	s, c := newSite(t, "", "")
	mustLoad(t, c)
	conn, err := tls.Dial("tcp", "127.0.0.1:"+s.https, insecure)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	wantCounts(t, map[string]float64{
		"connections{family=ipv4,protocol=other,role=site,transport=tls}": 1,
		"tls_alpn{alpn=none}": 1,
	}, "connections", "tls_alpn")
}

// Counts survive reloads, and nothing is left of the configurations replaced.
func TestFiftyReloads(t *testing.T) {
	s, c := newSite(t, "", `respond "fine"`)
	mustLoad(t, c)
	one := func() {
		// Caddy's own reload may close a new connection that it has not served.
		for range 20 {
			cl, end := client(t, "plain")
			resp, err := cl.Get(s.url("plain", "/"))
			if err == nil {
				resp.Body.Close()
			}
			end()
			if err == nil {
				return
			}
		}
		t.Fatal("no answer in 20 attempts")
	}
	one()
	settle := func() int {
		n := 0
		for range 100 {
			time.Sleep(50 * time.Millisecond)
			runtime.GC()
			if m := runtime.NumGoroutine(); m == n {
				break
			} else {
				n = m
			}
		}
		return n
	}
	mustLoad(t, c)
	one()
	before := settle()
	for range 50 {
		mustLoad(t, c)
		one()
	}
	wantCounts(t, map[string]float64{"http_requests{protocol=http/1.1,role=site,status=200}": 52}, "http_requests")
	if after := settle(); after > before+10 {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

func TestOffIsOff(t *testing.T) {
	for _, how := range []string{"configuration", "EVERGREEN_TELEMETRY", "DO_NOT_TRACK"} {
		t.Run(how, func(t *testing.T) {
			global := ""
			switch how {
			case "configuration":
				global = "evergreen off"
			case "DO_NOT_TRACK":
				t.Setenv(how, "1")
			default:
				t.Setenv(how, "off")
			}
			t.Setenv("EVERGREEN_ENDPOINT", "http://127.0.0.1:"+freePort(t))
			dir := filepath.Join(caddy.AppDataDir(), "evergreen")
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			s, c := newSite(t, global, `respond "fine"`)
			mustLoad(t, c)
			cl, end := client(t, "plain")
			get(t, cl, "GET", s.url("plain", "/"), nil)
			end()
			if currentProcess() != nil {
				t.Error("something counts")
			}
			if in, ok := currentInstance(); !ok || in.Status().Telemetry != "off" || in.Status().Reason == "" {
				t.Error("the status does not say that telemetry is off, and why")
			}
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("something was written: %v", err)
			}
		})
	}
}
