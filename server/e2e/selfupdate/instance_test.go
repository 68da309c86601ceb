//go:build e2e && linux

package selfupdate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/slots"
	"github.com/caddy-evergreen/evergreen/updater"
)

// The global option of a Caddy that installs all, and watches as shortly as may
// be. A newer compiler would compile all of Caddy anew.
var installs = []string{"\tupdates all install {\n\t\twatch 10s\n\t\tpin toolchain " + runtime.Version() + "\n\t}"}

// within is how long anything here may take on a busy machine.
const within = 8 * time.Minute

func updatesDir(c *testbed.Caddy) string {
	return filepath.Join(c.Dir, "data", "caddy", "evergreen", "updates")
}

func slotsOf(c *testbed.Caddy) *slots.Dir { return slots.Open(updatesDir(c)) }

var slotPath = regexp.MustCompile(`/slots/([0-9a-f]{64})/caddy$`)

// runs is the slot whose executable Caddy's process is; "": the installed one.
func runs(c *testbed.Caddy) (slot string, err error) {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", c.PID()))
	if err != nil {
		return "", err
	}
	if m := slotPath.FindStringSubmatch(exe); m != nil {
		return m[1], nil
	}
	return "", nil
}

// version is what the executable of Caddy's process says that it is.
func version(t *testing.T, c *testbed.Caddy) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), fmt.Sprintf("/proc/%d/exe", c.PID()), "build-info").Output()
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^dep\s+github\.com/caddyserver/caddy/v2\s+(\S+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("build-info names no Caddy:\n%s", out)
	}
	return string(m[1])
}

// modulesOf are the modules that the executable of Caddy's process lists.
func modulesOf(t *testing.T, c *testbed.Caddy) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), fmt.Sprintf("/proc/%d/exe", c.PID()), "list-modules").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

// status asks Caddy what it knows of updates.
func status(ctx context.Context, c *testbed.Caddy) (s updater.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.AdminURL("/evergreen/updates"), nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, b)
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	return s, err
}

// do posts a person's wish to Caddy: "apply", "rollback", "pause", "resume".
// do has a Caddy do what a person may ask it to. An update that is to be applied
// may be under way already: Caddy finds it by itself, too.
func do(t *testing.T, c *testbed.Caddy, what string) {
	t.Helper()
	err := ask(t, c, what)
	switch {
	case err == nil:
	case what == "apply" && strings.Contains(err.Error(), "wait for it"):
		t.Logf("it is applied already: %v", err)
	default:
		t.Fatal(err)
	}
}

func ask(t *testing.T, c *testbed.Caddy, what string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.AdminURL("/evergreen/"+what), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %s (%v)", what, resp.Status, b, err)
	}
	return nil
}

// eventually waits until check is nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: after %s still: %v", what, within, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// ended waits for the end of an attempt that began after a time.
func ended(t *testing.T, c *testbed.Caddy, began time.Time) (o updater.Outcome) {
	t.Helper()
	eventually(t, "waiting for the end of an update", func() error {
		s, err := status(t.Context(), c)
		switch {
		case err != nil:
			return err
		case s.Last == nil || !s.Last.Ended.After(began):
			return fmt.Errorf("it is %s: %s %s", s.State, s.Waiting, s.CheckError)
		}
		o = *s.Last
		return nil
	})
	t.Logf("%s from %s after %s: %s -> %s, cause %q: %s; %s, %d bytes by %q", o.State, o.Step, o.Ended.Sub(o.Began).Round(time.Millisecond), o.From, o.To, o.Cause, o.Why, seconds(o), o.Bytes, o.Method)
	return o
}

func seconds(o updater.Outcome) string {
	var steps []string
	for _, s := range updater.States {
		if d, ok := o.Seconds[s]; ok {
			steps = append(steps, fmt.Sprintf("%s %.1f s", s, d))
		}
	}
	return strings.Join(steps, ", ")
}

// An adminWatch asks the admin API again and again.
type adminWatch struct {
	stop   chan struct{}
	wg     sync.WaitGroup
	asked  int
	failed int
	gap    time.Duration // the longest without an answer
}

// watchAdmin begins to ask; end tells how that went.
func watchAdmin(c *testbed.Caddy) *adminWatch {
	w := &adminWatch{stop: make(chan struct{})}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	w.wg.Go(func() {
		last := time.Now()
		for {
			select {
			case <-w.stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			w.asked++
			resp, err := client.Get(c.AdminURL("/config/"))
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					err = errors.New(resp.Status)
				}
			}
			if err != nil {
				w.failed++
				continue
			}
			w.gap = max(w.gap, time.Since(last))
			last = time.Now()
		}
	})
	return w
}

func (w *adminWatch) end() string {
	close(w.stop)
	w.wg.Wait()
	return "admin API: " + strconv.Itoa(w.asked) + " asked, " + strconv.Itoa(w.failed) + " without an answer, longest gap " + w.gap.Round(time.Millisecond).String()
}

// lostNothing is that no request failed but those of HTTP/3, of which the
// longest stall is told.
func lostNothing(t *testing.T, all testbed.Results) {
	t.Helper()
	t.Logf("%d requests:\n%s", all.Requests(), all)
	for _, r := range all {
		if r.Kind != testbed.LoadH3 && r.Failed > 0 {
			t.Errorf("%s: %d of %d requests failed", r.Kind, r.Failed, r.Requests)
		}
		if r.Requests == r.Failed {
			t.Errorf("%s: nothing was answered", r.Kind)
		}
	}
}

// good is that Caddy is what its last update brought, with all plugins.
func good(t *testing.T, c *testbed.Caddy, pid int) {
	t.Helper()
	slot, err := runs(c)
	if err != nil {
		t.Fatal(err)
	}
	active, _, err := slotsOf(c).Active()
	if err != nil || active.ID != slot || active.State != slots.Good {
		t.Errorf("slot %.12s runs; active is %.12s, which is %s (%v)", slot, active.ID, active.State, err)
	}
	if got := version(t, c); got != newCaddy {
		t.Errorf("it is %s", got)
	}
	listed := modulesOf(t, c)
	for _, p := range plugins {
		if !slices.Contains(listed, p.module) {
			t.Errorf("it has lost %s", p.module)
		}
	}
	if c.PID() != pid {
		t.Errorf("it was process %d, and is %d", pid, c.PID())
	}
}
