package evergreen

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/caddy-evergreen/evergreen/reporter"
	"github.com/caddy-evergreen/evergreen/wire"
)

// run is `caddy evergreen args...` with stdin typed.
func run(stdin string, args ...string) (stdout, stderr string, err error) {
	cmd := &cobra.Command{Use: "evergreen", SilenceUsage: true, SilenceErrors: true}
	addCommands(cmd)
	var out, errs bytes.Buffer
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	err = cmd.Execute()
	return out.String(), errs.String(), err
}

// adminServer serves in's admin API on loopback.
func adminServer(t *testing.T, in instance) string {
	t.Helper()
	s := httptest.NewServer(adminOf(in))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestCommandStatus(t *testing.T) {
	_, caddyVersion := caddy.Version()
	caddyVersion, _, _ = strings.Cut(caddyVersion, " ")
	d := document(reporting().Status(), reporting().History())
	d.CaddyVersion = "v2.11.9"
	d.Updates = anUpdate()
	var b bytes.Buffer
	if err := writeStatus(&b, d, moment); err != nil {
		t.Fatal(err)
	}
	want := `Telemetry    on
Version      Evergreen v0.1.0, Caddy v2.11.9
Instance     abababababababababababababababab
Endpoint     https://telemetry.example
State        retrying
Label        my-fleet
Next send    2026-11-21 10:02:30 UTC (in 2m30s)
Last send    2026-11-21 10:00:00 UTC (now): report 12, 2.3 kB, refused (HTTP 503)
Stored       through report 11
Waiting      1 report, 2.3 kB
Dropped      1 report, 2 windows since the start
Interval     a report every 10m0s, windows of 5m0s
Metrics off  clients
Last error   the server answered 503
Updates      critical ones, installed
Available    v2.11.3 → v2.11.9 (critical), fixes GO-2026-5346: https://example.com/v2.11.9
Update       verified: for the window Sun 02:00-05:00 UTC
Last check   2026-11-21 09:00:00 UTC (1h0m0s ago)
Next check   2026-11-21 15:00:00 UTC (in 5h0m0s)
Last update  2026-11-20 10:00:00 UTC (24h0m0s ago): the update from v2.11.3 to v2.11.8 failed while rehearsing: https://a.example/ answers 500, was 200
Limits       TLS handshakes of HTTP/3 are not counted
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	out, _, err := run("", "status", "--address", adminServer(t, switchedOffScripted()))
	if want := fmt.Sprintf("Telemetry  off (DO_NOT_TRACK is set)\nVersion    Evergreen v0.1.0, Caddy %s\nUpdates    off (EVERGREEN_UPDATES is off)\n", orUnknown(caddyVersion)); err != nil || out != want {
		t.Errorf("off: got %q, %v, want %q", out, err, want)
	}
	out, _, err = run("", "status", "--address", adminServer(t, localOnly()))
	if err != nil || !strings.Contains(out, "none: nothing is sent") {
		t.Errorf("no endpoint: got %q, %v", out, err)
	}
	out, _, err = run("", "status", "--json", "--address", adminServer(t, reporting()))
	var got statusDocument
	if err != nil || json.Unmarshal([]byte(out), &got) != nil || got.LastSend == nil || got.LastSend.Number != 12 || !strings.Contains(out, "\n  \"version\"") {
		t.Errorf("--json: got %q, %v", out, err)
	}
}

func TestCommandReport(t *testing.T) {
	in := reporting()
	out, _, err := run("", "report", "--address", adminServer(t, in))
	if err != nil {
		t.Fatal(err)
	}
	want, err := wire.EncodeJSON(in.report)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestCommandLink(t *testing.T) {
	in := reporting()
	address := adminServer(t, in)
	out, errs, err := run("", "link", "--ttl", "7d", "--address", address)
	if err != nil || out != "https://telemetry.example/instance/ab?expires=1&key=2\n" || !strings.Contains(errs, "until 2026-11-28 10:00:00 UTC") {
		t.Errorf("got %q, %q, %v", out, errs, err)
	}
	out, errs, err = run("", "link", "--json", "--address", address)
	var d linkDocument
	if err != nil || json.Unmarshal([]byte(out), &d) != nil || d.URL == "" || errs != "" {
		t.Errorf("--json: got %q, %q, %v", out, errs, err)
	}
	if _, _, err = run("", "link", "--ttl", "forever", "--address", address); err == nil || !strings.Contains(err.Error(), "not a duration") {
		t.Errorf("--ttl forever: got %v", err)
	}
	if _, _, err = run("", "link", "--address", adminServer(t, localOnly())); err == nil || !strings.Contains(err.Error(), "no endpoint is set") {
		t.Errorf("no endpoint: got %v", err)
	}
	if _, _, err = run("", "link", "--address", adminServer(t, switchedOffScripted())); err == nil || !strings.Contains(err.Error(), "telemetry is off (DO_NOT_TRACK is set)") {
		t.Errorf("off: got %v", err)
	}
}

func TestCommandsAskFirst(t *testing.T) {
	for _, command := range []string{"reset-identity", "forget"} {
		for name, test := range map[string]struct {
			stdin string
			flags []string
			done  bool
		}{
			"yes":            {"yes\n", nil, true},
			"Y":              {"Y\n", nil, true},
			"no":             {"no\n", nil, false},
			"nothing":        {"", nil, false},
			"empty line":     {"\n", nil, false},
			"--yes":          {"", []string{"--yes"}, true},
			"--yes --json":   {"", []string{"-y", "--json"}, true},
			"yes, --json":    {"yes\n", []string{"--json"}, true},
			"--json, silent": {"", []string{"--json"}, false},
		} {
			t.Run(command+" "+name, func(t *testing.T) {
				in := reporting()
				out, errs, err := run(test.stdin, append([]string{command, "--address", adminServer(t, in)}, test.flags...)...)
				if done := len(in.calls) == 1 && in.calls[0] == command && err == nil; done != test.done {
					t.Fatalf("did %v (%v), want %v", in.calls, err, test.done)
				}
				if !test.done && !strings.Contains(err.Error(), "nothing was done") {
					t.Errorf("got %v", err)
				}
				if asJSON := strings.Contains(strings.Join(test.flags, " "), "json"); test.done && asJSON != json.Valid([]byte(out)) {
					t.Errorf("got %q", out)
				}
				if strings.Contains(out, "Type yes") || (len(test.flags) > 0 && test.flags[0] != "--json" && errs != "") {
					t.Errorf("the question is out of place: %q, %q", out, errs)
				}
			})
		}
	}
}

// closedAddress is a port of loopback that nobody listens on.
func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestCommandErrors(t *testing.T) {
	bare := httptest.NewServer(http.NotFoundHandler())
	defer bare.Close()
	notCaddy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	defer notCaddy.Close()
	forbids := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"error":"host not allowed: x"}`)
	}))
	defer forbids.Close()
	off := filepath.Join(t.TempDir(), "off.json")
	if err := os.WriteFile(off, []byte(`{"admin":{"disabled":true}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args     string
		contains string
	}{
		"no Caddy":          {"status --address " + closedAddress(t), "no Caddy answers at 127.0.0.1:"},
		"no Caddy, advice":  {"forget --yes --address " + closedAddress(t), "start one with 'caddy run'"},
		"no socket":         {"report --address unix//nonexistent/admin.sock|0200", "no Caddy answers at unix//nonexistent"},
		"without Evergreen": {"status --address " + bare.Listener.Addr().String(), "no Evergreen compiled in"},
		"not Caddy":         {"status --json --address " + notCaddy.Listener.Addr().String(), "not JSON"},
		"not Caddy, table":  {"status --address " + notCaddy.Listener.Addr().String(), "reading Caddy's answer"},
		"forbidden":         {"status --address " + forbids.Listener.Addr().String(), "host not allowed"},
		"bad address":       {"status --address tcp/:1-9", "no address of an admin API"},
		"admin off":         {"status --config " + off, "the admin API is off in"},
		"no such config":    {"status --config /nonexistent/caddy.json", "finding the admin API's address"},
		"adapter alone":     {"status --adapter caddyfile", "without --config"},
		"mistyped command":  {"statsu", `did you mean "status"?`},
		"superfluous":       {"status now", "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := run("", strings.Fields(test.args)...)
			if err == nil || !strings.Contains(err.Error(), test.contains) || out != "" {
				t.Errorf("got %q, %v, want an error with %q", out, err, test.contains)
			}
		})
	}
}

func TestCommandHelp(t *testing.T) {
	out, _, err := run("")
	if err != nil || !strings.Contains(out, "reset-identity") {
		t.Errorf("got %q, %v", out, err)
	}
	for _, command := range []string{"status", "report", "link", "slots", "promote", "reset-identity", "forget"} {
		out, _, err := run("", command, "--help")
		for _, part := range []string{"Examples:", "caddy evergreen " + command, "--json", "--address", "--config"} {
			if err != nil || !strings.Contains(out, part) {
				t.Errorf("%s --help lacks %q (%v):\n%s", command, part, err, out)
			}
		}
	}
}

// The commands against the admin API of a Caddy that runs, over a unix socket
// that they find in its configuration.
func TestCommandsWithCaddy(t *testing.T) {
	dir, err := os.MkdirTemp("", "eg") // a socket's path has room for 100 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	t.Setenv("XDG_DATA_HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	for _, v := range []string{"EVERGREEN_TELEMETRY", "EVERGREEN_ENDPOINT", "DO_NOT_TRACK", "CADDY_ADMIN"} {
		t.Setenv(v, "")
	}
	config := func(evergreen string) string {
		return fmt.Sprintf(`{"admin":{"listen":"unix/%s","config":{"persist":false}},"storage":{"module":"file_system","root":%q},
			"apps":{"evergreen":%s,"tls":{"disable_storage_clean":true},"http":{"servers":{"s":{"listen":["127.0.0.1:0"],"routes":[{"handle":[{"handler":"file_server"}]}]}}}}}`,
			filepath.Join(dir, "admin.sock"), dir, evergreen)
	}
	file := filepath.Join(dir, "caddy.json")
	load := func(evergreen string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(config(evergreen)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Load([]byte(config(evergreen)), true); err != nil {
			t.Fatal(err)
		}
	}
	load(`{"label":"my-fleet"}`)
	defer func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	}()

	out, _, err := run("", "status", "--json", "--config", file)
	var status statusDocument
	if err != nil || json.Unmarshal([]byte(out), &status) != nil {
		t.Fatalf("status: %q, %v", out, err)
	}
	if status.Telemetry != "on" || status.State != reporter.StateNoEndpoint || status.Label != "my-fleet" || status.Window != 300 {
		t.Errorf("status: %s", out)
	}
	out, _, err = run("", "status", "--config", file)
	if err != nil || !strings.Contains(out, "none: nothing is sent") {
		t.Errorf("status: %q, %v", out, err)
	}

	out, _, err = run("", "report", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	report, err := wire.DecodeJSON([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	f := report.GetFacts()
	if f.GetLabel() != "my-fleet" || f.GetServers() != 1 || f.GetListeners() != 1 || f.GetOs() == "" ||
		!strings.Contains(strings.Join(f.GetFeatures(), " "), "http.handlers.file_server") {
		t.Errorf("the report's facts are not this Caddy's: %s", out)
	}
	if strings.Contains(out, dir) {
		t.Errorf("a path of the configuration is in the report: %s", out)
	}

	for _, command := range []string{"link", "forget -y"} {
		if _, _, err := run("", append(strings.Fields(command), "--config", file)...); err == nil || !strings.Contains(err.Error(), "no endpoint is set") {
			t.Errorf("%s: %v", command, err)
		}
	}

	load(`{"telemetry":"off"}`)
	out, _, err = run("", "status", "--config", file)
	if err != nil || !strings.HasPrefix(out, "Telemetry  off (") {
		t.Errorf("status while off: %q, %v", out, err)
	}
	if _, _, err := run("", "report", "--config", file); err == nil || !strings.Contains(err.Error(), "telemetry is off") {
		t.Errorf("report while off: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "caddy", "evergreen")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}
