//go:build e2e

package e2e

import (
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
)

// TestE2EOff turns telemetry off in every way there is, and sees that no file
// is written and no connection is made. With none of them, both happen.
func TestE2EOff(t *testing.T) {
	exe := caddyWith(t, caddyVersions[len(caddyVersions)-1])
	for _, c := range []struct {
		name, global string
		env          []string
		on           bool
	}{
		{name: "on", on: true},
		{name: "evergreen off", global: "\tevergreen off\n"},
		{name: "telemetry off", global: "\tevergreen {\n\t\ttelemetry off\n\t}\n"},
		{name: "EVERGREEN_TELEMETRY", env: []string{"EVERGREEN_TELEMETRY=off"}},
		{name: "DO_NOT_TRACK", env: []string{"DO_NOT_TRACK=1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			var connections atomic.Int64
			go func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					connections.Add(1)
					conn.Close()
				}
			}()
			site := func(p testbed.Ports) string {
				return strings.Replace(testbed.Site(p), "{\n", "{\n"+c.global, 1)
			}
			caddy, _ := startCaddy(t, exe, site, append(c.env, "EVERGREEN_ENDPOINT=http://"+ln.Addr().String())...)
			client := clientOf(t, caddy, "http/2")
			if status := request(t, client, "GET", fmt.Sprintf("https://localhost:%d/", caddy.Ports.HTTPS), firefox); status != 200 {
				t.Fatalf("the site answers %d", status)
			}
			if c.on {
				eventually(t, 20*time.Second, func() error {
					if connections.Load() == 0 {
						return fmt.Errorf("no connection to the endpoint")
					}
					return nil
				})
			} else {
				time.Sleep(3 * 2 * time.Second) // three windows: what would be sent would have been
			}
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
			files := ours(t, caddy.Dir)
			if c.on != (connections.Load() > 0) || c.on != (len(files) > 0) {
				t.Errorf("telemetry on: %t, but %d connections and the files %v", c.on, connections.Load(), files)
			}
			if !c.on && strings.Contains(caddy.Log(), `"logger":"evergreen`) && strings.Contains(caddy.Log(), "will be sent") {
				t.Errorf("telemetry is off, but the log announces it:\n%s", caddy.LogTail(20))
			}
		})
	}
}

// ours lists the files below dir that Evergreen made.
func ours(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(strings.TrimPrefix(path, dir), "evergreen") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
