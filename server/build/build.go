// Package build makes a Caddy exactly as it is asked for.
//
// In comes an artifact.Spec: which Caddy, which plugins, which lowest versions
// of dependencies, for which system, with which Go, with our module or without.
// Out comes an executable, with the list of what it was built from and the
// lockfile. What is guaranteed in between:
//
//   - The same spec gives the same bytes, in another folder, with other caches,
//     on another machine (recipe.go). The executable holds its spec, so that
//     anyone can build it again and compare (verify.go).
//   - No code of any module runs while it is built, nothing is reached but the
//     module proxy, and nothing while it is compiled; limits hold (maker.go,
//     steps.go, package sandbox).
//   - However many ask, a spec is built once; what was asked for is built also
//     if the server is killed, and what can't be built is told in the words of
//     `go` and remembered (queue.go, worker.go, state.go).
//   - What was built is kept up to a bound, and as long as it is pinned (cache.go).
//
// A Maker follows the recipe. A Queue decides when, and keeps the results. A
// Front lets people and programs ask over HTTP. A Builder is a Maker for those
// who want a Caddy of a checkout for themselves: the demonstration, tests,
// benchmarks.
package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Module is the path of the client's module.
const Module = wire.EvergreenPath

// A Spec names a build for a Builder. The zero value of a field takes the default.
type Spec struct {
	Caddy    string   // version, such as "v2.11.9"; required
	Source   string   // folder with our module's source; "" builds Version from the module proxy
	Version  string   // of our module, where Source is ""
	Plugins  []string // further modules, "path@version"
	Endpoint string   // that it reports to
	OS, Arch string   // of this machine
	Without  bool     // leave our module out, for comparison
}

func (s Spec) String() string {
	with := ""
	if !s.Without {
		with = " with Evergreen"
	}
	for _, p := range s.Plugins {
		with += ", " + p
	}
	return "Caddy " + s.Caddy + with
}

// A Builder builds into a cache folder, with the caches and settings of `go`
// of whoever runs it. Several may share a folder.
type Builder struct {
	Cache    string    // folder for executables; DefaultCache() unless set
	Progress io.Writer // gets a line for each step; nil drops them
}

// DefaultCache is the folder for builds below the user's cache folder.
func DefaultCache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a folder for builds: %w (set HOME or XDG_CACHE_HOME)", err)
	}
	return filepath.Join(dir, "evergreen", "builds"), nil
}

// Caddy builds spec, or finds it in the cache, and returns the executable's
// path. A failed build's error holds the compiler's own words.
func (b *Builder) Caddy(ctx context.Context, spec Spec) (string, error) {
	cache := b.Cache
	if cache == "" {
		var err error
		if cache, err = DefaultCache(); err != nil {
			return "", err
		}
	}
	cfg := MakerConfig{Folder: filepath.Join(cache, "made"), Logger: slog.New(slog.DiscardHandler)}
	if spec.Source != "" && !spec.Without {
		var err error
		if cfg.Source, err = ReadSource(os.DirFS(spec.Source)); err != nil {
			return "", err
		}
	}
	m, err := NewUserMaker(ctx, cfg)
	if err != nil {
		return "", err
	}
	exact, err := m.exact(spec)
	if err != nil {
		return "", fmt.Errorf("building %s: %w", spec, err)
	}
	exe := filepath.Join(cache, exact.ID()[:24], "caddy"+exeSuffix(exact.System.OS))
	if _, err := os.Stat(exe); err == nil {
		b.say("using the %s built before", spec)
		return exe, nil
	}
	b.say("building %s; the first time this takes a few minutes", spec)
	began := time.Now()
	_, err = m.Make(ctx, exact, exe, func(step string) { b.say("  %s, after %.0f s", step, time.Since(began).Seconds()) })
	if err != nil {
		return "", fmt.Errorf("building %s: %w", spec, err)
	}
	return exe, nil
}

func (b *Builder) say(format string, args ...any) {
	if b.Progress != nil {
		fmt.Fprintf(b.Progress, format+"\n", args...)
	}
}

// exact is the artifact.Spec of what a Builder is asked for.
func (m *Maker) exact(spec Spec) (artifact.Spec, error) {
	s := artifact.Spec{Go: m.goVer, Caddy: spec.Caddy, System: wire.System{OS: spec.OS, Arch: spec.Arch}}
	if s.System.OS == "" {
		s.System.OS = runtime.GOOS
	}
	if s.System.Arch == "" {
		s.System.Arch = runtime.GOARCH
	}
	if s.System.Arch == "arm" {
		s.System.Variant = "v7"
	}
	if !spec.Without {
		if s.Evergreen, s.Service = spec.Version, spec.Endpoint; m.cfg.Source != nil {
			s.Evergreen = m.cfg.Source.Version
		}
	}
	for _, p := range spec.Plugins {
		path, version, ok := strings.Cut(p, "@")
		if !ok {
			return s, fmt.Errorf("plugin %q has no version: write path@version", p)
		}
		s.Plugins = append(s.Plugins, wire.ModuleVersion{Path: path, Version: version})
	}
	return s, nil
}

// NewUserMaker is NewMaker with the caches, the proxy and the checksum database
// that `go` has for whoever runs it, where cfg says nothing else.
func NewUserMaker(ctx context.Context, cfg MakerConfig) (*Maker, error) {
	settings := []struct {
		name string
		to   *string
	}{{"GOMODCACHE", &cfg.ModCache}, {"GOCACHE", &cfg.GoCache}, {"GOPROXY", &cfg.Proxy}, {"GOSUMDB", &cfg.SumDB}, {"GONOSUMDB", &cfg.NoSumDB}}
	args := []string{"env"}
	for _, s := range settings {
		args = append(args, s.name)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local")
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("there is no `go` command: install Go 1.25 or newer and put it on PATH")
	}
	if err != nil {
		return nil, fmt.Errorf("asking `go` for its settings: %w", err)
	}
	lines := strings.Split(strings.ReplaceAll(string(out), "\r", ""), "\n")
	if len(lines) < len(settings) {
		return nil, fmt.Errorf("asking `go` for its settings: it answers %.200q", out)
	}
	for i, s := range settings {
		if *s.to == "" {
			*s.to = lines[i]
		}
	}
	return NewMaker(ctx, cfg)
}

func exeSuffix(goos string) string {
	if goos == "windows" {
		return ".exe"
	}
	return ""
}
