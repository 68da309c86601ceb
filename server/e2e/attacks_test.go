//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Windows of ten seconds make steps of two, in which attacks are looked for.
var siegeTiming = []string{"EVERGREEN_WINDOW=10s", "EVERGREEN_NOTICE=0s", "EVERGREEN_REPORT_EVERY=2s"}

const siegeStep = 2 * time.Second

// besiege starts a Caddy that reports to srv. global are further lines of its
// global options.
func besiege(t *testing.T, srv *server, global string) *siege {
	t.Helper()
	exe := caddyWith(t, caddyVersions[len(caddyVersions)-1])
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(upstream.Close)
	ports, err := testbed.PickPorts()
	if err != nil {
		t.Fatal(err)
	}
	proxied := freeAddr(t)
	_, proxiedPort, _ := net.SplitHostPort(proxied)
	routes := `
	respond / "a page"
	respond /page/* "a page"
	respond /login "no" 401
	handle /slow {
		reverse_proxy ` + upstream.Listener.Addr().String() + `
	}
	handle /away {
		reverse_proxy 127.0.0.1:9 {
			lb_try_duration 0s
		}
	}
	respond "nothing here" 404
`
	site := "{\n" + ports.Globals() + global +
		"\tservers :" + proxiedPort + " {\n\t\tlistener_wrappers {\n\t\t\tproxy_protocol {\n\t\t\t\tallow 127.0.0.0/8\n\t\t\t}\n\t\t}\n\t}\n}\n" +
		"localhost, http://localhost {" + routes + "}\nhttp://localhost:" + proxiedPort + " {" + routes + "}\n"
	w := startWitness(t, srv)
	c, err := testbed.StartCaddy(t.Context(), exe, t.TempDir(), site, ports, append(siegeTiming, "EVERGREEN_ENDPOINT="+w.URL)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Kill()
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", c.LogTail(40))
		}
	})
	if _, err := c.WaitForCertificate(t.Context(), rootsOf(t, c)); err != nil {
		t.Fatal(err)
	}
	return &siege{
		t: t, caddy: c, witness: w, proxied: proxied,
		http: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports.HTTP)), tls: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports.HTTPS)),
	}
}

// visitors are some with different clients, who ask for a page now and then
// until the test ends. It returns once Caddy knows what is ordinary.
func (s *siege) visitors() {
	ctx, leave := context.WithCancel(s.t.Context())
	var gone sync.WaitGroup
	s.t.Cleanup(func() { leave(); gone.Wait() })
	for n := range 8 {
		v := s.visitor(n)
		gone.Go(func() {
			for ctx.Err() == nil {
				_, _ = ask(ctx, v.client, "GET", v.page(), v.agent)
				select {
				case <-ctx.Done():
				case <-time.After(siegeStep / 4):
				}
			}
		})
	}
	s.steps(13)
}

// steps waits until so many have ended.
func (s *siege) steps(n int) {
	until := time.Now().Truncate(siegeStep).Add(time.Duration(n) * siegeStep)
	time.Sleep(time.Until(until))
}

// A visitor is a client as there are many, with a ClientHello and a User-Agent
// of their own.
type visitor struct {
	client *http.Client
	agent  string
}

var visitorAgents = []string{
	firefox,
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
	"Mozilla/5.0 (Android 15; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0",
}

// visitorHellos are ways to greet a server that differ.
var visitorHellos = []func(*tls.Config){
	func(*tls.Config) {},
	func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} },
	func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
	func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 },
	func(c *tls.Config) {
		c.MaxVersion = tls.VersionTLS12
		c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	},
	func(c *tls.Config) {
		c.MaxVersion = tls.VersionTLS12
		c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}
	},
}

// visitor n comes from a network of their own; every other one speaks HTTP/2.
func (s *siege) visitor(n int) visitor {
	return visitor{
		client: s.client(0x4000+n, attackerTLS(visitorHellos[n%len(visitorHellos)]), n%len(visitorHellos) != 1 && n%2 == 0),
		agent:  visitorAgents[n%len(visitorAgents)],
	}
}

func (visitor) page() string {
	if rand.IntN(5) == 0 {
		return "https://localhost/"
	}
	return fmt.Sprintf("https://localhost/page/%d", rand.IntN(40))
}

// An assault is one attack: bursts, each in a step of its own.
type assault struct {
	kind  string
	scan  string
	least int // events
	burst func(s *siege)
}

func fixed(url string) func(int) string { return func(int) string { return url } }

// scanned are the paths of a scanner, in its order.
var scanned = []string{"/.env", "/wp-login.php", "/.git/config", "/phpmyadmin/index.php", "/backup.sql", "/cgi-bin/test.cgi", "/actuator/env", "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php"}

// assaults are of every kind. What comes with a ClientHello comes with another
// one than the attacks before, whose by-product it would seem to be.
func assaults(t *testing.T) []assault {
	hello := helloBytes(t, attackerTLS(func(c *tls.Config) {
		c.MaxVersion = tls.VersionTLS12
		c.CurvePreferences = []tls.CurveID{tls.CurveP256}
	}))
	return []assault{
		{"rapid_reset", "other", 1500, func(s *siege) { s.rapidReset(900, 10, "/slow") }},
		{"credential_stuffing", "other", 300, func(s *siege) {
			var many []*http.Client
			for n := range 20 {
				many = append(many, s.client(20+n, nil, false))
			}
			s.requests(120, "POST", fixed("http://localhost/login"), 401, many...)
		}},
		{"scan", "other", 300, func(s *siege) {
			s.requests(120, "GET", func(i int) string { return "http://localhost" + scanned[i%len(scanned)] }, 404, s.client(50, nil, false))
		}},
		{"protocol_violation", "other", 300, func(s *siege) {
			garbage := []string{strings.Repeat("\x00\x01\x02\x03", 20) + "\r\n\r\n", "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"}
			var i atomic.Int64
			s.connections(120, 60, 3, s.http, func(c net.Conn) {
				_, _ = io.WriteString(c, garbage[i.Add(1)%int64(len(garbage))])
				_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
				_, _ = io.Copy(io.Discard, c) // the server refuses, and closes
			})
		}},
		{"slow_requests", "other", 150, func(s *siege) { s.slowloris(80, 70) }},
		{"handshake_flood", "other", 900, func(s *siege) {
			s.connections(400, 80, 4, s.tls, func(c net.Conn) {
				_, _ = c.Write(hello)
				_, _ = c.Read(make([]byte, 1)) // the server's hello, which has cost it what the attack is about
			})
		}},
		{"request_flood", "other", 9000, func(s *siege) {
			var few []*http.Client
			for n := range 3 {
				few = append(few, s.client(100+n, attackerTLS(), false))
			}
			s.requests(4000, "GET", fixed("https://localhost/"), 200, few...)
		}},
		{"connection_flood", "other", 2000, func(s *siege) { s.connections(1000, 120, 4, s.http, func(net.Conn) {}) }},
		{"error_burst", "other", 450, func(s *siege) {
			s.requests(200, "GET", fixed("http://localhost/away"), 502, s.client(130, nil, false))
		}},
		{"not_found_burst", "other", 900, func(s *siege) {
			s.requests(400, "GET", func(i int) string { return fmt.Sprintf("http://localhost/old/%d", i) }, 404, s.client(140, nil, false))
		}},
	}
}

// kindsOf are the kinds of incidents.
func kindsOf(ins map[uint64]*wire.Incident) (kinds []string) {
	for _, in := range ins {
		kinds = append(kinds, wire.IncidentKind.ValueName(wire.Value(in.Kind)))
	}
	slices.Sort(kinds)
	return kinds
}

// arrived are the incidents that the server has acknowledged.
func (w *witness) arrived() map[uint64]*wire.Incident {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.incidents)
}

// shown are the open incidents in what `caddy evergreen report` prints.
func (s *siege) shown() (map[uint64]*wire.Incident, error) {
	out, err := s.caddy.Evergreen(s.t.Context(), "report", "--json")
	if err != nil {
		return nil, err
	}
	r, err := wire.DecodeJSON([]byte(out))
	if err != nil {
		return nil, err
	}
	open := map[uint64]*wire.Incident{}
	for _, win := range r.Windows {
		for _, in := range win.Incidents {
			if in.Open {
				open[in.Number] = in
			}
		}
	}
	return open, nil
}

// attack runs three bursts of an assault, and returns when it began, when its last
// burst did, and when it was over.
func (s *siege) attack(a assault) (begin, last, end time.Time) {
	for i := range 3 {
		s.steps(1)
		last = time.Now()
		if i == 0 {
			begin = last
		}
		a.burst(s)
	}
	return begin, last, time.Now()
}

// TestE2EAttacks attacks a real Caddy in every way there is, one after the other.
// Each attack becomes one incident of its kind, which `caddy evergreen report`
// shows while it goes on, and which arrives at the server with its beginning and end.
func TestE2EAttacks(t *testing.T) {
	srv := startServer(t, siegeTiming...)
	s := besiege(t, srv, "")
	s.visitors()
	type outcome struct{ Kind, Scan, Begin, End, Events string }
	var want, got []outcome
	whens := map[string][3]time.Time{}
	all := assaults(t)
	for _, a := range all {
		begin, last, end := s.attack(a)
		whens[a.kind] = [3]time.Time{begin, last, end}
		want = append(want, outcome{a.kind, a.scan, "right", "right", "enough"})
		eventually(t, 20*time.Second, func() error {
			open, err := s.shown()
			if err == nil && !slices.Contains(kindsOf(open), a.kind) {
				err = fmt.Errorf("the report shows no open %s, only %v", a.kind, kindsOf(open))
			}
			return err
		})
	}
	eventually(t, 60*time.Second, func() error {
		ins := s.witness.arrived()
		if len(ins) < len(all) {
			return fmt.Errorf("only these arrived: %v", kindsOf(ins))
		}
		for _, in := range ins {
			if in.Open {
				return fmt.Errorf("%v is still open", in)
			}
		}
		return nil
	})
	events := map[string]uint64{}
	ins := slices.SortedFunc(maps.Values(s.witness.arrived()), func(a, b *wire.Incident) int { return cmp.Compare(a.Start, b.Start) })
	for _, in := range ins {
		kind := wire.IncidentKind.ValueName(wire.Value(in.Kind))
		t.Logf("%v", in)
		events[kind] += in.Events
		o := outcome{Kind: kind, Scan: wire.ScanClass.ValueName(wire.Value(in.Scan))}
		when := whens[kind]
		between := func(at int64, from, to time.Time) string {
			if at < from.Unix() || at > to.Unix() {
				return fmt.Sprintf("%d, which is not in %d to %d", at, from.Unix(), to.Unix())
			}
			return "right"
		}
		// Steps are what can be told apart. What was sent at a step's end counts in the
		// next one at the latest.
		o.Begin = between(in.Start, when[0].Truncate(siegeStep), when[0].Add(2*siegeStep))
		o.End = between(in.Start+int64(in.Seconds), when[1].Truncate(siegeStep), when[2].Truncate(siegeStep).Add(2*siegeStep))
		if n := slices.IndexFunc(all, func(a assault) bool { return a.kind == kind }); n >= 0 && in.Events >= uint64(all[n].least) {
			o.Events = "enough"
		}
		got = append(got, o)
	}
	sorted := func(o []outcome) []outcome {
		return slices.SortedFunc(slices.Values(o), func(a, b outcome) int { return cmp.Compare(a.Kind, b.Kind) })
	}
	if diff := gocmp.Diff(sorted(want), sorted(got)); diff != "" {
		t.Errorf("incidents (-want +got):\n%s", diff)
	}

	// The API answers each once, with all its events, and no network: nobody routes 127.0.0.0/8.
	once := map[string]uint64{}
	for _, a := range all {
		once[a.kind] = 1
	}
	eventually(t, 30*time.Second, func() error {
		if diff := gocmp.Diff(once, srv.counts(t, "attacks.incidents", "incident_kind")); diff != "" {
			return fmt.Errorf("the API's incidents (-want +got):\n%s", diff)
		}
		if diff := gocmp.Diff(events, srv.counts(t, "attacks.incidents.events", "incident_kind")); diff != "" {
			return fmt.Errorf("the API's events (-want +got):\n%s", diff)
		}
		return nil
	})
	if n := srv.counts(t, "attacks.networks"); len(n) > 0 {
		t.Errorf("networks were sent: %v", n)
	}
}
