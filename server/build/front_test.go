package build

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

type newest map[string]string

func (n newest) Latest(_ context.Context, path string) (string, error) {
	if v := n[path]; v != "" {
		return v, nil
	}
	return "", io.ErrUnexpectedEOF
}

// serveFront serves a queue of fake modules on loopback.
func serveFront(t *testing.T, change func(*FrontConfig)) (f *fixture, base string) {
	t.Helper()
	f = newFixture(t, nil)
	return f, serveFixture(t, f, change, 0)
}

// serveFixture has limits of so long for reading and for writing.
func serveFixture(t *testing.T, f *fixture, change func(*FrontConfig), limit time.Duration) (base string) {
	t.Helper()
	cfg := FrontConfig{
		Queue: f.Queue, Versions: newest{wire.CaddyPath: "v2.9.0", wire.Toolchain: f.m.goVer, "plugin.example/good": "v1.0.0", "plugin.example/broken": "v1.0.0"},
		Plugins: []Plugin{{Path: "plugin.example/good", About: "does good"}}, PerHour: 100, Logger: slog.New(slog.DiscardHandler),
		Attestation: func(b artifact.Build) string { return "/attestations/" + b.SHA256 },
		Operator:    func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer sesame" },
	}
	if change != nil {
		change(&cfg)
	}
	front, err := NewFront(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	front.Register(mux)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux, ReadTimeout: limit, WriteTimeout: limit}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	t.Cleanup(func() {
		srv.Close()
		<-ended
	})
	return "http://" + ln.Addr().String()
}

func request(t *testing.T, method, address, contentType, body string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func decode[T any](t *testing.T, b []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return v
}

func TestAPI(t *testing.T) {
	f, base := serveFront(t, nil)
	ask := `{"os":"linux","arch":"arm64","plugins":["plugin.example/good"],"telemetry":false}`
	resp, b := request(t, "POST", base+"/api/v1/builds", "application/json", ask)
	a := decode[Answer](t, b)
	if resp.StatusCode != http.StatusAccepted || resp.Header.Get("Location") != a.Self || a.State != "queued" {
		t.Fatalf("%s: %s", resp.Status, b)
	}
	want := artifact.Spec{Go: f.m.goVer, System: wire.System{OS: "linux", Arch: "arm64"}, Caddy: "v2.9.0",
		Plugins: []wire.ModuleVersion{{Path: "plugin.example/good", Version: "v1.0.0"}}}
	if d := cmp.Diff(want, a.Spec); d != "" {
		t.Error(d)
	}
	if resp, b := request(t, "GET", base+a.Self+"/download", "", ""); resp.StatusCode != http.StatusConflict {
		t.Errorf("%s: %s", resp.Status, b)
	}

	// Events come until it is done.
	stream, err := http.Get(base + a.Events)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	f.start(t)
	var last Answer
	var states []string
	for sc := bufio.NewScanner(stream.Body); sc.Scan(); {
		if data, ok := strings.CutPrefix(sc.Text(), "data: "); ok {
			last = decode[Answer](t, []byte(data))
			states = append(states, last.State)
		}
	}
	if states[0] != "queued" || last.State != "done" || last.Size == 0 || last.List == nil {
		t.Errorf("events %q, the last %+v", states, last)
	}

	resp, exe := request(t, "GET", base+last.Download, "", "")
	sum := sha256.Sum256(exe)
	if got := hex.EncodeToString(sum[:]); got != last.SHA256 || resp.Header.Get("ETag") != `"`+got+`"` {
		t.Errorf("SHA-256 %s, want %s (%v)", got, last.SHA256, resp.Header)
	}
	if got := resp.Header.Get("Content-Disposition"); got != `attachment; filename="caddy_linux_arm64_custom"` {
		t.Error(got)
	}
	if got := resp.Header.Get("Evergreen-Attestation"); got != "/attestations/"+last.SHA256 {
		t.Error(got)
	}
	resp, part := request(t, "GET", base+last.Download, "", "", "Range", "bytes=100-199", "If-Range", resp.Header.Get("ETag"))
	if resp.StatusCode != http.StatusPartialContent || !bytes.Equal(part, exe[100:200]) {
		t.Errorf("%s with %d bytes", resp.Status, len(part))
	}

	// It was handed out once, without telemetry; ranges of it are not counted.
	_, b = request(t, "GET", base+"/api/v1/builds", "", "")
	if d := cmp.Diff(Counts{BuiltOut: 1, HandedOut: 1}, decode[Offers](t, b).Counts); d != "" {
		t.Error(d)
	}
}

func TestAPIRefuses(t *testing.T) {
	f, base := serveFront(t, func(c *FrontConfig) {
		c.Queue.cfg.Registered = func(path string) bool { return path == "plugin.example/good" }
	})
	id := f.ask(t, fakeSpec(f.m), PriorityUpdate).ID
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/api/v1/builds", `{"os":"linux"`, 400, "not understood"},
		{"POST", "/api/v1/builds", `{"os":"linux","arch":"amd64"} {}`, 400, "after the JSON"},
		{"POST", "/api/v1/builds", `{"oss":"linux"}`, 400, "unknown field"},
		{"POST", "/api/v1/builds", `{"os":"plan9","arch":"amd64","telemetry":false}`, 400, "there are no builds for"},
		{"POST", "/api/v1/builds", `{"os":"linux","arch":"amd64"}`, 400, "ask for a build without telemetry"},
		{"POST", "/api/v1/builds", `{"os":"linux","arch":"amd64","telemetry":false,"plugins":["plugin.example/broken"]}`, 403, "not among those that the operator has registered"},
		{"POST", "/api/v1/builds", `{"os":"linux","arch":"amd64","telemetry":false,"caddy":"v2"}`, 400, "is no module"},
		{"POST", "/api/v1/builds", strings.Repeat(" ", maxRequest+1), 413, "too large"},
		{"GET", "/api/v1/builds/none", "", 404, "no such build"},
		{"GET", "/api/v1/builds/none/events", "", 404, "no such build"},
		{"GET", "/api/v1/builds/none/download", "", 404, "no such build"},
		{"DELETE", "/api/v1/builds/" + id, "", 403, "operator"},
	} {
		resp, b := request(t, c.method, base+c.path, "application/json", c.body)
		p := decode[wire.Problem](t, b)
		if resp.StatusCode != c.status || p.Status != c.status || !strings.Contains(p.Title+p.Detail, c.want) || resp.Header.Get("Content-Type") != wire.TypeProblem {
			t.Errorf("%s %s %.80s: %s: %s, want %d with %q", c.method, c.path, c.body, resp.Status, b, c.status, c.want)
		}
	}
	resp, b := request(t, "DELETE", base+"/api/v1/builds/"+id, "", "", "Authorization", "Bearer sesame")
	if a := decode[Answer](t, b); resp.StatusCode != 200 || a.State != "cancelled" {
		t.Errorf("%s: %s", resp.Status, b)
	}
	resp, b = request(t, "POST", base+"/api/v1/builds/"+id+"/retry", "", "", "Authorization", "Bearer sesame")
	if a := decode[Answer](t, b); resp.StatusCode != 200 || a.State != "queued" {
		t.Errorf("%s: %s", resp.Status, b)
	}
}

// What Caddy's own download API takes works here.
func TestCompatibleDownload(t *testing.T) {
	f, base := serveFront(t, nil)
	f.start(t)
	q := url.Values{"os": {runtime.GOOS}, "arch": {runtime.GOARCH}, "p": {"plugin.example/good"}, "idempotency": {"1234"}, "telemetry": {"off"}}
	resp, exe := request(t, "GET", base+"/api/v1/download?"+q.Encode(), "", "")
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", resp.Status, exe)
	}
	file := filepath.Join(t.TempDir(), "caddy")
	if err := os.WriteFile(file, exe, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(file).CombinedOutput()
	if err != nil || string(out) != "good with library 1.0.0\ncaddy 2.9.0\n" {
		t.Errorf("it says %q (%v)", out, err)
	}

	// Errors are as `caddy upgrade` reads them, too.
	q.Set("p", "plugin.example/broken")
	resp, b := request(t, "GET", base+"/api/v1/download?"+q.Encode(), "", "")
	got := decode[struct {
		Status     int
		Detail     string
		StatusCode int `json:"status_code"`
		Error      struct{ Message string }
	}](t, b)
	if resp.StatusCode != 422 || got.StatusCode != 422 || got.Status != 422 || !strings.Contains(got.Error.Message, "undefined: undefinedFunction") || got.Detail != got.Error.Message {
		t.Errorf("%s: %s", resp.Status, b)
	}
}

// Whoever waits for a build waits longer than the server's time limits.
func TestWaitingTakesTime(t *testing.T) {
	const limit = 2 * time.Second
	p := &publisher{block: make(chan struct{})}
	f := newFixture(t, func(c *QueueConfig) { c.Publish = p })
	base := serveFixture(t, f, nil, limit)
	f.start(t)
	time.AfterFunc(limit+time.Second, func() { close(p.block) })
	resp, b := request(t, "GET", base+"/api/v1/download?os=linux&arch=amd64&telemetry=off", "", "")
	if resp.StatusCode != 200 || resp.ContentLength != int64(len(b)) {
		t.Errorf("%s with %d bytes of %d", resp.Status, len(b), resp.ContentLength)
	}
}

// A server that ends lets go of those who wait.
func TestEnding(t *testing.T) {
	f := newFixture(t, nil)
	cfg := FrontConfig{Queue: f.Queue, Versions: newest{wire.CaddyPath: "v2.9.0", wire.Toolchain: f.m.goVer}, Logger: slog.New(slog.DiscardHandler)}
	front, err := NewFront(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	front.Register(mux)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux}
	srv.RegisterOnShutdown(front.End)
	go srv.Serve(ln)
	id := f.ask(t, fakeSpec(f.m, "good"), PriorityUpdate).ID
	answered := make(chan string, 2)
	for _, path := range []string{"/api/v1/download?os=linux&arch=amd64&telemetry=off", "/api/v1/builds/" + id + "/events"} {
		go func() {
			resp, b := request(t, "GET", "http://"+ln.Addr().String()+path, "", "")
			answered <- resp.Status + " " + resp.Header.Get("Retry-After") + string(b)
		}()
	}
	// Both are being waited for once the first has queued its build.
	waiting := fakeSpec(f.m)
	waiting.Service = ""
	for {
		if _, err := f.Progress(t.Context(), waiting.ID()); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if got := <-answered; !strings.HasPrefix(got, "503 Service Unavailable 60") && !strings.HasPrefix(got, "200 OK") {
			t.Error(got)
		}
	}
	// Who comes in that moment, before there is anything to wait for, hears the same.
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/download?os=linux&arch=amd64&telemetry=off", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}

// Nobody fills the queue alone; what is there is had by all.
func TestSendersAreLimited(t *testing.T) {
	_, base := serveFront(t, func(c *FrontConfig) {
		c.PerHour = 2
		c.Sender = func(r *http.Request) string { return r.Header.Get("X-Sender") }
	})
	ask := func(sender, arch string) int {
		resp, _ := request(t, "POST", base+"/api/v1/builds", "", `{"os":"linux","telemetry":false,"arch":"`+arch+`"}`, "X-Sender", sender)
		return resp.StatusCode
	}
	got := []int{ask("a", "amd64"), ask("a", "arm64"), ask("a", "riscv64"), ask("a", "amd64"), ask("b", "riscv64"), ask("a", "riscv64")}
	if d := cmp.Diff([]int{202, 202, 429, 202, 202, 202}, got); d != "" {
		t.Error(d)
	}
}

func TestPages(t *testing.T) {
	f, base := serveFront(t, nil)
	resp, b := request(t, "GET", base+"/build", "", "")
	for _, want := range []string{"plugin.example/good", "does good", "freebsd/arm64", `<option selected>linux/amd64`} {
		if resp.StatusCode != 200 || !strings.Contains(string(b), want) {
			t.Errorf("%s: the form has no %q", resp.Status, want)
		}
	}
	const form = "application/x-www-form-urlencoded"
	resp, b = request(t, "POST", base+"/build", form, url.Values{"system": {"windows/amd64"}, "caddy": {"<b>"}, "p": {"plugin.example/good"}}.Encode())
	if resp.StatusCode != 400 || !strings.Contains(string(b), "&lt;b&gt;") || strings.Contains(string(b), "<b>") || !strings.Contains(string(b), `value="plugin.example/good" checked`) {
		t.Errorf("%s: %s", resp.Status, b)
	}
	resp, b = request(t, "POST", base+"/build", form, url.Values{"system": {"linux/amd64"}, "p": {"plugin.example/good"}, "others": {"plugin.example/library@v1.1.0\n"}}.Encode())
	at := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(at, "/build/") {
		t.Fatalf("%s: %s", resp.Status, b)
	}
	if _, b = request(t, "GET", base+at, "", ""); !strings.Contains(string(b), "queued") || !strings.Contains(string(b), `http-equiv="refresh"`) {
		t.Errorf("%s", b)
	}
	f.start(t)
	if _, err := f.Wait(t.Context(), strings.TrimPrefix(at, "/build/")); err != nil {
		t.Fatal(err)
	}
	resp, b = request(t, "GET", base+at, "", "")
	for _, want := range []string{"/download", "SHA-256", "plugin.example/library", "/attestations/"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the page has no %q: %s", want, b)
		}
	}
	if strings.Contains(string(b), "http-equiv") || resp.Header.Get("Content-Security-Policy") == "" {
		t.Error("a page that is done asks again, or has no policy")
	}
	if resp, b := request(t, "GET", base+"/build/none", "", ""); resp.StatusCode != 404 || !strings.Contains(string(b), "There is no such build") {
		t.Errorf("%s: %s", resp.Status, b)
	}
	for _, file := range []string{"/build/build.css", "/build/build.js"} {
		if resp, _ := request(t, "GET", base+file, "", ""); resp.StatusCode != 200 {
			t.Errorf("%s: %s", file, resp.Status)
		}
	}
}

func TestProxyVersions(t *testing.T) {
	asked := 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /github.com/!big/plugin/@latest", func(w http.ResponseWriter, r *http.Request) {
		asked++
		io.WriteString(w, `{"Version":"v1.2.3"}`)
	})
	mux.HandleFunc("GET /bad.example/x/@latest", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"Version":"x y"}`) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux}
	go srv.Serve(ln)
	defer srv.Close()
	v := &ProxyVersions{Proxy: "file:///x,http://" + ln.Addr().String() + ",direct", Go: "go1.26.11"}
	for range 2 {
		if got, err := v.Latest(t.Context(), "github.com/Big/plugin"); err != nil || got != "v1.2.3" {
			t.Errorf("%s (%v)", got, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	if got, err := v.Latest(t.Context(), wire.Toolchain); err != nil || got != "go1.26.11" {
		t.Errorf("%s (%v)", got, err)
	}
	for _, path := range []string{"bad.example/x", "none.example/x", "../x"} {
		if got, err := v.Latest(t.Context(), path); err == nil {
			t.Errorf("%s: %s", path, got)
		}
	}
}
