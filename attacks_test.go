package evergreen

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A raid is attacks on a real Caddy. Time passes when the test says so: what is
// counted does not depend on how fast the machine is.
type raid struct {
	t    *testing.T
	site testSite
	p    *process
	now  time.Time
}

func newRaid(t *testing.T, body string, metricsOff ...string) *raid {
	t.Setenv("EVERGREEN_WINDOW", "5s") // steps of a second, and 300 ms are slow
	t.Setenv("EVERGREEN_ENDPOINT", "http://127.0.0.1:1/")
	fail := func(step string) error {
		if step == "watch for attacks" {
			return errors.New("time is the test's")
		}
		return nil
	}
	fault.Store(&fail)
	t.Cleanup(func() { fault.Store(nil) })
	global := ""
	if len(metricsOff) > 0 {
		global = "evergreen {\n\tmetrics_off " + strings.Join(metricsOff, " ") + "\n}"
	}
	s, c := newSite(t, global, body)
	mustLoad(t, c)
	p := currentProcess()
	r := &raid{t: t, site: s, p: p, now: p.started.Truncate(time.Second)}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { // hanging handlers tell that they were reached
		for {
			select {
			case <-waiting:
			case <-ctx.Done():
				return
			}
		}
	}()
	return r
}

// step ends one when all of its connections and requests are counted.
func (r *raid) step() {
	r.now = r.now.Add(r.p.attacks.Step())
	r.p.attacks.Tick(r.now)
}

// from dials from another network of the machine's own.
func from(network int) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(network), 1)}}
}

func (r *raid) requests(network, n int, method string, paths ...string) {
	r.t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return from(network).DialContext(ctx, "tcp", "127.0.0.1:"+r.site.http)
	}}
	cl := &http.Client{Transport: tr, CheckRedirect: noRedirect}
	for i := range n {
		get(r.t, cl, method, "http://localhost:"+r.site.http+paths[i%len(paths)], nil)
	}
	tr.CloseIdleConnections()
}

// counted waits until a behaviour was counted n times.
func (r *raid) counted(behaviour string, n float64) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%s is counted %.0f times", behaviour, n), func() bool {
		return counts(r.t, "attacks_behaviour")["attacks_behaviour{behaviour="+behaviour+",family=ipv4}"] >= n
	})
}

func (r *raid) answered(status int, n float64) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d is answered %.0f times", status, n), func() bool {
		return counts(r.t, "http_requests")[fmt.Sprintf("http_requests{protocol=http/1.1,role=site,status=%d}", status)] >= n
	})
}

func (r *raid) dial(network int, port string) net.Conn {
	r.t.Helper()
	c, err := from(network).DialContext(r.t.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// slowloris sends headers that never end.
func (r *raid) slowloris(network, n int) {
	var conns []net.Conn
	for range n {
		c := r.dial(network, r.site.http)
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX-a: b\r\n")
		conns = append(conns, c)
	}
	time.Sleep(r.p.attacks.Slow() + 200*time.Millisecond) // what makes them slow
	for _, c := range conns {
		c.Close()
	}
}

// handshakes begins some and goes away.
func (r *raid) handshakes(network, n int) {
	for range n {
		r.dial(network, r.site.https).Close()
	}
}

// rapidReset asks for n streams, in batches, and takes back each at once.
func (r *raid) rapidReset(network, n int) {
	r.t.Helper()
	c := tls.Client(r.dial(network, r.site.https), &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{"h2"}}) //nolint:gosec // signed by itself
	defer c.Close()
	if _, err := c.Write([]byte(http2.ClientPreface)); err != nil {
		r.t.Fatal(err)
	}
	f := http2.NewFramer(c, c)
	check := func(err error) {
		if err != nil {
			r.t.Helper()
			r.t.Fatal(err)
		}
	}
	check(f.WriteSettings())
	var block bytes.Buffer
	h := hpack.NewEncoder(&block)
	id := uint32(1)
	for sent := 0; sent < n; {
		for range 50 {
			block.Reset()
			for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost:" + r.site.https}, {":path", "/hang"}} {
				_ = h.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
			}
			check(f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
			check(f.WriteRSTStream(id, http2.ErrCodeCancel))
			id += 2
		}
		sent += 50
		// The server has seen these, and its handlers have ended, before the next.
		check(f.WritePing(false, [8]byte{byte(sent)}))
		for {
			frame, err := f.ReadFrame()
			check(err)
			if p, ok := frame.(*http2.PingFrame); ok && p.IsAck() {
				break
			}
		}
		r.counted("aborted", float64(sent))
	}
}

// report is what the next report has of incidents, ended ones and those that go on.
func (r *raid) report() []*wire.Incident {
	w := incidentWindows{r.p.windows, r.p.attacks}.Peek(r.now)
	if w.Start+int64(w.Seconds) < r.now.Unix() {
		return r.p.attacks.Peek(r.now) // the test's time is ahead of the windows'
	}
	return w.Incidents
}

func TestAttacksOnCaddy(t *testing.T) {
	r := newRaid(t, `
	misbehave /hang hang
	respond /login "no" 401
	respond /ok "ok"
	respond "nothing here" 404`)
	for range 12 {
		r.requests(1, 5, "GET", "/ok")
		r.step()
	}
	began := r.now
	r.answered(200, 60)
	for i := range 2 {
		n := float64(i + 1)
		r.requests(10, 1_300, "GET", "/ok")
		r.requests(20, 60, "GET", "/.env", "/wp-login.php", "/.git/config", "/phpmyadmin/", "/backup.sql", "/unknown")
		r.requests(30, 60, "POST", "/login")
		r.slowloris(40, 30)
		r.handshakes(50, 200)
		if i == 0 {
			r.rapidReset(60, 700)
		}
		r.counted("handshake_abandoned", 200*n)
		r.counted("slow", 30*n)
		r.counted("denied", 60*n)
		r.counted("scan", 50*n)
		r.answered(200, 60+1_300*n)
		r.step()
	}
	for range 6 {
		r.requests(1, 5, "GET", "/ok")
		r.step()
	}
	for _, in := range r.report() {
		if in.Open || len(in.Networks) > 0 || in.Number == 0 || in.Events == 0 || in.Peak == 0 {
			t.Errorf("%v is open, has networks that nobody routes, or lacks something", in)
		}
	}
	type what struct {
		Kind       string
		From, To   int64 // seconds since the attack began
		FewSources bool
	}
	var got []what
	for _, in := range r.report() {
		got = append(got, what{wire.IncidentKind.ValueName(wire.Value(in.Kind)), in.Start - began.Unix(), in.Start + int64(in.Seconds) - began.Unix(), in.Sources <= 2})
	}
	want := []what{
		{"rapid_reset", 0, 1, true}, {"credential_stuffing", 0, 2, true}, {"scan", 0, 2, true}, {"slow_requests", 0, 2, true},
		{"handshake_flood", 0, 2, true}, {"request_flood", 0, 2, true},
	}
	// The slow connections' time is the machine's, not the test's.
	slow := func(w what) bool { return w.Kind == "slow_requests" }
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b what) bool { return a.Kind < b.Kind }),
		cmpopts.IgnoreSliceElements(slow)); diff != "" {
		t.Errorf("incidents (-want +got):\n%s", diff)
	}
	n := 0
	for _, w := range got {
		if slow(w) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d incidents of slow requests: %v", n, got)
	}
}

// Incidents are in the windows, with or without what is switched off.
func TestIncidentWindows(t *testing.T) {
	for _, c := range []struct {
		off  []string
		want int
	}{{nil, 1}, {[]string{"attacks.networks"}, 1}, {[]string{"attacks.incidents"}, 0}, {[]string{"attacks"}, 0}} {
		r := newRaid(t, `respond "nothing here" 404`, c.off...)
		r.requests(1, 50, "GET", "/.env")
		r.answered(404, 50)
		r.p.attacks.Tick(r.p.started.Truncate(time.Second).Add(time.Second))
		w := incidentWindows{r.p.windows, r.p.attacks}
		win := w.Peek(time.Now().Add(5 * time.Second))
		if len(win.Incidents) != c.want {
			t.Errorf("with %v off there are %v", c.off, win.Incidents)
		}
		if dropped, err := (&wire.Report{Number: 1, Created: 1, Windows: []*wire.Window{win}}).Clean(); dropped != 0 || err != nil {
			t.Errorf("Clean() = %d, %v", dropped, err)
		}
		if off := r.p.attacks.off.networks.Load(); off != (len(c.off) > 0 && c.off[0] != "attacks.incidents") {
			t.Errorf("with %v off, networks are off: %v", c.off, off)
		}
		stop(t, r.site)
	}
}

// dialQUIC makes a QUIC connection from another network, whose socket is closed
// with the test.
func (r *raid) dialQUIC(network int) *quic.Transport {
	r.t.Helper()
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, byte(network), 1)})
	if err != nil {
		r.t.Fatal(err)
	}
	tr := &quic.Transport{Conn: u}
	r.t.Cleanup(func() { tr.Close(); u.Close() })
	return tr
}

// Over QUIC an attack's ClientHello is known as well, and connections without a
// request are seen.
func TestAttacksOverQUIC(t *testing.T) {
	for _, c := range []struct {
		kind, behaviour string
		n               int
		alpn            string
		ask             bool
	}{
		{"scan", "scan", 40, "h3", true},
		{"handshake_flood", "handshake_abandoned", 130, "smtp", false}, // refused
		{"connection_flood", "silent", 320, "h3", false},
	} {
		r := newRaid(t, `respond "nothing here" 404`)
		server, err := net.ResolveUDPAddr("udp", "127.0.0.1:"+r.site.https)
		if err != nil {
			t.Fatal(err)
		}
		var transport *quic.Transport
		dial := func(ctx context.Context, _ string, config *tls.Config, quicConfig *quic.Config) (*quic.Conn, error) {
			return transport.Dial(ctx, server, config, quicConfig)
		}
		config := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{c.alpn}} //nolint:gosec // signed by itself
		if c.ask {
			transport = r.dialQUIC(10)
			tr := &http3.Transport{TLSClientConfig: config, Dial: dial}
			for range c.n {
				get(t, &http.Client{Transport: tr}, "GET", "https://localhost:"+r.site.https+"/.env", nil)
			}
			tr.Close()
		} else {
			for i := range c.n {
				if i%40 == 0 { // sources are networks
					transport = r.dialQUIC(10 + i/40)
				}
				conn, err := dial(t.Context(), "", config, nil)
				if err == nil {
					waitUntilShaken(t, conn)
					err = conn.CloseWithError(0, "")
				}
				if (err == nil) != (c.alpn == "h3") {
					t.Fatalf("%s: connecting: %v", c.kind, err)
				}
			}
		}
		r.counted(c.behaviour, float64(c.n))
		r.step()
		type what struct {
			Kind     string
			Events   uint64
			TopShare uint32
			Many     bool
		}
		var got []what
		for _, in := range r.report() {
			got = append(got, what{wire.IncidentKind.ValueName(wire.Value(in.Kind)), in.Events, in.TopShare, wire.Value(in.Sources) > wire.SourceClassOf(1)})
		}
		if diff := cmp.Diff([]what{{c.kind, uint64(c.n), 100, !c.ask}}, got); diff != "" {
			t.Errorf("incidents (-want +got):\n%s", diff)
		}
		stop(t, r.site)
	}
}

// waitUntilShaken waits until the server, too, knows that the handshake is
// complete: then it refuses a stream of a type that there is not (RFC 9114, 9).
func waitUntilShaken(t *testing.T, conn *quic.Conn) {
	t.Helper()
	stream, err := conn.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Write([]byte{0x21}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-stream.Context().Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the server does not answer on a new connection")
	}
}
