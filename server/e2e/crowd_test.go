//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/caddy-evergreen/evergreen/clienthello"
	"github.com/caddy-evergreen/evergreen/wire"
)

// ended waits until so many incidents have arrived and are over, and returns them by number.
func (w *witness) ended(t *testing.T, n int) map[uint64]*wire.Incident {
	t.Helper()
	var ins map[uint64]*wire.Incident
	eventually(t, 60*time.Second, func() error {
		ins = w.arrived()
		for _, in := range ins {
			if in.Open {
				return fmt.Errorf("%v is still open", in)
			}
		}
		if len(ins) < n {
			return fmt.Errorf("%d incidents arrived, want %d: %v", len(ins), n, kindsOf(ins))
		}
		return nil
	})
	return ins
}

// TestE2EAttacksOverTLS floods a Caddy with programs whose ClientHellos are in the
// list of known ones, and finds in each incident which it was, and how much of
// all came with it. A crowd after that, larger than the floods, is no incident.
func TestE2EAttacksOverTLS(t *testing.T) {
	srv := startServer(t, siegeTiming...)
	s := besiege(t, srv, "")
	s.visitors()
	_, port, err := net.SplitHostPort(s.tls)
	if err != nil {
		t.Fatal(err)
	}
	const n = 4000
	goClient := func() *http.Client { return s.client(200, attackerTLS(), true) }
	type outcome struct {
		Kind, Fingerprint string
		Share             bool // all but visitors'
	}
	var want []outcome
	for _, flood := range []struct {
		name  string
		greet func(port string) // once
		burst func(s *siege)
	}{
		{"curl", func(port string) { _ = curl(t.Context(), 201, port, "curl", "", "/") }, func(s *siege) {
			var work sync.WaitGroup
			for range 4 {
				work.Go(func() {
					if err := curl(t.Context(), 201, port, "curl", "", fmt.Sprintf("/page/[1-%d]", n/4)); err != nil {
						t.Error(err)
					}
				})
			}
			work.Wait()
		}},
		{"Go", func(port string) {
			_, _ = ask(t.Context(), &http.Client{Transport: &http.Transport{TLSClientConfig: attackerTLS(), ForceAttemptHTTP2: true}}, "GET", "https://localhost:"+port+"/", "Go")
		}, func(s *siege) { s.requests(n, "GET", fixed("https://localhost/"), 200, goClient()) }},
	} {
		ja4 := ja4Of(t, flood.greet)
		name := wire.JA4.ValueName(wire.JA4Value([]byte(ja4)))
		t.Logf("%s greets with %s, which is listed as %s", flood.name, ja4, name)
		want = append(want, outcome{"request_flood", name, true})
		s.attack(assault{burst: flood.burst})
		s.witness.ended(t, len(want))
	}
	if !slices.ContainsFunc(want, func(o outcome) bool { return o.Fingerprint != "other" }) {
		t.Error("none of the programs is in the list of known fingerprints: add what they greet with to wire/ja4.txt")
	}
	byStart := func(ins map[uint64]*wire.Incident) (got []outcome) {
		numbers := []uint64{}
		for number := range ins {
			numbers = append(numbers, number)
		}
		slices.Sort(numbers) // they grow with time
		for _, number := range numbers {
			in := ins[number]
			got = append(got, outcome{wire.IncidentKind.ValueName(wire.Value(in.Kind)), wire.JA4.ValueName(wire.Value(in.Fingerprint)), in.TopShare >= 95})
		}
		return got
	}
	if diff := cmp.Diff(want, byStart(s.witness.ended(t, len(want)))); diff != "" {
		t.Errorf("incidents (-want +got):\n%s", diff)
	}

	least := s.crowd(port)
	t.Logf("a crowd made at least %d requests in each of three steps in a row", least)
	s.steps(3)
	if open, err := s.shown(); err != nil || len(open) > 0 {
		t.Errorf("after a crowd the report has these (%v): %v", err, open)
	}
	if err := s.caddy.Stop(); err != nil { // which sends what there is
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, byStart(s.witness.ended(t, len(want)))); diff != "" {
		t.Errorf("incidents after a crowd (-want +got):\n%s", diff)
	}
}

// crowd is what comes when a site is in the news: many visitors from many
// networks with clients of their own, who read pages, until for three steps in a
// row they made more requests than a flood needs. It returns the fewest of these.
func (s *siege) crowd(port string) int64 {
	s.t.Helper()
	ctx, leave := context.WithCancel(s.t.Context())
	var work sync.WaitGroup
	defer func() { leave(); work.Wait() }()
	var made atomic.Int64
	for n := range 120 {
		v := s.visitor(n + 50)
		work.Go(func() {
			for ctx.Err() == nil {
				if _, err := ask(ctx, v.client, "GET", v.page(), v.agent); err == nil {
					made.Add(1)
				}
				// Up to 60 pages in a step: 120 from one network were suspicious.
				select {
				case <-ctx.Done():
				case <-time.After(siegeStep/80 + rand.N(siegeStep/20)):
				}
			}
		})
	}
	for n := range 3 { // and some whose client is not Go
		work.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := curl(ctx, 0x5000+n<<4+i%16, port, visitorAgents[i%len(visitorAgents)], "--http1.1", "/", "/page/[1-20]"); err == nil {
					made.Add(21)
				}
			}
		})
	}
	var steps []int64
	for range 30 {
		before := made.Load()
		s.steps(1)
		steps = append(steps, made.Load()-before)
		if last := steps[max(0, len(steps)-3):]; len(last) == 3 && slices.Min(last) > 1400 {
			return slices.Min(last)
		}
	}
	s.t.Fatalf("this machine is too busy for a crowd of 1,400 requests in %s: %v", siegeStep, steps)
	return 0
}

// TestE2EAttackNetworks has a network that is routed scan a Caddy, through the
// PROXY protocol. The network goes along with the incident, or doesn't where the
// configuration switches it off by name; incidents can be switched off as well.
func TestE2EAttackNetworks(t *testing.T) {
	for _, c := range []struct {
		name, global string
		incidents    []string
		networks     []*wire.SourceNetwork
	}{
		{"on", "", []string{"scan"}, []*wire.SourceNetwork{{Prefix: []byte{203, 0, 113}, Share: 100}}},
		{"attacks.networks off", "\tevergreen {\n\t\tmetrics_off attacks.networks\n\t}\n", []string{"scan"}, nil},
		{"attacks.incidents off", "\tevergreen {\n\t\tmetrics_off attacks.incidents\n\t}\n", nil, nil},
		{"attacks off", "\tevergreen {\n\t\tmetrics_off attacks\n\t}\n", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := startServer(t, siegeTiming...)
			s := besiege(t, srv, c.global)
			s.steps(1)
			conn, err := net.Dial("tcp", s.proxied)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, "PROXY TCP4 203.0.113.7 127.0.0.1 4321 80\r\n")
			answers := bufio.NewReader(conn)
			for i := range 60 {
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", scanned[i%len(scanned)])
				res, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				if res.StatusCode != http.StatusNotFound {
					t.Fatal(res.Status)
				}
			}
			s.steps(1)
			if err := s.caddy.Stop(); err != nil { // ends the incident, and sends it
				t.Fatal(err)
			}
			eventually(t, 30*time.Second, func() error {
				if n := srv.counts(t, "http.requests", "status")["404"]; n != 60 {
					return fmt.Errorf("%d of 60 requests are in the store", n)
				}
				return nil
			})
			ins := s.witness.arrived()
			if diff := cmp.Diff(c.incidents, kindsOf(ins)); diff != "" {
				t.Errorf("incidents (-want +got):\n%s", diff)
			}
			for _, in := range ins {
				if diff := cmp.Diff(c.networks, in.Networks, protocmp.Transform()); diff != "" {
					t.Errorf("networks (-want +got):\n%s", diff)
				}
			}
			want := map[string]uint64{}
			if len(c.networks) > 0 {
				want["scan"] = 1
			}
			if diff := cmp.Diff(want, srv.counts(t, "attacks.networks", "incident_kind")); diff != "" {
				t.Errorf("networks in the API (-want +got):\n%s", diff)
			}
		})
	}
}

// ja4Of is the fingerprint of what a program sends to https://localhost:port.
func ja4Of(t *testing.T, run func(port string)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var ran sync.WaitGroup
	ran.Go(func() { run(strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)) })
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	record := readRecord(t, c)
	c.Close()
	ln.Close()
	ran.Wait()
	var h clienthello.Hello
	if err := h.Parse(record[5:]); err != nil {
		t.Fatal(err)
	}
	return h.JA4()
}

// curl asks with curl, from network n, for each of urls, over few connections.
func curl(ctx context.Context, n int, port, agent string, flags string, urls ...string) error {
	args := append([]string{
		"--silent", "--insecure", "--noproxy", "*", "--max-time", "60", "--resolve", "localhost:" + port + ":127.0.0.1",
		"--interface", fmt.Sprintf("127.%d.%d.1", n>>8, n&255), "--user-agent", agent,
	}, strings.Fields(flags)...)
	for _, u := range urls {
		args = append(args, "--output", "/dev/null", "https://localhost:"+port+u)
	}
	out, err := exec.CommandContext(ctx, "curl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("curl: %w\n%s", err, out)
	}
	return nil
}
