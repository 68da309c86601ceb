//go:build e2e

package dashboard_test

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestBrowser has a real browser go through every page, one area
// (web/test/areas) after the other. EVERGREEN_SCREENSHOTS names a folder that
// keeps what it saw.
func TestBrowser(t *testing.T) {
	s, l := openStore(t), openLog(t)
	plausible(t, s, now, 50*time.Hour)
	for i := range uint64(30) {
		appendReport(t, l, report(i+1, now.Add(-time.Duration(31-i)*30*time.Minute).Truncate(30*time.Minute), 6))
	}
	srv := httptest.NewServer(serve(t, dashboard.Config{Store: s, Reports: l}))
	defer srv.Close()
	out := os.Getenv("EVERGREEN_SCREENSHOTS")
	if out == "" {
		out = t.TempDir()
	}
	areas, err := filepath.Glob("web/test/areas/*.mjs")
	if err != nil || len(areas) == 0 {
		t.Fatal("no areas: ", err)
	}
	for _, a := range areas {
		name := strings.TrimSuffix(filepath.Base(a), ".mjs")
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("node", "test/browser.mjs", srv.URL, out, name, wire.Link(ownKey, now.Add(time.Hour)))
			cmd.Dir = "web"
			b, err := cmd.CombinedOutput()
			t.Logf("%s", b)
			if err != nil {
				t.Fatalf("%v: needs node, chromium, firefox and `npm ci` in server/dashboard/web (`make web`)", err)
			}
		})
	}
}
