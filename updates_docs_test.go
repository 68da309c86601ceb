package evergreen

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// Each Caddyfile in the documentation of updates can be adapted.
func TestCaddyfilesOfTheDocs(t *testing.T) {
	var found []string
	docs, err := os.ReadFile("docs/updates.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindAllSubmatch(docs, -1) {
		found = append(found, string(m[1]))
	}
	manifest, err := os.ReadFile("docs/examples/updates/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, inManifest, ok := strings.Cut(string(manifest), "  Caddyfile: |\n")
	if !ok || len(found) < 3 {
		t.Fatalf("found %d Caddyfiles in the page, and one in the manifest: %v", len(found), ok)
	}
	found = append(found, strings.ReplaceAll(inManifest, "\n    ", "\n"))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "updates.caddyfile"), []byte("updates critical\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range found {
		file := filepath.Join(dir, "Caddyfile")
		if _, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(c), map[string]any{"filename": file}); err != nil {
			t.Errorf("%v in:\n%s", err, c)
		}
	}
}
