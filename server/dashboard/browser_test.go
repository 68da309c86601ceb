//go:build e2e

package dashboard_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/server/dataset"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestBrowser has real browsers go through every page, one area
// (web/test/areas) after the other. EVERGREEN_SCREENSHOTS names a folder that
// keeps what they saw.
func TestBrowser(t *testing.T) {
	s, l := openStore(t), openLog(t)
	plausible(t, s, now, 50*time.Hour)
	for i := range uint64(30) {
		appendReport(t, l, report(i+1, now.Add(-time.Duration(31-i)*30*time.Minute).Truncate(30*time.Minute), 6))
	}
	folder := publish(t, s, dataset.Rule{MinInstances: 20, MinEvents: 500, MaxShare: 0.5})
	told := &late{}
	srv := liveOn(t, dashboard.Config{Store: s, Reports: l, DataSet: os.DirFS(folder), Alerts: told})
	srv.Config.Handler = besideDataset(told.open(t, srv.Dashboard, func() time.Time { return now }, srv.Config.Handler), folder)
	more := httptest.NewServer(counting(t, srv, s))
	defer more.Close()
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
			cmd.Env = append(os.Environ(), "EVERGREEN_MORE="+more.URL)
			b, err := cmd.CombinedOutput()
			t.Logf("%s", b)
			if err != nil {
				t.Fatalf("%v: needs node, chromium, firefox-esr and `npm ci` in server/dashboard/web (`make web`)", err)
			}
		})
	}
}

// besideDataset adds the data set's files, as the service does.
func besideDataset(h http.Handler, folder string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.Handle("GET /dataset/", http.StripPrefix("/dataset/", http.FileServer(http.Dir(folder))))
	return mux
}

// counting has, with each POST, another 1,000 requests counted in the window
// that is open, and pages told of it, as a collector would.
func counting(t *testing.T, srv liveServer, s store.Store) http.Handler {
	from := store.Position(1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.Error(w, "POST it", http.StatusMethodNotAllowed)
			return
		}
		ro := rollup{}
		ro.count(now, wire.HTTPRequests, dims(wire.HTTPRequests, "http/2"), 1_000, 100)
		b := store.Batch{Log: "test", From: from, To: from + 1}
		for _, row := range ro {
			b.Rows = append(b.Rows, *row)
		}
		sortRows(b.Rows)
		if err := s.Commit(r.Context(), b); err != nil {
			t.Error(err)
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		from = b.To
		srv.Tell()
	})
}
