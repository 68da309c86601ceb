package inventory

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// adapter is the configuration's format: what the caller knows, or what the
// command line says, read as `caddy run` and `caddy start` read it.
func (c *Collector) adapter(known string) string {
	if known != "" {
		return named(wire.Adapter, strings.ToLower(known))
	}
	args := c.args
	if len(args) < 2 || (args[1] != "run" && args[1] != "start") {
		return ""
	}
	config, adapter := "", ""
	for args = args[2:]; len(args) > 0; args = args[1:] {
		name, value, inline := strings.Cut(args[0], "=")
		if !inline && len(args) > 1 {
			value = args[1]
		}
		switch name {
		case "--config", "-c":
			config = value
		case "--adapter", "-a":
			adapter = value
		case "--resume", "-r":
			return "" // the saved configuration is JSON, made by whatever was loaded last
		case "--envfile", "--pidfile", "--pingback":
		default:
			continue
		}
		if !inline && len(args) > 1 {
			args = args[1:]
		}
	}
	base := strings.ToLower(filepath.Base(config))
	switch {
	case adapter != "":
		return named(wire.Adapter, strings.ToLower(adapter))
	case config == "":
		if _, err := os.Stat("Caddyfile"); err == nil && c.real {
			return "caddyfile" // Caddy takes the one beside it
		}
		return ""
	case filepath.Ext(base) == ".json":
		return "json"
	case strings.HasPrefix(base, "caddyfile"), strings.HasSuffix(base, ".caddyfile"):
		return "caddyfile"
	}
	return "json"
}
