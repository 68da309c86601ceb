//go:build e2e && linux

package selfupdate

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
	"github.com/caddy-evergreen/evergreen/server/testbed"
)

// draining has a switch begin while a large file is being read, and returns when
// the old executable listens no more and waits for that. The channel delivers
// what became of the download.
func draining(t *testing.T, c *testbed.Caddy) <-chan error {
	t.Helper()
	const stopping = "switch: stopping to listen"
	before := strings.Count(c.Log(), stopping)
	resp, err := http.Get(fmt.Sprintf("http://localhost:%d/large", c.Ports.HTTP))
	if err != nil {
		t.Fatal(err)
	}
	listensNoMore := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		defer resp.Body.Close()
		<-listensNoMore
		time.Sleep(3 * time.Second) // what happens in the middle does so now
		n, err := io.Copy(io.Discard, resp.Body)
		if err == nil && n != large {
			err = fmt.Errorf("%d bytes of %d", n, int64(large))
		}
		done <- err
	}()
	do(t, c, "apply")
	eventually(t, "waiting for the switch to begin", func() error {
		if strings.Count(c.Log(), stopping) == before {
			return errors.New("the old executable listens")
		}
		return nil
	})
	close(listensNoMore)
	return done
}

// TestE2ESwitchInterrupted has a reload, and then a stop, come in the middle of
// a switch: each is done at once, and the download that is in flight is whole.
func TestE2ESwitchInterrupted(t *testing.T) {
	s := theUpdates(t)
	c := loaded(t, testbed.Launch{}, s.oldWithPlugins(t), installs)
	pid := c.PID()
	load := send(t, c, testbed.LoadConfig{Workers: 2, Kinds: []string{testbed.LoadNew, testbed.LoadKeepAlive, testbed.LoadPost, testbed.LoadH2}})

	download := draining(t, c)
	ports, err := freeport.Pick(1)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(c.Dir, "Caddyfile")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	more := fmt.Sprintf("%s\nhttp://localhost:%d {\n\trespond second\n}\n", b, ports[0])
	if err := os.WriteFile(file, []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Command(t.Context(), "reload", "--config", file); err != nil {
		t.Errorf("a reload in the middle of a switch: %v", err)
	}
	resp, err := http.Get("http://localhost:" + strconv.Itoa(ports[0]))
	if err != nil {
		t.Fatalf("what was loaded in the middle of a switch is not served: %v", err)
	}
	resp.Body.Close()
	eventually(t, "waiting for the switch to be given up", func() error {
		if !strings.Contains(c.Log(), "a configuration was loaded in the middle of the switch") {
			return errors.New("no log entry says so")
		}
		return nil
	})
	if err := <-download; err != nil {
		t.Errorf("the download in flight: %v", err)
	}
	if slot, err := runs(c); err != nil || slot != "" || c.PID() != pid {
		t.Errorf("slot %q runs as process %d (%v), not the installed executable as %d", slot, c.PID(), err, pid)
	}
	lostNothing(t, load.Stop())

	download = draining(t, c)
	if err := c.Stop(); err != nil {
		t.Errorf("a stop in the middle of a switch: %v", err)
	}
	if err := <-download; err != nil {
		t.Errorf("the download in flight at the stop: %v", err)
	}
	eventually(t, "waiting for the helper to leave", func() error {
		conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(c.Ports.HTTP))
		if err == nil {
			conn.Close()
			return errors.New("somebody serves")
		}
		return nil
	})
}
