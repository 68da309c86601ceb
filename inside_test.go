package evergreen

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-evergreen/evergreen/recorder"
	"github.com/caddy-evergreen/evergreen/wire"
)

// listening answers on a port of its own as f does, until the test ends.
func listening(t *testing.T, f func(net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return ln.Addr().String()
}

// Each failure of an upstream is counted as what it was, over each protocol.
func TestUpstreamFailures(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/status" {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer broken.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	secure.Config.ErrorLog = nil
	over := make(chan struct{})
	defer close(over)
	silent := listening(t, func(net.Conn) { <-over })
	closing := listening(t, func(c net.Conn) { _, _ = http.ReadRequest(bufio.NewReader(c)) })
	resetting := listening(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	plain := strings.TrimPrefix(broken.URL, "http://")

	s, c := newSite(t, "", fmt.Sprintf(`
	reverse_proxy /refused 127.0.0.1:%s
	reverse_proxy /silent %s {
		transport http {
			response_header_timeout 100ms
		}
	}
	reverse_proxy /closing %s
	reverse_proxy /resetting %s
	reverse_proxy /plain https://%s
	reverse_proxy /untrusted https://%s
	reverse_proxy /name nowhere.invalid:80
	reverse_proxy /nobody {
		dynamic a {
			name nowhere.invalid
			port 1
			versions ipv4
			resolvers 127.0.0.1:1
		}
	}
	reverse_proxy /socket unix/%s
	reverse_proxy /status %s
	reverse_proxy /fine %s
	error /ours 503
	respond /own 500
	`, freePort(t), silent, closing, resetting, plain, strings.TrimPrefix(secure.URL, "https://"),
		filepath.Join(t.TempDir(), "socket"), plain, plain))
	mustLoad(t, c)
	want := map[string]float64{}
	for path, failure := range map[string]string{
		"/refused": "refused", "/silent": "timeout", "/closing": "closed", "/resetting": "reset", "/plain": "tls", "/untrusted": "tls",
		"/name": "dns", "/nobody": "no_upstream", "/socket": "not_found", "/status": "status_5xx", "/fine": "", "/ours": "", "/own": "",
	} {
		for _, protocol := range []string{"plain", "http/2", "http/3"} {
			cl, end := client(t, protocol)
			status, _ := get(t, cl, "GET", s.url(protocol, path), nil)
			end()
			if ok := status < 500; ok != (path == "/fine") {
				t.Errorf("%s over %s: %d", path, protocol, status)
			}
			if failure != "" {
				want["caddy_upstreams_failures{upstream_failure="+failure+"}"]++
			}
		}
	}
	wantCounts(t, want, "caddy_upstreams_failures")
	wantCounts(t, map[string]float64{
		"caddy_handlers_errors{handler=reverse_proxy,status_class=5xx}": 27,
		"caddy_handlers_errors{handler=error,status_class=5xx}":         3,
	}, "caddy_handlers_errors")
}

// A client that goes away is no failure of the upstream's.
func TestUpstreamClientGone(t *testing.T) {
	reached, over := make(chan struct{}, 1), make(chan struct{})
	defer close(over)
	silent := listening(t, func(net.Conn) { reached <- struct{}{}; <-over })
	s, c := newSite(t, "", "reverse_proxy "+silent)
	mustLoad(t, c)
	conn, err := net.Dial("tcp", "127.0.0.1:"+s.http)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-reached
	conn.Close()
	wantCounts(t, map[string]float64{"http_errors_aborted{phase=before_header,protocol=http/1.1}": 1}, "http_errors_aborted", "caddy_upstreams_failures")
}

// grumble is a handler that logs.
type grumble struct{ log *zap.Logger }

func (grumble) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.grumble", New: func() caddy.Module { return new(grumble) }}
}

func (g *grumble) Provision(ctx caddy.Context) error {
	g.log = ctx.Logger()
	return nil
}

func (g *grumble) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	log := g.log.With(zap.String("secret", "example.com"))
	log.Debug("fine")
	log.Info("fine")
	log.Warn("look", zap.Error(os.ErrPermission))
	log.Named("example.com").Error("look", zap.Error(fmt.Errorf("reading: %w", os.ErrPermission)))
	log.Error("no value", zap.String("error", "permission denied"))
	log.Error("panic", zap.Any("error", "as the test asked"), zap.ByteString("stack", []byte("main.go:1")))
	return nil
}

// A log of the user's is the same to the byte with and without us, and entries
// are counted even if the user's logs don't take them.
func TestLogEntries(t *testing.T) {
	var outputs [2]string
	for i, telemetry := range []string{"off", "on"} {
		t.Setenv("EVERGREEN_TELEMETRY", telemetry)
		dir := t.TempDir()
		s, c := newSite(t, "", "")
		for _, server := range object(object(object(c, "apps"), "http"), "servers") {
			server.(map[string]any)["routes"] = []any{map[string]any{"handle": []any{map[string]any{"handler": "grumble"}}}}
		}
		encoder := map[string]any{"format": "json", "time_format": "", "time_key": ""}
		c["logging"] = map[string]any{"logs": map[string]any{
			"default": map[string]any{"level": "ERROR", "exclude": []any{"http.handlers.grumble"}},
			"all": map[string]any{"level": "DEBUG", "include": []any{"http.handlers.grumble"}, "with_caller": true, "encoder": encoder,
				"writer": map[string]any{"output": "file", "filename": filepath.Join(dir, "all")}},
			"errors": map[string]any{"level": "ERROR", "include": []any{"http.handlers.grumble"}, "encoder": encoder,
				"writer": map[string]any{"output": "file", "filename": filepath.Join(dir, "errors")}},
		}}
		mustLoad(t, c)
		cl, end := client(t, "plain")
		get(t, cl, "GET", "http://127.0.0.1:"+s.http+"/", nil)
		end()
		if telemetry == "on" {
			entries := counts(t, "caddy_log_entries")
			maps.DeleteFunc(entries, func(k string, _ float64) bool { return !strings.HasSuffix(k, "logger=http.handlers}") })
			if diff := cmp.Diff(map[string]float64{
				"caddy_log_entries{level=warn,logger=http.handlers}":  1,
				"caddy_log_entries{level=error,logger=http.handlers}": 3,
			}, entries); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			wantCounts(t, map[string]float64{
				"caddy_log_errors{error=permission,logger=http.handlers}": 1,
				"caddy_log_errors{error=none,logger=http.handlers}":       1,
				"caddy_log_errors{error=panic,logger=http.handlers}":      1,
			}, "caddy_log_errors")
		}
		stop(t, s)
		for _, name := range []string{"all", "errors"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			outputs[i] += string(b)
		}
	}
	if n := strings.Count(outputs[0], "\n"); n != 9 {
		t.Errorf("the logs have %d lines:\n%s", n, outputs[0])
	}
	if diff := cmp.Diff(outputs[0], outputs[1]); diff != "" {
		t.Errorf("the user's logs (-without +with):\n%s", diff)
	}
}

// Configurations that fail are counted, and the one that runs goes on.
func TestConfigLoads(t *testing.T) {
	s, c := newSite(t, "", `respond "fine"`)
	mustLoad(t, c)
	admin := "http://" + c["admin"].(map[string]any)["listen"].(string)
	// Each load makes the admin endpoint anew. The former one ends a moment later,
	// with connections that wait for a request and those it has not accepted.
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	post := func(path, body string) int {
		resp, err := once.Post(admin+path, "application/json", strings.NewReader(body))
		for (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)) && t.Context().Err() == nil {
			resp, err = once.Post(admin+path, "application/json", strings.NewReader(body))
		}
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	settings := fmt.Sprintf(`"admin":{"listen":%q,"config":{"persist":false}}`, strings.TrimPrefix(admin, "http://"))
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	for _, body := range []string{
		`{"nonsense`,
		`{` + settings + `,"apps":{"http":{"servers":{"a":{"routes":[{"handle":[{"handler":"unheard_of"}]}]}}}}}`,
		`{` + settings + `,"apps":{"http":{"servers":{"a":{"listen":["unixgram/` + t.TempDir() + `/no/such/folder"]}}}}}`,
	} {
		if status := post("/load", body); status < 400 {
			t.Errorf("%s: %d", body, status)
		}
	}
	if cl, end := client(t, "plain"); true {
		if status, _ := get(t, cl, "GET", s.url("plain", "/"), nil); status != http.StatusOK {
			t.Errorf("the site answers %d", status)
		}
		end()
	}
	currentProcess().windows.observe(time.Now())
	wantCounts(t, map[string]float64{
		"caddy_config_loads{load=tried}":            3,
		"caddy_config_loads{load=failed_provision}": 1,
		"caddy_config_loads{load=failed_start}":     1,
		"caddy_admin_errors{endpoint=/load}":        3,
	}, "caddy_config_loads", "caddy_admin_errors")
}

// What is observed at a window's end can be.
func TestGauges(t *testing.T) {
	_, c := newSite(t, "", `respond "fine"`)
	mustLoad(t, c)
	p := currentProcess()
	for range 200 { // garbage, and the work of making it
		_ = bytes.Repeat([]byte("a"), 1<<20)
	}
	runtime.GC() // a large heap of the tests before this one might do without
	p.windows.observe(time.Now())
	got := counts(t, "caddy_runtime_goroutines", "caddy_runtime_heap_bytes", "caddy_runtime_memory_bytes", "caddy_runtime_gc_cycles",
		"caddy_runtime_gc_pauses_seconds", "caddy_runtime_cpu", "caddy_descriptors_open", "caddy_descriptors_share")
	atLeast := map[string]float64{
		"caddy_runtime_goroutines{}": 1, "caddy_runtime_goroutines{} sum": 5,
		"caddy_runtime_heap_bytes{}": 1, "caddy_runtime_heap_bytes{} sum": 1 << 20,
		"caddy_runtime_memory_bytes{}": 1, "caddy_runtime_memory_bytes{} sum": 4 << 20,
		"caddy_runtime_gc_cycles{}": 1, "caddy_runtime_gc_pauses_seconds{}": 2, "caddy_runtime_cpu{}": 1,
		"caddy_descriptors_open{}": 1, "caddy_descriptors_open{} sum": 5, "caddy_descriptors_share{}": 1,
	}
	for name, least := range atLeast {
		if got[name] < least {
			t.Errorf("%s is %v, not at least %v; all: %v", name, got[name], least, got)
		}
	}
}

// Values that vocabularies of the dictionary lack would be counted as other.
func TestInsideVocabularies(t *testing.T) {
	for kind, v := range upstreamFailures {
		if kind == wire.Other || v == wire.Other {
			t.Errorf("upstreamFailures[%d] = %d", kind, v)
		}
	}
	for pkg, v := range handlerModules {
		if v == wire.Other {
			t.Errorf("handlerModules[%s] is other", pkg)
		}
	}
	for _, v := range []wire.Value{kindNone, kindRefused, kindTimeout, kindDNS, kindUnreachable, kindReset, kindClosed, kindTLS, kindCertificate, kindCanceled,
		kindDescriptors, kindPermission, kindNotFound, kindExists, kindNoSpace, kindReadOnly, kindNoMemory, kindInUse, kindIO, kindJSON, kindPanic,
		levelWarn, levelError, levelPanic, levelFatal, useLog, useAccept, useHandler, useUpstream, loadTried, loadFailedProvision, loadFailedStart,
		upstreamNone, upstreamStatus, handlerProxy} {
		if v == wire.Other {
			t.Error("a value is other")
		}
	}
}

func TestLoggerOf(t *testing.T) {
	for name, want := range map[string]string{
		"": "other", "example.com": "other", "http": "http", "httpx": "other", "http.log.error": "http.log.error", "http.log.error.log0": "http.log.error",
		"tls.obtain": "tls.obtain", "tls.issuance.acme.acme_client": "tls.issuance.acme.acme_client", "tls.issuance.acme.example.com": "tls.issuance.acme",
		"pki.ca.local": "pki.ca", "dns.providers.cloudflare": "dns.providers", "http.handlers.secret": "http.handlers",
		"http.handlers.reverse_proxy.health_checker.active": "http.handlers.reverse_proxy.health_checker.active",
	} {
		if got := wire.Logger.ValueName(loggerOf(name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func BenchmarkLogEntry(b *testing.B) {
	rec, err := recorder.New(recorder.Options{})
	if err != nil {
		b.Fatal(err)
	}
	l := &errorLog{}
	l.rec.Store(rec)
	for _, level := range []zapcore.Level{zapcore.InfoLevel, zapcore.ErrorLevel} {
		b.Run(level.String(), func(b *testing.B) {
			log := zap.New(&logCore{l}).Named("http.handlers.reverse_proxy")
			b.ReportAllocs()
			for b.Loop() {
				if c := log.Check(level, "entry"); c != nil {
					c.Write(zap.Error(os.ErrPermission))
				}
			}
		})
	}
}

// What a request that fails in a proxy, or doesn't, costs more.
func BenchmarkOutcome(b *testing.B) {
	rec, err := recorder.New(recorder.Options{})
	if err != nil {
		b.Fatal(err)
	}
	x := &exchange{site: &site{rec: rec}}
	h := &Handler{Phase: primary, site: x.site}
	r := httptest.NewRequest("GET", "/", nil)
	x.q.Status = 200
	failure := caddyhttp.HandlerError{Err: syscall.ECONNREFUSED, StatusCode: 502, Trace: "reverseproxy.statusError (reverseproxy.go:1)"}
	for name, err := range map[string]error{"answered": nil, "failed": failure} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			w := http.ResponseWriter(writer1{x})
			for b.Loop() {
				h.outcome(measuredBy(w), r, err)
			}
		})
	}
}

func TestKindOf(t *testing.T) {
	op := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "none"},
		{errors.New("connection refused"), "other"},
		{op(os.NewSyscallError("connect", syscall.ECONNREFUSED)), "refused"},
		{fmt.Errorf("a: %w", op(&net.DNSError{IsTimeout: true})), "dns"},
		{op(os.ErrDeadlineExceeded), "timeout"},
		{context.DeadlineExceeded, "timeout"},
		{fmt.Errorf("a: %w", context.Canceled), "canceled"},
		{op(os.NewSyscallError("read", syscall.ECONNRESET)), "reset"},
		{op(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), "unreachable"},
		{io.ErrUnexpectedEOF, "closed"},
		{op(tls.AlertError(40)), "tls"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")}, "tls"},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "certificate"},
		{os.NewSyscallError("accept4", syscall.EMFILE), "descriptors"},
		{&fs.PathError{Op: "open", Err: syscall.ENFILE}, "descriptors"},
		{&fs.PathError{Op: "open", Err: syscall.EACCES}, "permission"},
		{&fs.PathError{Op: "open", Err: syscall.ENOENT}, "not_found"},
		{&fs.PathError{Op: "mkdir", Err: syscall.EEXIST}, "exists"},
		{&fs.PathError{Op: "write", Err: syscall.ENOSPC}, "no_space"},
		{&os.LinkError{Op: "rename", Err: syscall.EROFS}, "read_only"},
		{&fs.PathError{Op: "read", Err: errors.New("it failed")}, "io"},
		{errors.Join(io.EOF, fmt.Errorf("b: %w", fs.ErrPermission)), "permission"},
		{&json.SyntaxError{}, "json"},
	} {
		if got := wire.ErrorKind.ValueName(kindOf(c.err)); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
	endless := &cyclic{}
	endless.err = errors.Join(endless, endless)
	if got := kindOf(endless); got != wire.Other {
		t.Errorf("an error that wraps itself: %d", got)
	}
}

type cyclic struct{ err error }

func (*cyclic) Error() string   { return "cyclic" }
func (c *cyclic) Unwrap() error { return c.err }
