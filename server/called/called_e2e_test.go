//go:build e2e

package called_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/called"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestE2ECalled has govulncheck itself follow a program that calls one
// vulnerable function and imports the package of another.
func TestE2ECalled(t *testing.T) {
	const zip = "../../../shared/data/vulndb/vulndb.zip"
	if _, err := os.Stat(zip); err != nil {
		t.Logf("not run: the vulnerability database is not among the test data (%v)", err)
		return
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module example.com/m\n\ngo 1.25.0\n\nrequire golang.org/x/text v0.3.5\n",
		"main.go": "package main\n\nimport \"golang.org/x/text/language\"\n\nfunc main() { t, err := language.Parse(\"und\"); println(t.String(), err) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tr, err := called.New(called.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	all, err := tr.Folder(context.Background(), dir, "", wire.System{OS: runtime.GOOS, Arch: runtime.GOARCH}, zip)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]called.Level{"GO-2021-0113": all["GO-2021-0113"], "GO-2022-1059": all["GO-2022-1059"]}
	// language.Parse is vulnerable; ParseAcceptLanguage is, too, and not called.
	want := map[string]called.Level{"GO-2021-0113": called.Called, "GO-2022-1059": called.Imported}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("levels (-want +got):\n%s", d)
	}
}
