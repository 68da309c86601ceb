//go:build e2e && linux

package selfupdate

import (
	"crypto/x509"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
)

// large is the size of the downloads and uploads that are in flight: 200 MB as
// the issue says, read and sent in as long as the test says.
const large = testbed.LargeSize

var largeOnce = sync.OnceValues(func() (string, error) {
	folder := filepath.Join(shared, "large")
	return folder, testbed.WriteLarge(folder, large)
})

// loaded starts a Caddy with the site that loads are sent to. options are
// lines of the Caddyfile's global options.
func loaded(t *testing.T, l testbed.Launch, exe string, options []string, env ...string) *testbed.Caddy {
	t.Helper()
	return loadedWith(t, l, exe, testbed.LoadSiteConfig{Globals: options}, env...)
}

func loadedWith(t *testing.T, l testbed.Launch, exe string, site testbed.LoadSiteConfig, env ...string) *testbed.Caddy {
	t.Helper()
	var err error
	if site.Ports, err = testbed.PickPorts(); err != nil {
		t.Fatal(err)
	}
	if site.Folder, err = largeOnce(); err != nil {
		t.Fatal(err)
	}
	backend, err := testbed.StartBackend()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(backend.Close)
	site.Backend = backend.Addr
	c, err := l.Start(t.Context(), exe, filepath.Join(t.TempDir(), "caddy"), testbed.LoadSite(site), site.Ports, env...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Kill()
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", c.LogTail(60))
		}
	})
	if _, err := c.WaitForCertificate(t.Context(), rootsOf(t, c)); err != nil {
		t.Fatal(err)
	}
	return c
}

// send begins loads that end with the test at the latest.
func send(t *testing.T, c *testbed.Caddy, cfg testbed.LoadConfig) *testbed.Load {
	t.Helper()
	cfg.Ports, cfg.Roots, cfg.Large = c.Ports, rootsOf(t, c), large
	l, err := testbed.StartLoad(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop() })
	return l
}

// TestE2ELoadsSee has a Caddy that updates nothing be restarted under load: if
// the loads lost nothing here, they would prove nothing elsewhere.
func TestE2ELoadsSee(t *testing.T) {
	s := theUpdates(t)
	exe := s.oldWithPlugins(t)
	c := loaded(t, testbed.Launch{}, exe, []string{"\tupdates none", "\tgrace_period 2s"})
	short := testbed.LoadConfig{Kinds: []string{testbed.LoadNew, testbed.LoadNewTLS, testbed.LoadKeepAlive, testbed.LoadPost, testbed.LoadH2, testbed.LoadH2Post, testbed.LoadH3}}
	l := send(t, c, short)
	time.Sleep(2 * time.Second)
	if calm := l.Results(); calm.Failed() != 0 {
		t.Fatalf("requests fail while nothing happens:\n%s", calm)
	}
	if _, err := c.Command(t.Context(), "reload", "--config", filepath.Join(c.Dir, "Caddyfile"), "--force"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	t.Logf("one `caddy reload`:\n%s", l.Stop())

	l = send(t, c, short)
	time.Sleep(time.Second)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := l.Results()
	// Clients of HTTP/3 learn only from their own time-outs that nobody knows
	// their connections any more.
	eventually(t, "waiting for answers after the restart", func() error {
		for _, r := range l.Results() {
			if b := before.Of(r.Kind); r.Requests-r.Failed <= b.Requests-b.Failed {
				return fmt.Errorf("%s has none", r.Kind)
			}
		}
		return nil
	})
	all := l.Stop()
	t.Logf("one stop and start:\n%s", all)
	for _, r := range all {
		// HTTP/3 only waits: Go's client asks again when the answer to its
		// packets is that nobody listens.
		if r.Failed == 0 && r.Kind != testbed.LoadH3 {
			t.Errorf("%s lost nothing while there was no server", r.Kind)
		}
	}
}

func rootsOf(t *testing.T, c *testbed.Caddy) *x509.CertPool {
	t.Helper()
	roots, err := c.RootCAs()
	if err != nil {
		t.Fatal(err)
	}
	return roots
}
