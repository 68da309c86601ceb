//go:build e2e

package dashboard_test

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/dataset"
)

// TestBrowserSQL has Chromium ask a real data set in SQL, with hostile queries
// among the others.
func TestBrowserSQL(t *testing.T) {
	s := openStore(t)
	plausible(t, s, now, 40*time.Hour)
	folder := publish(t, s, dataset.Rule{MinInstances: 2, MaxShare: 1})
	srv := httptest.NewServer(withDataset(t, dashboard.Config{Store: s, Reports: openLog(t)}, folder))
	defer srv.Close()
	out := os.Getenv("EVERGREEN_SCREENSHOTS")
	if out == "" {
		out = t.TempDir()
	}
	cmd := exec.Command("node", "test/sql.mjs", srv.URL, out)
	cmd.Dir = "web"
	b, err := cmd.CombinedOutput()
	t.Logf("%s", b)
	if err != nil {
		t.Fatalf("%v: needs node, chromium, and `npm ci` in server/dashboard/web (`make web`)", err)
	}
}
