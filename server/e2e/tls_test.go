//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
)

// TestE2ETLSClients lets clients that nobody here wrote shake hands with a real
// Caddy, or fail to, and finds in the store each as what it was.
func TestE2ETLSClients(t *testing.T) {
	exe := caddyWith(t, caddyVersions[len(caddyVersions)-1])
	srv := startServer(t)
	caddy, _ := startCaddy(t, exe, func(p testbed.Ports) string { return testbed.Site(p) }, "EVERGREEN_ENDPOINT="+srv.URL())
	addr := fmt.Sprintf("localhost:%d", caddy.Ports.HTTPS)
	site := "https://" + addr + "/"

	type cell struct{ metric, dims, value string }
	failure := func(cause, library string) cell {
		return cell{"tls.failures", "failure,tls_library", cause + " " + library}
	}
	alert := func(alert, side string) cell { return cell{"tls.alerts", "alert,side", alert + " " + side} }
	want := map[cell]uint64{}
	for _, c := range []struct {
		command string
		cells   []cell
	}{
		{"curl -sk --noproxy * " + site, []cell{
			{"tls.libraries", "tls_library,client_family", "openssl curl"},
			{"tls.hello", "hello_state,client_family", "parsed curl"},
			{"connections.features", "connection_feature,client_family", "sni curl"},
			{"http.features", "connection_feature,client_family", "all curl"},
		}},
		{"wget -q --no-proxy --no-check-certificate -O /dev/null " + site, []cell{
			{"tls.libraries", "tls_library,client_family", "gnutls wget"},
		}},
		{"curl -s --noproxy * " + site, []cell{
			failure("client_unknown_ca", "openssl"),
			alert("unknown_ca", "client"),
		}},
		{"openssl s_client -tls1_1 -cipher DEFAULT@SECLEVEL=0 -servername localhost -connect " + addr, []cell{
			failure("no_common_version", "openssl"),
			alert("protocol_version", "server"),
		}},
		{"openssl s_client -alpn smtp -servername localhost -connect " + addr, []cell{failure("no_common_alpn", "openssl")}},
		{"curl -s --noproxy * http://" + addr, []cell{failure("plain_http", "unknown")}},
	} {
		args := strings.Fields(c.command)
		if _, err := exec.LookPath(args[0]); err != nil {
			t.Logf("%s is not installed: left out", args[0])
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		cancel()
		t.Logf("%s: %v\n%.300s", c.command, err, out)
		for _, cell := range c.cells {
			want[cell]++
		}
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, func() error {
		for c, n := range want {
			if got := srv.counts(t, c.metric, strings.Split(c.dims, ",")...)[c.value]; got != n {
				return fmt.Errorf("%s of %s is %d, want %d; there is %v", c.metric, c.value, got, n, srv.counts(t, c.metric, strings.Split(c.dims, ",")...))
			}
		}
		return nil
	})
}
