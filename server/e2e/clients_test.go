//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/server/testbed/programs"
)

// outcomes is what a Caddy has counted of how connections ended: failures and
// alerts by their names, handshakes that were completed, and connections.
func outcomes(t *testing.T, c *testbed.Caddy) map[string]uint64 {
	t.Helper()
	all := map[string]uint64{}
	for kind, counts := range map[string]map[string]uint64{
		"failure ": counted(t, c, "tls.failures", "failure"),
		"alert ":   counted(t, c, "tls.alerts", "alert", "side"),
	} {
		for k, n := range counts {
			all[kind+k] += n
		}
	}
	all["completed"] = sum(counted(t, c, "tls.connections", "tls_version"))
	all["connections"] = sum(counted(t, c, "connections", "role"))
	return all
}

// alertOf is the alert that goes with a cause, and who raised it. Where nobody
// raises one there is none.
var alertOf = map[string]string{
	"client_unknown_ca":          "unknown_ca client",
	"client_certificate_expired": "certificate_expired client",
	"client_bad_certificate":     "bad_certificate client",
	"client_certificate_unknown": "certificate_unknown client",
	"client_cancelled":           "user_canceled client",
	"no_common_version":          "protocol_version server",
	"no_common_suite":            "handshake_failure server",
	"no_common_group":            "handshake_failure server",
	"no_common_alpn":             "no_application_protocol server",
	"no_certificate":             "internal_error server",
	"malformed_hello":            "decode_error server",
}

// outcome is one connection that ended so: "completed", or a cause of tls.failures.
func outcome(cause string) map[string]uint64 {
	want := map[string]uint64{"connections": 1}
	if cause == "completed" {
		want[cause] = 1
		return want
	}
	want["failure "+cause] = 1
	if alert := alertOf[cause]; alert != "" {
		want["alert "+alert] = 1
	}
	return want
}

// wantOutcome waits until one connection more has ended as one of wants says.
func wantOutcome(t *testing.T, what string, c *testbed.Caddy, before map[string]uint64, wants ...map[string]uint64) {
	t.Helper()
	var diff string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		got := since(before, outcomes(t, c))
		diff = ""
		for _, want := range wants {
			d := cmp.Diff(want, got)
			if d == "" {
				return
			}
			diff += d
		}
	}
	t.Errorf("%s (-want +got):\n%s", what, diff)
}

// documented reads the first table below a heading of a page of docs: row → column → cell.
// It is what the tests want, so that what users read is what is true.
func documented(t *testing.T, page, heading string) map[string]map[string]string {
	t.Helper()
	b, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/%s has no heading %q", page, heading)
	}
	rows := map[string]map[string]string{}
	var columns []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "|"):
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "`", ""))
			}
			switch {
			case columns == nil:
				columns = cells
			case strings.HasPrefix(cells[0], "---"):
			case len(cells) != len(columns):
				t.Fatalf("docs/%s: %q has not %d cells", page, line, len(columns))
			default:
				rows[cells[0]] = map[string]string{}
				for i, cell := range cells {
					rows[cells[0]][columns[i]] = cell
				}
			}
		case columns != nil:
			return rows
		}
	}
	return rows
}

// A refusing Caddy has a site that every client accepts at its HTTPS port, and
// others, at ports by name, that something is wrong with.
type refusing struct {
	*testbed.Caddy
	ca, stranger *programs.Authority
	ports        map[string]int
}

func startRefusing(t *testing.T) *refusing {
	t.Helper()
	exe := caddyWith(t, caddyVersions[len(caddyVersions)-1])
	r := &refusing{ca: newAuthority(t), stranger: newAuthority(t), ports: map[string]int{}}
	sites := []struct {
		name, certificate string
		until             time.Duration
		ca                *programs.Authority
		more              string
	}{
		{"negotiated", "localhost", time.Hour, r.ca, ""},
		{"unknown authority", "localhost", time.Hour, r.stranger, ""},
		{"expired", "localhost", -time.Hour, r.ca, ""},
		{"wrong name", "elsewhere.test", time.Hour, r.ca, ""},
		{"TLS 1.2", "localhost", time.Hour, r.ca, "protocols tls1.3"},
	}
	more, err := freeport.Pick(len(sites) - 1)
	if err != nil {
		t.Fatal(err)
	}
	// Sites of any name: Java sends no SNI for a name without a dot.
	r.Caddy = startCaddyFor(t, exe, r.ca, func(p testbed.Ports) string {
		ports := append([]int{p.HTTPS}, more...)
		text := "{\n" + p.Globals() + "}\n"
		for i, s := range sites {
			file, err := s.ca.LeafFor(t.TempDir(), s.certificate, time.Now().Add(s.until))
			if err != nil {
				t.Fatal(err)
			}
			r.ports[s.name] = ports[i]
			text += fmt.Sprintf("https://:%d {\n\ttls %s %s {\n\t\t%s\n\t}\n\trespond \"hello\"\n}\n", ports[i], file, file, s.more)
		}
		return text
	})
	r.ports["plain HTTP"] = r.ports["negotiated"]
	return r
}

// wanted are the outcomes that a cell allows; if something was negotiated, the handshake was completed.
func wanted(row map[string]string, column string) (all []map[string]uint64) {
	if column == "negotiated" {
		return []map[string]uint64{outcome("completed")}
	}
	for cause := range strings.SplitSeq(row[column], " or ") {
		all = append(all, outcome(cause))
	}
	return all
}

// helloCounts is what a Caddy has counted of hellos, and of what was negotiated.
func helloCounts(t *testing.T, c *testbed.Caddy) map[string]uint64 {
	t.Helper()
	all := counted(t, c, "tls.hello", "hello_transport", "hello_state")
	for prefix, counts := range map[string]map[string]uint64{
		"library ":    counted(t, c, "tls.libraries", "tls_library"),
		"negotiated ": counted(t, c, "tls.connections", "tls_version"),
		"negotiated":  counted(t, c, "tls.alpn", "alpn"),
	} {
		for k, n := range counts {
			all[strings.TrimSuffix(prefix, " ")+" "+k] += n
		}
	}
	return all
}

// TestE2EClients has each client ask for what it accepts, and for what it has to
// refuse, and finds each connection counted as docs/tls.md says.
func TestE2EClients(t *testing.T) {
	want := documented(t, "tls.md", "How clients refuse")
	r := startRefusing(t)
	tools := programs.Tools()
	for _, tool := range tools {
		t.Run(tool.Name, func(t *testing.T) {
			row := want[tool.Name]
			for _, column := range slices.Sorted(maps.Keys(r.ports)) {
				if row[column] == "" || column == "plain HTTP" && tool.Plain != (row[column] != "-") {
					t.Errorf("docs/tls.md does not say how %s ends: %s", tool.Name, column)
				}
				if row[column] == "" || row[column] == "-" {
					continue
				}
				before, hellos := outcomes(t, r.Caddy), helloCounts(t, r.Caddy)
				err := tool.Get(t.Context(), t.TempDir(), programs.Request{
					CAFile: r.ca.CertFile, Port: strconv.Itoa(r.ports[column]), Path: "/", Plain: column == "plain HTTP", TLS12: column == "TLS 1.2",
				})
				if (err == nil) != (column == "negotiated") {
					t.Errorf("%s: %v", column, err)
				}
				wantOutcome(t, column, r.Caddy, before, wanted(row, column)...)
				want := map[string]uint64{"library " + row["library"]: 1, "tcp parsed": 1}
				got := since(hellos, helloCounts(t, r.Caddy))
				switch {
				case column == "plain HTTP":
					want = map[string]uint64{}
				case column == "TLS 1.2": // another hello than the usual, which no signature need cover
					want, got = map[string]uint64{"tcp parsed": 1}, map[string]uint64{"tcp parsed": got["tcp parsed"]}
				case row[column] == "completed":
					maps.DeleteFunc(got, func(k string, _ uint64) bool { return strings.HasPrefix(k, "negotiated ") })
				case column == "negotiated":
					for one := range strings.SplitSeq(row[column], ", ") {
						want["negotiated "+one] = 1
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: the hello and what came of it (-want +got):\n%s", column, diff)
				}
			}
		})
	}
	if rows := len(want); rows != len(tools)+len(programs.Browsers()) {
		t.Errorf("docs/tls.md has %d rows for %d clients", rows, len(tools)+len(programs.Browsers()))
	}
}

// TestE2EBrowsers does the same with browsers. They try again, and open
// connections ahead of need that they close without a word: how often a cause is
// counted is theirs, but not which.
func TestE2EBrowsers(t *testing.T) {
	want := documented(t, "tls.md", "How clients refuse")
	for _, b := range programs.Browsers() {
		for _, column := range []string{"negotiated", "unknown authority", "expired", "wrong name", "TLS 1.2", "plain HTTP"} {
			t.Run(b.Name+"/"+column, func(t *testing.T) {
				r := startRefusing(t) // of its own: a connection that one browser leaves behind is not the next one's
				dir, err := os.MkdirTemp("", "browser-")
				if err != nil {
					t.Fatal(err)
				}
				defer os.RemoveAll(dir)
				row := want[b.Name]
				kinds := slices.Sorted(maps.Keys(wanted(row, column)[0]))
				before, hellos := outcomes(t, r.Caddy), helloCounts(t, r.Caddy)
				ended := false
				check := func() error {
					got := since(before, outcomes(t, r.Caddy))
					delete(got, "failure connect_and_close")
					if ended && !slices.Contains(kinds, "failure reset") {
						delete(got, "failure reset") // of a connection that it had not done with
					}
					if diff := cmp.Diff(kinds, slices.Sorted(maps.Keys(got))); diff != "" {
						return fmt.Errorf("%s (-want +got):\n%s", show(got), diff)
					}
					return nil
				}
				// Firefox shows an error for ever: it is ended when that was counted.
				ctx, end := context.WithCancel(t.Context())
				defer end()
				opened := make(chan error, 1)
				go func() {
					opened <- b.Open(ctx, dir, r.ca, programs.Page{
						Route: programs.Route{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(r.ports[column]))}, Path: "/", Plain: column == "plain HTTP", TLS12: column == "TLS 1.2",
					})
				}()
				if column == "negotiated" {
					if err := <-opened; err != nil {
						t.Fatal(err)
					}
				}
				eventually(t, 60*time.Second, check)
				end()
				ended = true
				if column != "negotiated" {
					<-opened
				}
				eventually(t, 20*time.Second, check)
				if column == "negotiated" {
					got := since(hellos, helloCounts(t, r.Caddy))
					want := []string{"library " + row["library"], "tcp parsed"}
					for one := range strings.SplitSeq(row[column], ", ") {
						want = append(want, "negotiated "+one)
					}
					slices.Sort(want)
					if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
						t.Errorf("the hello and what came of it: %s (-want +got):\n%s", show(got), diff)
					}
				}
			})
		}
	}
}
