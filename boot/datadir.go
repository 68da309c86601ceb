package boot

import (
	"path/filepath"
	"runtime"
)

// dataDir is caddy.AppDataDir, of an environment: Caddy's packages are not
// initialised yet, and importing them would make them so first. A test of the
// module holds the two to be equal.
func dataDir(env func(string) string) string {
	return dataDirOn(runtime.GOOS, env)
}

// DataDir is Caddy's data directory as boot sees it.
func DataDir(env func(string) string) string { return dataDir(env) }

func dataDirOn(system string, env func(string) string) string {
	if base := env("XDG_DATA_HOME"); base != "" {
		return filepath.Join(base, "caddy")
	}
	if system == "windows" {
		if base := env("AppData"); base != "" {
			return filepath.Join(base, "Caddy")
		}
		return "./caddy"
	}
	home := env("HOME")
	if home == "" && system == "plan9" {
		home = env("home")
	}
	if home == "" {
		return "./caddy"
	}
	switch system {
	case "darwin":
		return filepath.Join(home, "Library", "Application Support", "Caddy")
	case "plan9":
		return filepath.Join(home, "lib", "caddy")
	case "android":
		return filepath.Join(home, "caddy")
	}
	return filepath.Join(home, ".local", "share", "caddy")
}
