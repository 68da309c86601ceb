package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/build"
	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	xcaddyModule  = "github.com/caddyserver/xcaddy"
	xcaddyVersion = "v0.4.5"
	buildRounds   = 3
)

// builds makes Caddys with xcaddy and with the build service's Maker, in
// turns, with the same module cache: once with empty compiler caches, then
// warm. A busy machine stretches seconds, hardly CPU seconds.
func builds(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "evergreen-bench-builds-")
	if err != nil {
		return err
	}
	defer func() {
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				_ = os.Chmod(p, 0o700)
			}
			return nil
		})
		_ = os.RemoveAll(dir)
	}()
	out, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		return err
	}
	env := strings.Fields(string(out))
	// Not `go install …@version`, which also asks for the list of all versions.
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module bench\n\ngo 1.25.0\n\nrequire "+xcaddyModule+" "+xcaddyVersion+"\n"), 0o644); err != nil {
		return err
	}
	install := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-o", "xcaddy", xcaddyModule+"/cmd/xcaddy")
	install.Dir = dir
	install.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("building xcaddy: %w\n%s", err, out)
	}
	maker, err := build.NewMaker(ctx, build.MakerConfig{
		Folder: filepath.Join(dir, "maker"), ModCache: env[0], GoCache: filepath.Join(dir, "ours"), Proxy: env[1], Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	plugins := [][]wire.ModuleVersion{
		nil,
		{{Path: "github.com/caddy-dns/cloudflare", Version: "v0.2.1"}},
		{{Path: "github.com/mholt/caddy-ratelimit", Version: "v0.1.0"}},
	}
	ours := func(ps []wire.ModuleVersion, service string) func() error {
		return func() error {
			_, err := maker.Make(ctx, artifact.Spec{
				Go: maker.GoVersion(), System: wire.System{OS: "linux", Arch: "amd64"}, Caddy: "v2.11.9", Plugins: ps, Service: service,
			}, filepath.Join(dir, "ours.exe"), nil)
			return err
		}
	}
	theirs := func(ps []wire.ModuleVersion) func() error {
		return func() error {
			args := []string{"build", "v2.11.9", "--output", filepath.Join(dir, "theirs.exe")}
			for _, p := range ps {
				args = append(args, "--with", p.String())
			}
			cmd := exec.CommandContext(ctx, filepath.Join(dir, "xcaddy"), args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOCACHE="+filepath.Join(dir, "theirs"), "GOWORK=off", "GOFLAGS=-trimpath", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("xcaddy: %w\n%s", err, out)
			}
			return nil
		}
	}
	if os.Getenv("EVERGREEN_BENCH_WARM") != "" {
		// The caches are filled, and what that costs is not told.
		if err := errors.Join(theirs(plugins[0])(), ours(plugins[0], "")()); err != nil {
			return err
		}
	} else if err := inTurns("nothing compiled before", 1, theirs(plugins[0]), ours(plugins[0], "")); err != nil {
		return err
	}
	for i, ps := range plugins[1:] {
		name := fmt.Sprintf("a plugin that is new (%s)", ps[0].Path)
		if err := inTurns(name, 1, theirs(ps), ours(ps, "")); err != nil {
			return err
		}
		if i == 0 {
			if err := inTurns("the same again", buildRounds, theirs(ps), ours(ps, "")); err != nil {
				return err
			}
		}
	}
	return nil
}

// inTurns prints seconds and CPU seconds of both, the medians of so many rounds.
func inTurns(name string, rounds int, theirs, ours func() error) error {
	var wall, cpu [2][]float64
	for range rounds {
		for i, f := range []func() error{theirs, ours} {
			before, began := childrenCPU(), time.Now()
			if err := f(); err != nil {
				return err
			}
			wall[i] = append(wall[i], time.Since(began).Seconds())
			cpu[i] = append(cpu[i], (childrenCPU() - before).Seconds())
		}
	}
	median := func(s []float64) float64 { slices.Sort(s); return s[len(s)/2] }
	fmt.Printf("%s: xcaddy %.1f s (CPU %.1f s), ours %.1f s (CPU %.1f s)\n", name, median(wall[0]), median(cpu[0]), median(wall[1]), median(cpu[1]))
	return nil
}

func childrenCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
