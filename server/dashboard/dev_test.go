package dashboard_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
)

// TestDev: in development a template that is saved is seen at once, and a
// folder that isn't the package's is refused with its path.
func TestDev(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"templates", "assets/dist"} {
		if err := os.CopyFS(filepath.Join(dir, f), os.DirFS(f)); err != nil {
			t.Fatal(err)
		}
	}
	h := serve(t, dashboard.Config{Store: openStore(t), Reports: openLog(t), Dev: dir})
	path := filepath.Join(dir, "templates", "privacy.html")
	b, err := fs.ReadFile(os.DirFS("templates"), "privacy.html")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), "<h1>Privacy</h1>", "<h1>Edited</h1>", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if body := get(t, h, "/privacy").Body.String(); !strings.Contains(body, "<h1>Edited</h1>") {
		t.Error("the page is not what was saved")
	}
	if cc := get(t, h, "/assets/app.js?v=x").Header().Get("Cache-Control"); cc != "no-cache" {
		t.Errorf("an asset under development is kept: %s", cc)
	}
	if _, err := dashboard.New(dashboard.Config{Store: openStore(t), Reports: openLog(t), Dev: t.TempDir()}); err == nil {
		t.Error("a folder without templates is taken")
	}
}
