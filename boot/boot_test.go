package boot_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/boot"
)

// BenchmarkInit is what a start of Caddy costs where nothing was ever updated,
// and every other command.
func BenchmarkInit(b *testing.B) {
	b.Setenv("XDG_DATA_HOME", b.TempDir())
	for _, command := range []string{"run", "reload"} {
		b.Run(command, func(b *testing.B) {
			args := []string{"caddy", command}
			for b.Loop() {
				boot.Applies(args, os.Getenv)
			}
		})
	}
}

// TestDataDir is the rules of other systems than this one; that of this one is
// compared with Caddy's own in the root package.
func TestDataDir(t *testing.T) {
	home := map[string]string{"HOME": "/home/x", "AppData": "/roaming", "home": "/usr/glenda"}
	for _, c := range []struct {
		system string
		env    map[string]string
		want   string
	}{
		{"linux", home, "/home/x/.local/share/caddy"},
		{"freebsd", home, "/home/x/.local/share/caddy"},
		{"darwin", home, "/home/x/Library/Application Support/Caddy"},
		{"android", home, "/home/x/caddy"},
		{"windows", home, "/roaming/Caddy"},
		{"plan9", map[string]string{"home": "/usr/glenda"}, "/usr/glenda/lib/caddy"},
		{"windows", map[string]string{"HOME": "/home/x"}, "./caddy"},
		{"linux", nil, "./caddy"},
		{"darwin", map[string]string{"XDG_DATA_HOME": "/data", "HOME": "/home/x"}, "/data/caddy"},
	} {
		got := boot.DataDirOn(c.system, func(name string) string { return c.env[name] })
		if d := cmp.Diff(c.want, filepath.ToSlash(got)); d != "" {
			t.Errorf("%s with %v: %s", c.system, c.env, d)
		}
	}
}
