package evergreen

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAtAddress(t *testing.T) {
	sockets := []string{"127.0.0.1:2019", "[::1]:2019", "[::]:2019", "10.0.0.1:2019", "127.0.0.1:2020"}
	for address, want := range map[string][]string{
		"":                  nil,
		"localhost:2019":    {"127.0.0.1:2019", "[::1]:2019"},
		"127.0.0.1:2019":    {"127.0.0.1:2019"},
		":2019":             {"[::]:2019"},
		"tcp/10.0.0.1:2019": {"10.0.0.1:2019"},
		"unix//run/a.sock":  nil,
		"fd/3":              nil,
		"localhost:x":       nil,
	} {
		is := atAddress(address)
		var got []string
		for _, s := range sockets {
			if is(netip.MustParseAddrPort(s)) {
				got = append(got, s)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("sockets at %q (-want +got):\n%s", address, diff)
		}
	}
}

// The helper tells no service manager that it is there, reports nothing and
// updates nothing, whatever this process's environment says.
func TestHelperEnviron(t *testing.T) {
	startedAs(t, "caddy", "run", "--config", "x", "--envfile", "e", "--pidfile", "p", "--resume")
	started.env = []string{"HOME=/h", "NOTIFY_SOCKET=/run/n", "WATCHDOG_USEC=1", "EVERGREEN_TELEMETRY=on", "EVERGREEN_UPDATES=all", "LISTEN_FDS=1"}
	want := []string{"HOME=/h", "LISTEN_FDS=1", "EVERGREEN_TELEMETRY=off", "EVERGREEN_UPDATES=off", "BOOT=1"}
	if diff := cmp.Diff(want, helperEnviron("BOOT=1")); diff != "" {
		t.Errorf("the helper's environment (-want +got):\n%s", diff)
	}
	flags, err := parseRun(started.args[2:])
	if err != nil {
		t.Fatal(err)
	}
	n := &nextStart{flags: flags}
	if diff := cmp.Diff([]string{"caddy", "run", "--config", "-", "--envfile=e"}, n.helperArgs()); diff != "" {
		t.Errorf("the helper's arguments (-want +got):\n%s", diff)
	}
	env := n.environ("BOOT=1", leftOver{})
	if !slices.Contains(env, "NOTIFY_SOCKET=/run/n") || !slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, envSwitch+"=") }) {
		t.Errorf("the next executable's environment is %q", env)
	}
}

// An abstract Unix socket is known before a switch that would fail on it.
func TestAbstractSocket(t *testing.T) {
	if got := abstractSocket(); got != "" {
		t.Errorf("without a configuration: %q", got)
	}
	_, c := newSite(t, "", `respond "fine"`)
	mustLoad(t, c)
	if got := abstractSocket(); got != "" {
		t.Errorf("with none: %q", got)
	}
}
