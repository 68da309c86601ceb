//go:build e2e && linux

package selfupdate

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/updater"
)

// TestE2ECommands has a person see of an update, pause, install it by a command
// and go back, and a configuration manager change what is wanted by reloads.
func TestE2ECommands(t *testing.T) {
	s := theUpdates(t)
	c := loaded(t, testbed.Launch{}, s.oldWithPlugins(t), installs)
	file := filepath.Join(c.Dir, "Caddyfile")
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(policy string) {
		t.Helper()
		text := strings.Replace(string(written), "updates all install", "updates "+policy, 1)
		if text == string(written) && policy != "all install" {
			t.Fatal("the Caddyfile has no updates")
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Command(t.Context(), "reload", "--config", file, "--force"); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := c.Evergreen(t.Context(), args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	says := func(what, out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s does not say %q:\n%s", what, w, out)
			}
		}
	}

	// Before anything is downloaded: only tell.
	reload("all notify")
	eventually(t, "waiting for a notice", func() error {
		d, err := status(t.Context(), c)
		if err == nil && d.Notice == nil {
			err = fmt.Errorf("there is none yet: it is %s: %s %s", d.State, d.Waiting, d.CheckError)
		}
		return err
	})
	says("status", run("status"), "all, told of, not installed", oldCaddy+" → "+newCaddy)
	says("the metrics", metrics(t, c), `caddy_evergreen_update_available{severity="`)
	if !strings.Contains(c.Log(), `"msg":"an update is available"`) {
		t.Error("the log says nothing of the update")
	}
	says("check", run("check", "--service", s.URL(), "--scope", "all"), "An update is needed", newCaddy)

	// The service here has no database of vulnerabilities: nothing is known to be safe.
	out, err := c.Evergreen(t.Context(), "audit", "--json")
	if err == nil {
		t.Error("the audit's exit status says that it is safe")
	}
	says("audit", out, `"verdict": "unknown"`)

	run("pause")
	says("status", run("status"), "Paused")
	run("resume")
	if _, err := c.Evergreen(t.Context(), "apply", "--version", "v2.11.4"); err == nil {
		t.Error("another version than is offered is applied")
	}

	pid := c.PID()
	says("apply", run("apply", "--version", newCaddy), "updated from "+oldCaddy+" to "+newCaddy)
	good(t, c, pid)
	says("status", run("status"), "Runs", "Last update")
	says("rollback", run("rollback"), "back from "+newCaddy+" to "+oldCaddy)
	if slot, err := runs(c); err != nil || slot != "" || c.PID() != pid {
		t.Errorf("after the way back slot %q runs in process %d, which was %d (%v)", slot, c.PID(), pid, err)
	}
	says("status", run("status"), "Not again")

	// Off is at once, and says so.
	reload("none")
	d, err := status(t.Context(), c)
	if err != nil || d.Off == "" {
		t.Errorf("after `updates none` it is %+v (%v)", d, err)
	}
	if _, err := c.Evergreen(t.Context(), "apply"); err == nil || !strings.Contains(err.Error(), "updates are off") {
		t.Errorf("apply, with updates off: %v", err)
	}
	reload("all notify")
	if d, err := status(t.Context(), c); err != nil || d.Off != "" || d.State == updater.Watching {
		t.Errorf("on again, it is %+v (%v)", d, err)
	}
}

// metrics are Caddy's, for Prometheus.
func metrics(t *testing.T, c *testbed.Caddy) string {
	t.Helper()
	resp, err := http.Get(c.AdminURL("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
