//go:build e2e && linux

package selfupdate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestE2EUpdatesItself has a Caddy 2.11.3 with two plugins, started in each way,
// become 2.11.9 with the same plugins, under all loads, and lose nothing.
func TestE2EUpdatesItself(t *testing.T) {
	s := theUpdates(t)
	update := func(t *testing.T, l testbed.Launch, itself bool) *testbed.Caddy {
		c := loaded(t, l, s.oldWithPlugins(t), installs)
		pid := c.PID()
		load := send(t, c, testbed.LoadConfig{})
		admin := watchAdmin(c)
		began := time.Now()
		if !itself {
			do(t, c, "apply")
		}
		o := ended(t, c, began)
		time.Sleep(time.Second) // so that something is sent after it, whatever happens
		all := load.Stop()
		t.Log(admin.end())
		if o.State != updater.Healthy {
			t.Fatalf("the update ended as %s: %s", o.State, o.Why)
		}
		lostNothing(t, all)
		good(t, c, pid)
		if _, err := c.Command(t.Context(), "reload", "--config", filepath.Join(c.Dir, "Caddyfile"), "--force"); err != nil {
			t.Errorf("a reload after the update: %v", err)
		}
		return c
	}
	t.Run("terminal", func(t *testing.T) {
		var term terminal
		c := update(t, term.launch(t), true)
		if pgrp, err := term.foreground(); err != nil || pgrp != c.PID() {
			t.Errorf("the terminal's foreground is %d (%v), Caddy is %d", pgrp, err, c.PID())
		}
		// Ctrl-C ends it, and the next start is what it was updated to.
		if err := term.interrupt(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-c.Done():
		case <-time.After(10 * time.Second):
			c.Kill() // it waits for HTTP/3 clients
		}
		if !strings.Contains(c.Log(), "shutting down") {
			t.Error("Ctrl-C did nothing")
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		good(t, c, c.PID())
	})
	t.Run("PID 1", func(t *testing.T) {
		c := update(t, asInit(), false)
		// How long it takes is up to the HTTP/3 clients: Caddy waits for them.
		if err := c.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		eventually(t, "waiting for PID 1 to be told to stop", func() error {
			if !strings.Contains(c.Log(), "shutting down apps, then terminating") {
				return errors.New("the log does not say so")
			}
			return nil
		})
	})
	t.Run("systemd", func(t *testing.T) {
		c := update(t, bySystemd(), false)
		shown := systemctl(t, c, "show", "caddy", "--property", "ActiveState,SubState,NRestarts,MainPID,ExecMainPID,Result")
		t.Logf("systemctl show:\n%s", shown)
		for _, want := range []string{"ActiveState=active", "SubState=running", "NRestarts=0", "Result=success"} {
			if !strings.Contains(shown, want) {
				t.Errorf("it has no %s", want)
			}
		}
		systemctl(t, c, "reload", "caddy")
		good(t, c, c.PID())
		systemctl(t, c, "restart", "caddy")
	})
}

// TestE2EDefaultScope has a Caddy that nobody told which updates it should take
// leave one alone that is called important, and take it by itself once a
// maintainer has called it critical.
func TestE2EDefaultScope(t *testing.T) {
	t.Parallel()
	s, err := startService(t.TempDir(), "1m")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	release := wire.CaddyPath + "@" + newCaddy
	if err := s.tag([][]string{{release, "--severity", "important"}}); err != nil {
		t.Fatal(err)
	}
	// In a container, which this may be, it would tell only.
	c := loaded(t, testbed.Launch{}, s.oldWithPlugins(t), []string{"\tupdates {\n\t\tinstall\n\t\tcheck_interval 1m\n\t\twatch 10s\n\t}"})
	pid := c.PID()
	load := send(t, c, galleryLoads)
	eventually(t, "waiting for it to have asked", func() error {
		st, err := status(t.Context(), c)
		if err == nil && st.LastCheck.IsZero() {
			err = fmt.Errorf("it asks at %s: %s", st.NextCheck, st.CheckError)
		}
		if err == nil && (st.Notice != nil || st.State != updater.Idle) {
			t.Fatalf("it is %s of %+v", st.State, st.Notice)
		}
		return err
	})
	began := time.Now()
	if err := s.tag([][]string{{release, "--severity", "critical"}}); err != nil {
		t.Fatal(err)
	}
	if o := ended(t, c, began); o.State != updater.Healthy || o.Severity != wire.SeverityCritical {
		t.Errorf("it ended as %s, %s: %s", o.State, o.Severity, o.Why)
	}
	lostNothing(t, load.Stop())
	good(t, c, pid)
}

// TestE2EManySwitches goes there and back again, 20 times in a row or as often
// as EVERGREEN_SWITCHES says, under load. Large transfers are left out: each
// switch would wait for them.
func TestE2EManySwitches(t *testing.T) {
	times := 20
	if n, err := strconv.Atoi(os.Getenv("EVERGREEN_SWITCHES")); err == nil && n > 0 {
		times = n + n%2
	}
	s := theUpdates(t)
	c := loaded(t, testbed.Launch{}, s.oldWithPlugins(t), installs)
	pid := c.PID()
	load := send(t, c, testbed.LoadConfig{Stream: 4 * time.Second, Kinds: []string{
		testbed.LoadNew, testbed.LoadNewTLS, testbed.LoadKeepAlive, testbed.LoadPost, testbed.LoadH2, testbed.LoadH2Post, testbed.LoadH3, testbed.LoadWebSocket,
	}})
	want := map[string]updater.State{"apply": updater.Healthy, "rollback": updater.RolledBack}
	for i := range times {
		what := []string{"apply", "rollback"}[i%2]
		began := time.Now()
		do(t, c, what)
		if o := ended(t, c, began); o.State != want[what] {
			t.Fatalf("switch %d, %s, ended as %s: %s", i+1, what, o.State, o.Why)
		}
		if c.PID() != pid {
			t.Fatal("the process is another one")
		}
	}
	time.Sleep(time.Second)
	lostNothing(t, load.Stop())
	if slot, err := runs(c); err != nil || slot != "" {
		t.Errorf("after the last way back slot %q runs (%v)", slot, err)
	}
}
