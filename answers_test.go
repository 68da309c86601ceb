package evergreen

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// Whatever Caddy does after a handler's error, the request counts once, with the
// status that the client got.
func TestErrorRoutes(t *testing.T) {
	s, c := newSite(t, "", fmt.Sprintf(`
	error /rewritten 500
	error /kept 418
	error /unhandled 451
	error /again 422
	handle /dead {
		reverse_proxy 127.0.0.1:%s
	}
	misbehave /unknown nothing
	handle /routed {
		error 409
	}
	handle_errors 500 {
		respond "sorry" 503
	}
	handle_errors 418 409 {
		respond "{err.status_code}"
	}
	handle_errors 422 {
		error 400
	}
	handle_errors 502 {
		rewrite * /elsewhere
		respond "elsewhere" 200
	}
	respond "fine"
	`, freePort(t)))
	want := map[string]float64{}
	for _, telemetry := range []string{"off", "on"} {
		t.Setenv("EVERGREEN_TELEMETRY", telemetry)
		mustLoad(t, c)
		for _, name := range []string{"plain", "http/1.1", "http/2", "http/3"} {
			protocol := name
			if name == "plain" {
				protocol = "http/1.1"
			}
			cl, end := client(t, name)
			for _, q := range []struct {
				path    string
				status  int
				answer  string
				handler int
			}{
				{"/rewritten", 503, "sorry", 500},
				{"/kept", 418, "418", 418},
				{"/unhandled", 451, "", 451},
				{"/again", 422, "", 422},
				{"/dead", 200, "elsewhere", 502},
				{"/unknown", 500, "", 500}, // to Caddy, an error of no status is in none of these routes
				{"/routed", 409, "409", 409},
				{"/fine", 200, "fine", 0},
			} {
				status, answer := get(t, cl, "GET", s.url(name, q.path), nil)
				if status != q.status || answer != q.answer {
					t.Errorf("telemetry %s: %s %s: %d %q, want %d %q", telemetry, name, q.path, status, answer, q.status, q.answer)
				}
				if telemetry == "off" {
					continue
				}
				want[fmt.Sprintf("http_requests{protocol=%s,role=site,status=%d}", protocol, q.status)]++
				if q.handler != 0 {
					want[fmt.Sprintf("http_errors_handler{role=site,status=%d}", q.handler)]++
				}
			}
			end()
		}
		if telemetry == "off" {
			stop(t, s)
		}
	}
	wantCounts(t, want, "http_requests", "http_errors_handler", "http_errors_panic", "http_errors_aborted")
}

// webSocket is an upstream that switches protocols and sends the first line back.
func webSocket(t *testing.T) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			http.Error(w, "no websocket", http.StatusUpgradeRequired)
			return
		}
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if line, err := rw.ReadString('\n'); err == nil {
			_, _ = io.WriteString(conn, line)
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// WebSockets through the reverse proxy, as upgrades of HTTP/1.1 and as extended
// CONNECT of HTTP/3. For HTTP/2 see TestExtendedConnectHTTP2.
func TestWebSockets(t *testing.T) {
	s, c := newSite(t, "", "reverse_proxy "+webSocket(t))
	mustLoad(t, c)

	conns := map[string]func() (net.Conn, error){
		"plain": func() (net.Conn, error) { return net.Dial("tcp", "127.0.0.1:"+s.http) },
		"tls":   func() (net.Conn, error) { return tls.Dial("tcp", "127.0.0.1:"+s.https, insecure.Clone()) },
	}
	for name, dial := range conns {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
		rd := bufio.NewReader(conn)
		if resp, err := http.ReadResponse(rd, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%s: %v %v", name, resp, err)
		}
		fmt.Fprintln(conn, "hello")
		if line, err := rd.ReadString('\n'); line != "hello\n" {
			t.Fatalf("%s: %q %v", name, line, err)
		}
		conn.Close()
	}
	// One that the upstream refuses.
	cl, end := client(t, "plain")
	if status, _ := get(t, cl, "GET", s.url("plain", "/chat"), nil); status != http.StatusUpgradeRequired {
		t.Errorf("no upgrade asked: %d", status)
	}
	end()

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	config := insecure.Clone()
	config.NextProtos = []string{http3.NextProtoH3}
	qc, err := quic.DialAddr(ctx, "127.0.0.1:"+s.https, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	h3 := new(http3.Transport).NewClientConn(qc)
	<-h3.ReceivedSettings()
	if !h3.Settings().EnableExtendedConnect {
		t.Fatal("Caddy does not take extended CONNECT over HTTP/3")
	}
	stream, err := h3.OpenRequestStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse("https://localhost/chat")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendRequestHeader(&http.Request{Method: http.MethodConnect, Proto: "websocket", Host: "localhost", URL: u, Header: http.Header{}}); err != nil {
		t.Fatal(err)
	}
	if resp, err := stream.ReadResponse(); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("http/3: %v %v", resp, err)
	}
	if _, err := stream.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stream).ReadString('\n'); line != "hello\n" {
		t.Fatalf("http/3: %q %v", line, err)
	}
	wantCounts(t, map[string]float64{
		"http_upgrades{protocol=http/1.1,upgrade=websocket}":    2,
		"http_upgrades{protocol=http/3,upgrade=websocket}":      1,
		"http_requests{protocol=http/1.1,role=site,status=101}": 2,
		"http_requests{protocol=http/1.1,role=site,status=426}": 1,
		"http_requests{protocol=http/3,role=site,status=200}":   1,
	}, "http_upgrades", "http_requests", "http_errors_aborted", "http_errors_handler", "http_errors_panic")
	if err := qc.CloseWithError(0, ""); err != nil {
		t.Error(err)
	}
	wantCounts(t, map[string]float64{
		"connections{family=ipv4,protocol=http/1.1,role=site,transport=plain}": 2,
		"connections{family=ipv4,protocol=http/1.1,role=site,transport=tls}":   1,
		"connections{family=ipv4,protocol=http/3,role=site,transport=tls}":     1,
		"tls_alpn{alpn=none}": 1,
		"tls_alpn{alpn=h3}":   1,
	}, "connections", "tls_alpn")
}

// Caddy takes extended CONNECT over HTTP/2 only if the process starts with a
// variable in its environment: the test runs itself with it.
func TestExtendedConnectHTTP2(t *testing.T) {
	if !strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1") {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestExtendedConnectHTTP2$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=http2xconnect=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestExtendedConnectHTTP2")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	s, c := newSite(t, "", "reverse_proxy "+webSocket(t))
	mustLoad(t, c)
	config := insecure.Clone()
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", "127.0.0.1:"+s.https, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	const data, headers, settings = 0, 1, 4 // types of frames
	send := func(kind, flags byte, stream uint32, payload []byte) {
		t.Helper()
		f := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
		f = binary.BigEndian.AppendUint32(append(f, flags), stream)
		if _, err := conn.Write(append(f, payload...)); err != nil {
			t.Fatal(err)
		}
	}
	next := func() (kind, flags byte, payload []byte) {
		t.Helper()
		head := make([]byte, 9)
		if _, err := io.ReadFull(conn, head); err != nil {
			t.Fatal(err)
		}
		payload = make([]byte, binary.BigEndian.Uint32(head)>>8)
		if _, err := io.ReadFull(conn, payload); err != nil {
			t.Fatal(err)
		}
		return head[3], head[4], payload
	}
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	send(settings, 0, 0, nil)
	var block []byte // HPACK: literal fields that are not indexed
	for _, f := range [][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/chat"}} {
		block = append(append(block, 0, byte(len(f[0]))), f[0]...)
		block = append(append(block, byte(len(f[1]))), f[1]...)
	}
	var answer []byte
	for done := false; !done; {
		kind, flags, payload := next()
		switch {
		case kind == settings && flags == 0: // the server's: we may begin
			if !bytes.Contains(payload, []byte{0, 8, 0, 0, 0, 1}) {
				t.Fatalf("Caddy does not take extended CONNECT over HTTP/2: settings %x", payload)
			}
			send(settings, 1, 0, nil)
			send(headers, 4, 1, block)
		case kind == headers:
			if len(payload) == 0 || payload[0] != 0x88 { // :status 200
				t.Fatalf("header %x", payload)
			}
			send(data, 0, 1, []byte("hello\n"))
		case kind == data:
			answer = append(answer, payload...)
			done = bytes.HasSuffix(answer, []byte("\n"))
		}
	}
	if string(answer) != "hello\n" {
		t.Fatalf("%q", answer)
	}
	wantCounts(t, map[string]float64{
		"http_upgrades{protocol=http/2,upgrade=websocket}":    1,
		"http_requests{protocol=http/2,role=site,status=200}": 1,
	}, "http_upgrades", "http_requests", "http_errors_aborted", "http_errors_handler", "http_errors_panic")
}
