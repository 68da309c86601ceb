//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
)

// TestE2EDemo runs the demonstration as a newcomer does, waits until real
// traffic is on the page, and ends it with Ctrl-C.
func TestE2EDemo(t *testing.T) {
	caddyWith(t, caddyVersions[len(caddyVersions)-1]) // so that the demonstration's own build is in the cache
	addr := freeAddr(t)
	cmd := exec.Command(evergreen, "demo", "--listen", addr, "--dir", t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	link, lines := make(chan string, 1), make(chan string, 1)
	go func() {
		var all strings.Builder
		own := regexp.MustCompile(`this instance\s+(\S+)`)
		for s := bufio.NewScanner(out); s.Scan(); {
			fmt.Fprintln(&all, s.Text())
			if m := own.FindStringSubmatch(s.Text()); m != nil {
				link <- m[1]
			}
		}
		lines <- all.String()
	}()
	srv := &server{&testbed.Server{Addr: addr}}
	select {
	case own := <-link:
		eventually(t, 60*time.Second, func() error {
			a, err := srv.query(t.Context(), "http.requests", "protocol")
			if err == nil && len(a.Rows) < 3 {
				err = fmt.Errorf("requests by protocol: %v", a.Rows)
			}
			return err
		})
		if _, err := srv.Get(t.Context(), own); err != nil {
			t.Errorf("the instance's own page: %v", err)
		}
	case all := <-lines:
		t.Fatalf("the demonstration ended:\n%s", all)
	case <-time.After(5 * time.Minute):
		t.Error("the demonstration shows no links")
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	all := <-lines
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v\n%s", err, all)
	}
	if !strings.Contains(all, "Ended.") {
		t.Errorf("no clean end:\n%s", all)
	}
}
